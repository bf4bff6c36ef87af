package suites

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/process"
)

// TestRestartKeepsEverything ends the runtime, in an orderly way or not, while invocations are in every state they can
// be in.
func TestRestartKeepsEverything(t *testing.T) {
	for how, end := range map[string]func(*process.Runtime){
		"SIGTERM": (*process.Runtime).StopAll,
		"kill -9": (*process.Runtime).KillAll,
	} {
		for _, mode := range process.Modes {
			t.Run(how+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				longEnough(t, 1500*time.Millisecond, func(sleep time.Duration) bool { return restart(t, mode, end, sleep) })
			})
		}
	}
}

// restart returns whether the runtime had ended before the sleep was over.
func restart(t *testing.T, mode process.Mode, end func(*process.Runtime), sleep time.Duration) (inTime bool) {
	gate := filepath.Join(t.TempDir(), "gate")
	s := setting{
		service: process.StartService(t, "server", "E2E_GATE", gate), Runtime: process.Start(t, mode, suspendEarly...),
	}
	s.Register(process.Registration{URI: s.service.URL})
	require.JSONEq(t, `{"value": "1"}`, s.MustCall("e2e.Counter/Add", `{"counter_id": "kept", "amount": 1}`))

	s.invoke(t, "e2e.Workflow", "Await", `{"id": "waits"}`, "Idempotency-Key", "waits")
	s.invoke(t, "e2e.Workflow", "WaitForAll", `{"id": "waits for all", "millis": 10}`, "Idempotency-Key", "waits for all")
	const flaky = `{"id": "retried", "failures": 1000000}` // until there is the gate
	s.invoke(t, "e2e.Greeter", "Flaky", flaky, "Idempotency-Key", "retried")
	s.invoke(t, "e2e.Workflow", "Sleep", `{"millis": 3600000}`)
	s.MustCall("e2e.Workflow/Delayed", `{"add": {"counter_id": "never", "amount": 1}, "millis": 3600000}`)
	waits, waitsForAll := s.service.Awakeable("waits"), s.service.Awakeable("waits for all")
	for _, method := range []string{"Await", "WaitForAll"} {
		s.AwaitInvocation("e2e.Workflow", method, "suspended")
	}
	asleep := s.AwaitInvocation("e2e.Workflow", "Sleep", "suspended").ID
	scheduled := s.AwaitInvocation("e2e.Counter", "Add", "scheduled").ID
	s.AwaitInvocation("e2e.Greeter", "Flaky", "backing-off")

	// Nobody may be left waiting at the ingress for these, so that what they did is told by counters.
	sleeps := time.Now()
	s.invoke(t, "e2e.Workflow", "Transfer",
		fmt.Sprintf(`{"id": "asleep", "from": "from", "to": "to", "amount": 5, "millis": %d}`, sleep.Milliseconds()))
	s.MustCall("e2e.Workflow/Delayed",
		fmt.Sprintf(`{"add": {"counter_id": "delayed", "amount": 1}, "millis": %d}`, sleep.Milliseconds()))
	s.awaitCount(t, "from", -5)
	for i := range 20 {
		s.invoke(t, "e2e.Counter", "Append", `{"counter_id": "order", "item": "`+strconv.Itoa(i)+`"}`)
	}

	end(s.Runtime)
	inTime = time.Since(sleeps) < sleep
	tried := s.service.Count("attempt", "retried")
	s.StartInOrder(s.Names())

	require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`), "services stay registered")
	require.JSONEq(t, `{"value": "2"}`, s.MustCall("e2e.Counter/Add", `{"counter_id": "kept", "amount": 1}`))
	s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+waits+`", "json_result": "woken"}`)
	s.MustCall("e2e.Workflow/Resolve", `{"awakeable_id": "`+waitsForAll+`", "value": "woken"}`)
	attach := func(method, request, key string) string {
		return s.MustCall(method, request, "Idempotency-Key", key)
	}
	require.JSONEq(t, `{"message": "woken"}`, attach("e2e.Workflow/Await", `{"id": "waits"}`, "waits"))
	require.JSONEq(t, `{"message": "woken: Hello everybody"}`,
		attach("e2e.Workflow/WaitForAll", `{"id": "waits for all", "millis": 10}`, "waits for all"))
	await.True(t, await.Deadline, func() bool { return s.service.Count("attempt", "retried") > tried }, "another attempt")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	succeeded := attach("e2e.Greeter/Flaky", flaky, "retried")
	require.JSONEq(t, fmt.Sprintf(`{"message": "succeeded in attempt %d"}`, s.service.Count("attempt", "retried")), succeeded)

	s.awaitCount(t, "delayed", 1)
	s.awaitCount(t, "to", 5)
	require.GreaterOrEqual(t, time.Since(sleeps), sleep)
	require.Equal(t, -5, s.count(t, "from"))
	require.Equal(t, 1, s.service.Count("taken", "asleep"), "a step that is in the journal is not done again")

	var want []any
	for i := range 20 {
		want = append(want, strconv.Itoa(i))
	}
	answer, err := s.Call("e2e.Counter/Append", `{"counter_id": "order", "item": "last"}`)
	require.NoError(t, err)
	require.Equal(t, append(want, "last"), answer.JSON(t)["items"])

	require.Equal(t, asleep, s.AwaitInvocation("e2e.Workflow", "Sleep", "suspended").ID)
	require.Equal(t, scheduled, s.AwaitInvocation("e2e.Counter", "Add", "scheduled").ID)
	require.Equal(t, http.StatusOK, s.operate(asleep, "kill"))
	require.Equal(t, http.StatusOK, s.operate(scheduled, "kill"))
	s.AwaitIdle(time.Minute)
	return inTime
}

// TestServiceCrash kills the service in place of the runtime.
func TestServiceCrash(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		longEnough(t, 500*time.Millisecond, func(sleep time.Duration) bool {
			id := "interrupted in " + sleep.String()
			began := time.Now()
			answers := s.later(t, "e2e.Workflow/Transfer",
				fmt.Sprintf(`{"id": %q, "from": "from %s", "to": "to %s", "amount": 2, "millis": %d}`, id, id, id, sleep.Milliseconds()))
			s.awaitCount(t, "from "+id, -2)
			s.service.Kill()
			inTime := time.Since(began) < sleep
			s.service.Restart()
			require.JSONEq(t, `{"value": "2"}`, receive(t, answers).Body)
			require.Equal(t, 1, s.service.Count("taken", id))
			if inTime { // otherwise it may have ended in the middle of this step
				require.Equal(t, 1, s.service.Count("given", id))
			}
			s.AwaitIdle(time.Minute)
			return inTime
		})
	})
}
