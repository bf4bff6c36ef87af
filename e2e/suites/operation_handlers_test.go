package suites

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
)

// TestOperationsOnHandlers does to invocations what operators may do.
func TestOperationsOnHandlers(t *testing.T) {
	eachModeOfHandlers(t, func(t *testing.T, s setting) {
		// Cancelled by an operator, and by a handler: what it did is undone.
		for key, cancel := range map[string]func(id string){
			"operator": func(id string) { require.Equal(t, http.StatusAccepted, s.operate(id, "cancel")) },
			"handler":  func(id string) { s.MustCall("Worker/cancel", `"`+id+`"`) },
		} {
			id := s.sendTo(t, "Worker/compensate", `{"id": "`+key+`", "key": "`+key+`"}`, once(key)...)
			s.service.Await("begun", key)
			cancel(id)
			failedWith(t, s.attach(t, id), http.StatusConflict, "undone")
			require.JSONEq(t, `0`, s.MustCall("Counter/"+key+"/get", ``))
		}

		const forever = `{"id": "forever", "millis": 3600000}`
		killed := s.later(t, "Worker/sleep", forever)
		id := s.AwaitInvocation("Worker", "sleep", "suspended").ID
		require.Equal(t, http.StatusOK, s.operate(id, "kill"))
		failedWith(t, receive(t, killed), http.StatusConflict, "killed")
		s.AwaitIdle(time.Minute)

		// Paused: it does not wake before it is resumed.
		id = s.sendTo(t, "Worker/awaitAwakeable", `"paused"`, once("paused")...)
		awakeable := s.service.Awakeable("paused")
		s.awaitState(t, id, "suspended")
		require.Contains(t, []int{http.StatusOK, http.StatusAccepted}, s.operate(id, "pause"))
		s.awaitState(t, id, "paused")
		s.resolve(t, awakeable, `1`)
		require.JSONEq(t, `"Hello you"`, s.MustCall("Worker/hello", `"you"`))
		s.awaitState(t, id, "paused")
		require.Equal(t, http.StatusConflict, s.operate(id, "purge"), "it is not over")
		require.Equal(t, http.StatusOK, s.operate(id, "resume"))
		require.JSONEq(t, `{"resolved": 1}`, s.attach(t, id).Body)

		// Restarted: another invocation does all of it again.
		steps := s.sendTo(t, "Worker/steps", `{"id": "again", "count": 2}`, once("again")...)
		require.JSONEq(t, `3`, s.attach(t, steps).Body)
		restarted := s.MetaDo(http.MethodPatch, "/invocations/"+steps+"/restart-as-new", "")
		require.Equal(t, http.StatusOK, restarted.Status, restarted.Body)
		fresh, _ := restarted.JSON(t)["new_invocation_id"].(string)
		require.NotEqual(t, steps, fresh)
		await.True(t, await.Deadline, func() bool { return s.service.Count("step", "again") == 4 }, "the steps to be done again")
		s.AwaitIdle(time.Minute)

		require.Equal(t, http.StatusOK, s.operate(steps, "purge"))
		require.Equal(t, http.StatusNotFound, s.get(t, "/restate/invocation/"+steps+"/output").Status)
		require.JSONEq(t, `3`, s.MustCall("Worker/steps", `{"id": "again", "count": 2}`, once("again")...), "the key is free")
		require.Equal(t, 6, s.service.Count("step", "again"))
	})
}

// restart runs an invocation again and returns its new id.
func (s setting) restart(t *testing.T, id, query string) string {
	t.Helper()
	answer := s.MetaDo(http.MethodPatch, "/invocations/"+id+"/restart-as-new"+query, "")
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	fresh, _ := answer.JSON(t)["new_invocation_id"].(string)
	require.NotEmpty(t, fresh)
	require.NotEqual(t, id, fresh)
	return fresh
}

// TestRestartFromPrefix runs invocations again that take over what others have done, random numbers included.
func TestRestartFromPrefix(t *testing.T) {
	eachModeOfHandlers(t, func(t *testing.T, s setting) {
		// Its journal: input, first, the end of first, second, the end of second, output.
		drawn := s.sendTo(t, "Worker/draw", `"draw"`, once("draw")...)
		want := s.attach(t, drawn).Body
		for i, c := range []struct {
			from          string
			first, second int
		}{{"1", 1, 2}, {"2", 1, 3}, {"3", 1, 3}, {"0", 2, 4}} {
			fresh := s.restart(t, drawn, "?from="+c.from)
			answer := s.attach(t, fresh)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.JSONEq(t, want, answer.Body, "the same is drawn again, from %s", c.from)
			require.Equal(t, c.first, s.service.Count("first", "draw"), "%d: from %s", i, c.from)
			require.Equal(t, c.second, s.service.Count("second", "draw"), "%d: from %s", i, c.from)
		}
		bad := func(id, from string) int { return s.operate(id, "restart-as-new?from="+from) }
		require.Equal(t, http.StatusBadRequest, bad(drawn, "6"), "the journal is not that long")

		// Killed while it slept: the sleep has no end, but what was before can be taken over.
		sleeps := s.sendTo(t, "Worker/sleep", `{"id": "restarted", "millis": 3600000}`, once("restarted")...)
		s.awaitState(t, sleeps, "suspended")
		require.Equal(t, http.StatusConflict, bad(sleeps, "1"), "it is not over")
		require.Equal(t, http.StatusOK, s.operate(sleeps, "kill"))
		require.Equal(t, http.StatusBadRequest, bad(sleeps, "3"))
		again := s.restart(t, sleeps, "?from=2&deployment=keep")
		s.awaitState(t, again, "suspended")
		require.Equal(t, 1, s.service.Count("started", "restarted"))
		require.Equal(t, http.StatusOK, s.operate(again, "kill"))

		s.sendTo(t, "Order/restarted/run", `"restarted"`)
		s.MustCall("Order/restarted/approve", `"boss"`)
		run := s.get(t, "/restate/workflow/Order/restarted/attach").Header.Get("X-Restate-Id")
		require.Equal(t, http.StatusUnprocessableEntity, bad(run, "0"), "a key has one run")
		s.AwaitIdle(time.Minute)
	})
}

