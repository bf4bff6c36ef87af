package suites

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
)

// TestRestartKeepsEverything ends the runtime, in an orderly way or not, while invocations are in every state they can
// be in.
func TestRestartKeepsEverything(t *testing.T) {
	for how, again := range map[string]func(*process.Runtime){
		"SIGTERM": (*process.Runtime).Restart,
		"kill -9": (*process.Runtime).CrashAll,
	} {
		for _, mode := range process.Modes {
			t.Run(how+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				restart(t, start(t, mode, suspendEarly...), again)
			})
		}
	}
}

func restart(t *testing.T, s setting, again func(*process.Runtime)) {
	require.JSONEq(t, `{"value": "1"}`, s.MustCall("e2e.Counter/Add", `{"counter_id": "kept", "amount": 1}`))

	// Nobody may be left waiting at the ingress for these, so that what they did is told by counters.
	sleeps := time.Now()
	s.invoke(t, "e2e.Workflow", "Transfer", `{"id": "asleep", "from": "from", "to": "to", "amount": 5, "millis": 1500}`)
	s.MustCall("e2e.Workflow/Delayed", `{"add": {"counter_id": "delayed", "amount": 1}, "millis": 1500}`)
	s.invoke(t, "e2e.Workflow", "Await", `{"id": "waits"}`, "Idempotency-Key", "waits")
	s.invoke(t, "e2e.Workflow", "WaitForAll", `{"id": "waits for all", "millis": 10}`, "Idempotency-Key", "waits for all")
	s.invoke(t, "e2e.Greeter", "Flaky", `{"id": "retried", "failures": 6}`, "Idempotency-Key", "retried")
	waits, waitsForAll := s.service.Awakeable("waits"), s.service.Awakeable("waits for all")
	for _, method := range []string{"Transfer", "Await", "WaitForAll"} {
		s.AwaitInvocation("e2e.Workflow", method, "suspended")
	}
	s.AwaitInvocation("e2e.Counter", "Add", "scheduled")
	s.AwaitInvocation("e2e.Greeter", "Flaky", "backing-off")
	for i := range 20 {
		s.invoke(t, "e2e.Counter", "Append", `{"counter_id": "order", "item": "`+strconv.Itoa(i)+`"}`)
	}

	again(s.Runtime)

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
	require.JSONEq(t, `{"message": "succeeded in attempt 7"}`,
		attach("e2e.Greeter/Flaky", `{"id": "retried", "failures": 6}`, "retried"))

	s.awaitCount(t, "delayed", 1)
	s.awaitCount(t, "to", 5)
	require.GreaterOrEqual(t, time.Since(sleeps), 1500*time.Millisecond)
	require.Equal(t, -5, s.count(t, "from"))
	require.Equal(t, 1, s.service.Count("taken", "asleep"), "a step that is in the journal is not done again")

	var want []any
	for i := range 20 {
		want = append(want, strconv.Itoa(i))
	}
	answer, err := s.Call("e2e.Counter/Append", `{"counter_id": "order", "item": "last"}`)
	require.NoError(t, err)
	require.Equal(t, append(want, "last"), answer.JSON(t)["items"])
	s.AwaitIdle(time.Minute)
}

// TestServiceCrash kills the service in place of the runtime.
func TestServiceCrash(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		answers := s.later(t, "e2e.Workflow/Transfer", `{"id": "interrupted", "from": "a", "to": "b", "amount": 2, "millis": 500}`)
		s.AwaitInvocation("e2e.Workflow", "Transfer", "running")
		s.awaitCount(t, "a", -2)
		s.service.Restart()
		require.JSONEq(t, `{"value": "2"}`, receive(t, answers).Body)
		require.Equal(t, 1, s.service.Count("taken", "interrupted"))
		require.Equal(t, 1, s.service.Count("given", "interrupted"))
		s.AwaitIdle(time.Minute)
	})
}
