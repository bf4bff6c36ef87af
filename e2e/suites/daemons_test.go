package suites

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
)

// TestDaemonsStartInAnyOrder: each waits for the others that it needs.
func TestDaemonsStartInAnyOrder(t *testing.T) {
	s := start(t, process.Apart)
	orders := [][]string{slices.Clone(s.Names()), slices.Clone(s.Names())}
	slices.Reverse(orders[0])
	rand.Shuffle(len(orders[1]), func(i, j int) { orders[1][i], orders[1][j] = orders[1][j], orders[1][i] })
	for _, order := range orders {
		t.Log(order)
		s.KillAll()
		s.StartInOrder(order)
		require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))
	}
}

// TestDrain asks the runtime to stop while a call is in progress: the call is answered before.
func TestDrain(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		answers := s.later(t, "e2e.Workflow/Sleep", `{"millis": 700}`)
		s.AwaitInvocation("e2e.Workflow", "Sleep", "running")
		entry := s.Names()[len(s.Names())-1]
		require.NoError(t, s.Processes[entry].Terminate(), "%s exits with 0", entry)
		require.JSONEq(t, `{"message": "awake"}`, receive(t, answers).Body)
		_, err := s.Call("e2e.Greeter/Hello", `{"name": "you"}`)
		require.Error(t, err, "nobody listens any more")
	})
}

// TestSeveralIngresses: each answers what it was asked, and knows a service as soon as its registration returns.
func TestSeveralIngresses(t *testing.T) {
	s := setting{service: process.StartService(t, "server"), Runtime: process.Start(t, process.Apart)}
	other := s.AddIngress()
	s.Register(process.Registration{URI: s.service.URL})
	call := func(method, request string) string {
		answer, err := process.Do(http.MethodPost, "http://"+other+"/"+method, request, "Idempotency-Key", "once")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		return answer.Body
	}
	require.JSONEq(t, `{"message": "Hello you"}`, call("e2e.Greeter/Hello", `{"name": "you"}`))
	require.JSONEq(t, `{"value": "1"}`, s.MustCall("e2e.Counter/Add", `{"counter_id": "shared", "amount": 1}`, "Idempotency-Key", "once"))
	require.JSONEq(t, `{"value": "1"}`, call("e2e.Counter/Add", `{"counter_id": "shared", "amount": 1}`))

	// Both wait for the same invocation, and both get its result.
	const steps = `{"millis": 500}`
	waiting := s.later(t, "e2e.Workflow/Sleep", steps, "Idempotency-Key", "once")
	s.AwaitInvocation("e2e.Workflow", "Sleep", "running")
	require.JSONEq(t, `{"message": "awake"}`, call("e2e.Workflow/Sleep", steps))
	require.JSONEq(t, `{"message": "awake"}`, receive(t, waiting).Body)
	s.AwaitIdle(time.Minute)
}
