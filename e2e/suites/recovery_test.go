package suites

import (
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"

	"github.com/restate-go/restate/e2e/process"
)

// TestWorkerCrash kills the worker, whose leases have to be taken over by the next one: they expire after the test.
func TestWorkerCrash(t *testing.T) {
	s := start(t, process.Apart, suspendEarly...)
	conn, err := broker.Connect(t.Context(), nil, broker.Config{URL: "nats://" + s.Broker}, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	_, err = conn.JS.UpdateKeyValue(t.Context(), jetstream.KeyValueConfig{
		Bucket: "restate_leases", Storage: jetstream.MemoryStorage, History: 1, TTL: time.Hour,
	})
	require.NoError(t, err)
	for i := range 3 {
		require.JSONEq(t, `{"message": "woken"}`, s.crash(t, process.Worker, i))
	}
	require.NotContains(t, s.Processes[process.Worker].Log(), "waiting for the lease")
}

// TestBrokerCrash kills the broker, and nothing else.
func TestBrokerCrash(t *testing.T) {
	s := start(t, process.Apart, suspendEarly...)
	for i := range 3 {
		require.JSONEq(t, `{"message": "woken"}`, s.crash(t, process.Broker, i))
		// Every ingress follows the registry again.
		s.AwaitReady()
		s.Register(process.Registration{URI: s.service.URL, Force: true})
		s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`)
		s.AwaitIdle(time.Minute)
	}
}

// TestTimersAfterCrash has sleeps end just when their handlers are called again. No timeout may be what gets them on.
func TestTimersAfterCrash(t *testing.T) {
	s := start(t, process.Apart, "RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT", "1h")
	for range 3 {
		longEnough(t, 500*time.Millisecond, func(sleep time.Duration) bool {
			began := time.Now()
			asleep := s.later(t, "e2e.Workflow/Sleep", fmt.Sprintf(`{"millis": %d}`, sleep.Milliseconds()))
			await.True(t, await.Deadline, func() bool {
				all, err := s.Invocations()
				return len(asleep) > 0 || err == nil && len(all) == 1 && all[0].JournalLength == 2
			}, "the sleep to be in the journal")
			s.Processes[process.Worker].Kill()
			inTime := time.Since(began) < sleep
			s.Processes[process.Worker].Start()
			require.JSONEq(t, `{"message": "awake"}`, receive(t, asleep).Body)
			s.AwaitIdle(time.Minute)
			return inTime
		})
	}
}

// crash kills a process, for the nth time, while a call is in progress, has another call come before it is there again,
// and returns the answer to the first.
func (s setting) crash(t *testing.T, name string, n int) string {
	t.Helper()
	id := name + strconv.Itoa(n)
	waiting := s.later(t, "e2e.Workflow/Await", `{"id": "`+id+`"}`)
	s.AwaitInvocation("e2e.Workflow", "Await", "suspended")
	s.Processes[name].Kill()
	counted := s.later(t, "e2e.Counter/Add", `{"counter_id": "crashes", "amount": 1}`)
	s.Processes[name].Start()
	require.JSONEq(t, `{"value": "`+strconv.Itoa(n+1)+`"}`, receive(t, counted).Body)
	s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+s.service.Awakeable(id)+`", "json_result": "woken"}`)
	return receive(t, waiting).Body
}
