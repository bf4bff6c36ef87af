// Package suites has the end-to-end tests: real services on the SDK, on runtimes that are real processes.
package suites

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
)

// TestFeatures uses every feature of the SDK with each way of running the runtime, and of giving services their state and
// what they wait for. TestFunctions does it with services that are functions.
func TestFeatures(t *testing.T) {
	variants := []struct {
		name        string
		environment []string
	}{
		{"streaming", nil},
		{"lazy state and early suspension", append([]string{"RESTATE_WORKER__INVOKER__EAGER_STATE_LIMIT", "0"}, suspendEarly...)},
	}
	for _, v := range variants {
		for _, mode := range process.Modes {
			t.Run(v.name+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				features(t, start(t, mode, v.environment...))
			})
		}
	}
}

func features(t *testing.T, s setting) {
	t.Run("unkeyed", func(t *testing.T) {
		require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))
	})
	t.Run("failures", func(t *testing.T) { failures(t, s) })
	t.Run("state", func(t *testing.T) { state(t, s) })
	t.Run("side effects", func(t *testing.T) { sideEffects(t, s) })
	t.Run("sleep", func(t *testing.T) {
		started := time.Now()
		require.JSONEq(t, `{"message": "awake"}`, s.MustCall("e2e.Workflow/Sleep", `{"millis": 400}`))
		require.GreaterOrEqual(t, time.Since(started), 400*time.Millisecond)
	})
	t.Run("calls", func(t *testing.T) { calls(t, s) })
	t.Run("one-way and delayed calls", func(t *testing.T) { oneWay(t, s) })
	t.Run("routers", func(t *testing.T) { routers(t, s) })
	t.Run("order", func(t *testing.T) { order(t, s) })
	t.Run("awakeables", func(t *testing.T) { awakeables(t, s) })
	t.Run("embedded handler", func(t *testing.T) { embedded(t, s) })
	s.AwaitIdle(time.Minute)
}

func failures(t *testing.T, s setting) {
	for code, status := range map[int]int{3: 400, 5: 404, 7: 403, 9: 412, 10: 409, 13: 500, 16: 401, 409: 500} {
		answer, err := s.Call("e2e.Greeter/Fail", fmt.Sprintf(`{"code": %d, "message": "no"}`, code))
		require.NoError(t, err)
		require.Equal(t, status, answer.Status, answer.Body)
		require.Equal(t, "no", answer.JSON(t)["message"])
	}
	// A failure that is not terminal is one of the attempt only.
	require.JSONEq(t, `{"message": "succeeded in attempt 4"}`, s.MustCall("e2e.Greeter/Flaky", `{"id": "flaky", "failures": 3}`))
}

func state(t *testing.T, s setting) {
	require.JSONEq(t, `{"value": "2"}`, s.MustCall("e2e.Counter/Add", `{"counter_id": "one", "amount": 2}`))
	require.JSONEq(t, `{"value": "7"}`, s.MustCall("e2e.Counter/Add", `{"counterId": "one", "amount": 5}`))
	require.JSONEq(t, `{"value": "0"}`, s.MustCall("e2e.Counter/Get", `{"counter_id": "two"}`))
	s.MustCall("e2e.Counter/Clear", `{"counter_id": "one"}`)
	require.JSONEq(t, `{"value": "0"}`, s.MustCall("e2e.Counter/Get", `{"counter_id": "one"}`))

	// A singleton has one state.
	s.MustCall("e2e.Registry/Put", `{"item": "a"}`)
	require.JSONEq(t, `{"items": ["a", "b"]}`, s.MustCall("e2e.Registry/Put", `{"item": "b"}`))

	// The key is a message.
	mark := func(by string, x, y int) string {
		return s.MustCall("e2e.Board/Mark", fmt.Sprintf(`{"at": {"y": %d, "x": %d}, "by": %q}`, y, x, by))
	}
	require.JSONEq(t, `{"message": "nobody"}`, mark("first", 1, -2))
	require.JSONEq(t, `{"message": "nobody"}`, mark("second", 1, 2))
	require.JSONEq(t, `{"message": "first"}`, mark("third", 1, -2))
}