// batch does an operation to many invocations, and returns those that it succeeded and those that it failed with.
func (s setting) batch(t *testing.T, operation string, ids ...string) (succeeded []any, failed map[string]string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"invocation_ids": ids})
	require.NoError(t, err)
	answer := s.MetaDo(http.MethodPost, "/internal/invocations_batch_operations/"+operation, string(body))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	var result struct {
		Succeeded []any
		Failed    []struct {
			InvocationID string `json:"invocation_id"`
			Error        string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(answer.Body), &result), answer.Body)
	failed = map[string]string{}
	for _, f := range result.Failed {
		failed[f.InvocationID] = f.Error
	}
	require.Len(t, ids, len(result.Succeeded)+len(failed), answer.Body)
	return result.Succeeded, failed
}

// TestBatchesOfOperations does each operation to several invocations at once, some of which it cannot be done to.
func TestBatchesOfOperations(t *testing.T) {
	eachModeOfHandlers(t, func(t *testing.T, s setting) {
		var ids []string
		for _, name := range []string{"a", "b", "c"} {
			ids = append(ids, s.sendTo(t, "Worker/awaitAwakeable", `"`+name+`"`, once(name)...))
		}
		over := s.sendTo(t, "Worker/hello", `"you"`, once("over")...)
		s.attach(t, over)
		all := append([]string{over}, ids...)
		each := func(operation, state string) {
			t.Helper()
			succeeded, failed := s.batch(t, operation, all...)
			require.ElementsMatch(t, []any{ids[0], ids[1], ids[2]}, succeeded)
			require.Contains(t, failed[over], "completed")
			for _, id := range ids {
				s.awaitState(t, id, state)
			}
		}
		for _, id := range ids {
			s.awaitState(t, id, "suspended")
		}
		each("pause", "paused")
		each("resume", "suspended")

		canceled, failed := s.batch(t, "cancel", ids[0], over)
		require.Equal(t, []any{ids[0]}, canceled)
		require.Contains(t, failed[over], "completed")
		failedWith(t, s.attach(t, ids[0]), http.StatusConflict, "Cancelled")
		killed, _ := s.batch(t, "kill", ids[1], ids[0])
		require.Equal(t, []any{ids[1]}, killed)
		failedWith(t, s.attach(t, ids[1]), http.StatusConflict, "killed")

		restarted, failed := s.batch(t, "restart-as-new", ids...)
		require.Len(t, restarted, 2)
		require.Contains(t, failed[ids[2]], "not completed")
		fresh := map[any]string{}
		for _, r := range restarted {
			pair, _ := r.(map[string]any)
			fresh[pair["old_invocation_id"]], _ = pair["new_invocation_id"].(string)
		}
		for _, old := range ids[:2] {
			s.awaitState(t, fresh[old], "suspended")
		}
		killed, failed = s.batch(t, "kill", ids[2], fresh[ids[0]], fresh[ids[1]])
		require.Len(t, killed, 3, failed)

		purged, _ := s.batch(t, "purge-journal", ids[0])
		require.Equal(t, []any{ids[0]}, purged)
		failedWith(t, s.attach(t, ids[0]), http.StatusConflict, "Cancelled")
		_, failed = s.batch(t, "restart-as-new", ids[0])
		require.Contains(t, failed[ids[0]], "no journal")

		unknown := s.restart(t, ids[1], "")
		require.Equal(t, http.StatusOK, s.operate(unknown, "kill"))
		purged, failed = s.batch(t, "purge", ids[0], ids[1], over)
		require.Len(t, purged, 3, failed)
		for _, id := range purged {
			require.Equal(t, http.StatusNotFound, s.get(t, "/restate/output/"+id.(string)).Status)
		}
		_, failed = s.batch(t, "purge", ids[0])
		require.Contains(t, failed[ids[0]], "no invocation")
		s.AwaitIdle(time.Minute)
	})
}
