package suites

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestKill ends invocations in each state they can be in.
func TestKill(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		kill := func(id string) {
			require.Equal(t, http.StatusOK, s.MetaDo(http.MethodDelete, "/invocations/"+id, "").Status)
		}
		for _, c := range []struct{ method, request, status string }{
			{"Sleep", `{"millis": 3600000}`, "suspended"},
			{"Await", `{"id": "to be killed"}`, "suspended"},
			{"FlakyStep", `{"id": "step to be killed", "failures": 1000}`, "suspended"},
		} {
			answers := s.later(t, "e2e.Workflow/"+c.method, c.request)
			kill(s.AwaitInvocation("e2e.Workflow", c.method, c.status).ID)
			answer := receive(t, answers)
			require.Equal(t, http.StatusConflict, answer.Status, answer.Body)
			require.Equal(t, "aborted", answer.JSON(t)["code"], c.method)
			require.Equal(t, "killed", answer.JSON(t)["message"], c.method)
		}

		backingOff := s.later(t, "e2e.Greeter/Flaky", `{"id": "flaky to be killed", "failures": 1000}`)
		found := s.AwaitInvocation("e2e.Greeter", "Flaky", "backing-off")
		require.Equal(t, "RT0007", found.LastFailureCode)
		require.Contains(t, found.LastFailure, "fails on purpose")
		kill(found.ID)
		require.Equal(t, http.StatusConflict, receive(t, backingOff).Status)

		// The caller of a killed invocation goes on with a failure, and the next one for the key takes its turn.
		chain := s.later(t, "e2e.Workflow/CallFail", `{"code": 5, "message": "no"}`)
		require.Equal(t, http.StatusNotFound, receive(t, chain).Status)

		require.Equal(t, http.StatusBadRequest, s.MetaDo(http.MethodDelete, "/invocations/nonsense", "").Status)
		kill(found.ID)
		s.AwaitIdle(time.Minute)
	}, suspendEarly...)
}

// TestOperations does to invocations of a protobuf service what operators may do, and looks what became of them.
func TestOperations(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		do := func(id, operation string) int {
			return s.MetaDo(http.MethodPatch, "/invocations/"+id+"/"+operation, "").Status
		}
		const key = "Idempotency-Key"
		const waits = `{"id": "operated"}`
		answers := s.later(t, "e2e.Workflow/Await", waits, key, "operated")
		id := s.AwaitInvocation("e2e.Workflow", "Await", "suspended").ID
		require.Equal(t, http.StatusConflict, do(id, "cancel"), "the SDK of the time cannot")
		require.Equal(t, http.StatusConflict, do(id, "purge"))
		require.Equal(t, http.StatusConflict, do(id, "restart-as-new"))
		require.Equal(t, http.StatusAccepted, do(id, "pause"))
		require.Equal(t, http.StatusOK, do(id, "pause"))
		s.CrashAll()
		require.Equal(t, id, s.AwaitInvocation("e2e.Workflow", "Await", "paused").ID)
		require.Equal(t, http.StatusOK, do(id, "resume?deployment=latest"))
		receive(t, answers) // broken off by the crash
		s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+s.service.Awakeable("operated")+`", "json_result": "woken"}`)
		require.JSONEq(t, `{"message": "woken"}`, s.MustCall("e2e.Workflow/Await", waits, key, "operated"))

		require.Equal(t, http.StatusConflict, do(id, "pause"))
		require.Equal(t, http.StatusConflict, do(id, "resume"))
		require.Equal(t, http.StatusConflict, do(id, "kill"))
		require.Equal(t, http.StatusGone, do(id, "restart-as-new"), "nobody keeps its journal")
		require.Equal(t, http.StatusOK, do(id, "purge-journal"))
		batch := s.MetaDo(http.MethodPost, "/internal/invocations_batch_operations/purge", `{"invocation_ids": ["`+id+`", "`+id+`"]}`)
		require.Equal(t, http.StatusOK, batch.Status)
		require.Len(t, batch.JSON(t)["succeeded"], 1, batch.Body)
		require.Len(t, batch.JSON(t)["failed"], 1, batch.Body)
		for _, operation := range []string{"cancel", "kill", "purge", "purge-journal", "pause", "resume", "restart-as-new"} {
			require.Equal(t, http.StatusNotFound, do(id, operation), operation)
		}
	}, suspendEarly...)
}

