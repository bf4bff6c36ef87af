package suites

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

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
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			g, gate := generations()[0], filepath.Join(t.TempDir(), "gate")
			s := setting{
				service: g.program(t, "E2E_GATE", gate),
				Runtime: process.Start(t, mode, "RESTATE_INGRESS__DRAIN_TIMEOUT", "1h"),
			}
			g.register(t, s, s.service.URL, "")
			answers := g.begin(t, s, "in progress", "Work")
			s.service.Await("working", "in progress")
			entry := s.Names()[len(s.Names())-1]
			stopped := make(chan error, 1)
			go func() { stopped <- s.Processes[entry].Terminate() }()
			await.True(t, await.Deadline, func() bool {
				answer, err := s.Call(g.path("new", "Revision"), g.body("new"))
				return err != nil || answer.Status == http.StatusServiceUnavailable
			}, "new requests to be refused")
			require.Empty(t, answers)
			require.NoError(t, os.WriteFile(gate, nil, 0o600))
			require.Equal(t, "first", g.end(t, answers))
			require.NoError(t, <-stopped, "%s exits with 0", entry)
			_, err := s.Call(g.path("new", "Revision"), g.body("new"))
			require.Error(t, err, "nobody listens any more")
		})
	}
}

// TestSeveralIngresses: each answers what it was asked, and knows a service as soon as its registration returns.
func TestSeveralIngresses(t *testing.T) {
	s := setting{service: process.StartService(t, "server"), Runtime: process.Start(t, process.Apart)}
	added, name := s.AddIngress()
	other := setting{service: s.service, Runtime: added}
	s.Register(process.Registration{URI: s.service.URL})
	require.JSONEq(t, `{"message": "Hello you"}`, other.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))
	for _, at := range []setting{s, other} {
		require.JSONEq(t, `{"value": "1"}`, at.MustCall("e2e.Counter/Add", `{"counter_id": "shared", "amount": 1}`, once("once")...))
	}

	// Both wait for the same invocation, and both get its result.
	const waits = `{"id": "waits"}`
	answers := s.later(t, "e2e.Workflow/Await", waits, once("once")...)
	awakeable := s.service.Awakeable("waits")
	others := other.later(t, "e2e.Workflow/Await", waits, once("once")...)
	s.AwaitMetric(name, `restate_ingress_requests_in_progress{daemon="ingress"}`, 1)
	s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+awakeable+`", "json_result": "woken"}`)
	require.JSONEq(t, `{"message": "woken"}`, receive(t, answers).Body)
	require.JSONEq(t, `{"message": "woken"}`, receive(t, others).Body)
	s.AwaitIdle(time.Minute)
}