func sideEffects(t *testing.T, s setting) {
	require.JSONEq(t, `{"value": "15"}`, s.MustCall("e2e.Workflow/Steps", `{"id": "steps", "count": 5}`))
	require.Equal(t, 5, s.service.Count("step", "steps"), "each is executed once")

	require.JSONEq(t, `{"value": "3"}`, s.MustCall("e2e.Workflow/FlakyStep", `{"id": "step", "failures": 2}`))
	require.Equal(t, 3, s.service.Count("attempt", "step"))

	answer, err := s.Call("e2e.Workflow/GiveUp", `{"id": "give up", "failures": 3}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, answer.Status, answer.Body)
	require.Equal(t, 3, s.service.Count("attempt", "give up"))

	answer, err = s.Call("e2e.Workflow/FailStep", `{"code": 9, "message": "not so"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusPreconditionFailed, answer.Status, answer.Body)
	require.Equal(t, "not so", answer.JSON(t)["message"])
}

func calls(t *testing.T, s setting) {
	require.JSONEq(t, `{"value": "4"}`, s.MustCall("e2e.Workflow/Call", `{"counter_id": "called", "amount": 4}`))
	require.JSONEq(t, `{"value": "12"}`, s.MustCall("e2e.Workflow/Chain", `{"depth": 12}`))
	// Many keys are in many partitions.
	require.JSONEq(t, `{"value": "20"}`, s.MustCall("e2e.Workflow/Fan", `{"prefix": "fan", "count": 20}`))
	require.JSONEq(t, `{"value": "40"}`, s.MustCall("e2e.Workflow/Fan", `{"prefix": "fan", "count": 20}`))
	answer, err := s.Call("e2e.Workflow/CallFail", `{"code": 7, "message": "denied"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, answer.Status)
	require.Equal(t, "denied", answer.JSON(t)["message"])
}

func oneWay(t *testing.T, s setting) {
	s.MustCall("e2e.Workflow/OneWay", `{"counter_id": "sent", "amount": 1}`)
	s.awaitCount(t, "sent", 1)

	started := time.Now()
	s.MustCall("e2e.Workflow/Delayed", `{"add": {"counter_id": "sent", "amount": 1}, "millis": 700}`)
	s.awaitCount(t, "sent", 2)
	require.GreaterOrEqual(t, time.Since(started), 700*time.Millisecond)

	// From outside, with the largest number that a JavaScript service can hold.
	s.invoke(t, "e2e.Counter", "Add", `{"counter_id": "invoked", "amount": 9007199254740991}`)
	s.awaitCount(t, "invoked", 9007199254740991)
}

func routers(t *testing.T, s setting) {
	require.JSONEq(t, `{"response": {"a": [1, "x", null]}}`, s.MustCall("echo/echo", `{"request": {"a": [1, "x", null]}}`))
	s.MustCall("e2e.routers.Store/put", `{"key": "k", "request": "1"}`)
	require.JSONEq(t, `{"response": ["1", "2"]}`, s.MustCall("echo/store", `{"request": {"key": "k", "item": "2"}}`))
	answer, err := s.Call("echo/fail", `{}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, answer.Status)
}

// order sends calls to one key one after the other, each as soon as the one before it was accepted.
func order(t *testing.T, s setting) {
	const n = 40
	var want []any
	for i := range n {
		item := strconv.Itoa(i)
		want = append(want, item)
		s.invoke(t, "e2e.Counter", "Append", `{"counter_id": "order", "item": "`+item+`"}`)
	}
	answer, err := s.Call("e2e.Counter/Append", `{"counter_id": "order", "item": "last"}`)
	require.NoError(t, err)
	require.Equal(t, append(want, "last"), answer.JSON(t)["items"])

	// Concurrent calls lose nothing, for they run one at a time.
	var done sync.WaitGroup
	for range n {
		done.Go(func() { s.MustCall("e2e.Counter/Add", `{"counter_id": "order", "amount": 1}`) })
	}
	done.Wait()
	require.Equal(t, n, s.count(t, "order"))
}

func awakeables(t *testing.T, s setting) {
	wait := func(id string) (awakeable string, answers <-chan process.Answer) {
		answers = s.later(t, "e2e.Workflow/Await", `{"id": "`+id+`"}`)
		return s.service.Awakeable(id), answers
	}
	id, resolved := wait("resolved outside")
	s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+id+`", "json_result": "from outside"}`)
	require.JSONEq(t, `{"message": "from outside"}`, receive(t, resolved).Body)

	id, rejected := wait("rejected outside")
	s.MustCall("dev.restate.Awakeables/Reject", `{"id": "`+id+`", "reason": "not today"}`)
	answer := receive(t, rejected)
	require.Equal(t, http.StatusInternalServerError, answer.Status)
	require.Equal(t, "not today", answer.JSON(t)["message"])
	s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+id+`", "json_result": "too late"}`)

	id, inside := wait("resolved inside")
	s.MustCall("e2e.Workflow/Resolve", `{"awakeable_id": "`+id+`", "value": "from inside"}`)
	require.JSONEq(t, `{"message": "from inside"}`, receive(t, inside).Body)

	id, refused := wait("rejected inside")
	s.MustCall("e2e.Workflow/Reject", `{"awakeable_id": "`+id+`", "value": "no"}`)
	require.Equal(t, "no", receive(t, refused).JSON(t)["message"])

	// Waiting for several things at a time, of which the awakeable comes last.
	all := s.later(t, "e2e.Workflow/WaitForAll", `{"id": "all", "millis": 200}`)
	s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+s.service.Awakeable("all")+`", "json_result": "woken"}`)
	require.JSONEq(t, `{"message": "woken: Hello everybody"}`, receive(t, all).Body)
}