// TestPrivateServices can be called by services only.
func TestPrivateServices(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		setPublic := func(public string) {
			answer := s.MetaDo(http.MethodPatch, "/services/e2e.Counter", `{"public": `+public+`}`)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		}
		const add = `{"counter_id": "private", "amount": 1}`
		setPublic("false")
		answer, err := s.Call("e2e.Counter/Add", add)
		require.NoError(t, err)
		require.Equal(t, http.StatusForbidden, answer.Status)
		require.Equal(t, "permission_denied", answer.JSON(t)["code"])
		_, err = s.CallGRPC(t, "e2e.Counter/Add", add)
		require.Equal(t, codes.PermissionDenied, status.Code(err))
		listed, err := s.Grpcurl(t, nil, "list")
		require.NoError(t, err)
		require.NotContains(t, strings.Split(listed, "\n"), "e2e.Counter")

		require.JSONEq(t, `{"value": "1"}`, s.MustCall("e2e.Workflow/Call", add))
		s.invoke(t, "e2e.Counter", "Add", add)

		setPublic("true")
		s.awaitCount(t, "private", 2)
		require.Equal(t, http.StatusForbidden,
			s.MetaDo(http.MethodPatch, "/services/dev.restate.Ingress", `{"public": false}`).Status)
	})
}

// TestIdempotency repeats requests: those with the same key are one.
func TestIdempotency(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		const key = "Idempotency-Key"
		add := func(counter, idempotencyKey string) string {
			return s.MustCall("e2e.Counter/Add", `{"counter_id": "`+counter+`", "amount": 1}`, key, idempotencyKey)
		}
		require.JSONEq(t, `{"value": "1"}`, add("repeated", "a"))
		require.JSONEq(t, `{"value": "1"}`, add("repeated", "a"))
		require.JSONEq(t, `{"value": "2"}`, add("repeated", "b"))

		t.Run("at the same time", func(t *testing.T) {
			const n = 8
			answers := make([]string, n)
			var done sync.WaitGroup
			for i := range n {
				done.Go(func() {
					answers[i] = s.MustCall("e2e.Workflow/Steps", `{"id": "same time", "count": 3}`, key, "steps")
				})
			}
			done.Wait()
			for _, answer := range answers {
				require.JSONEq(t, `{"value": "6"}`, answer)
			}
			require.Equal(t, 3, s.service.Count("step", "same time"))
		})
		t.Run("failures are kept", func(t *testing.T) {
			for range 2 {
				answer, err := s.Call("e2e.Greeter/Fail", `{"code": 9, "message": "never"}`, key, "fail")
				require.NoError(t, err)
				require.Equal(t, http.StatusPreconditionFailed, answer.Status)
				require.NotEmpty(t, answer.Header.Get("Idempotency-Expires"))
			}
		})
		t.Run("without waiting", func(t *testing.T) {
			for range 3 {
				s.invoke(t, "e2e.Counter", "Add", `{"counter_id": "one way", "amount": 1}`, key, "c")
			}
			s.AwaitIdle(time.Minute)
			require.Equal(t, 1, s.count(t, "one way"))
		})
		t.Run("kept through a crash", func(t *testing.T) {
			s.CrashAll()
			require.JSONEq(t, `{"value": "1"}`, add("repeated", "a"))
		})
		t.Run("until the retention is over", func(t *testing.T) {
			short := func() string {
				return s.MustCall("e2e.Counter/Add", `{"counter_id": "short", "amount": 1}`,
					key, "d", "Idempotency-Retention-Period", "1")
			}
			require.JSONEq(t, `{"value": "1"}`, short())
			deadline := time.Now().Add(time.Minute)
			for short() != `{"value":"2"}` {
				require.True(t, time.Now().Before(deadline), "the result is still kept")
			}
		})
	})
}
