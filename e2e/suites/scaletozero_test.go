package suites

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/process"
	"github.com/restate-go/restate/e2e/proxy"
)

// activator stands before a service that is stopped when nobody uses it. It is not there, takes connections and leaves them
// waiting, or answers with the handler, as the test wants.
type activator struct {
	t       *testing.T
	address string
	// taken counts the connections since it was opened, open those that are open now.
	taken, open atomic.Int32

	server *http.Server
	held   *heldListener
	done   chan struct{}
}

// heldListener takes connections at once, and hands them on when it is released.
type heldListener struct {
	net.Listener
	taken    *atomic.Int32
	released chan struct{}
	release  func()
}

func (l *heldListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.taken.Add(1)
	<-l.released
	return conn, nil
}

// start opens the activator; connections are left waiting until it is released.
func (a *activator) start(handler http.Handler) {
	a.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(a.t.Context(), "tcp", a.address)
	require.NoError(a.t, err)
	a.taken.Store(0)
	released := make(chan struct{})
	a.held = &heldListener{Listener: listener, taken: &a.taken, released: released, release: sync.OnceFunc(func() { close(released) })}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	a.server = &http.Server{
		Handler: handler, Protocols: protocols, ReadHeaderTimeout: time.Minute,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state { //nolint:exhaustive // the others say nothing new
			case http.StateNew:
				a.open.Add(1)
			case http.StateClosed:
				a.open.Add(-1)
			}
		},
	}
	server, held, done := a.server, a.held, make(chan struct{})
	a.done = done
	go func() {
		defer close(done)
		_ = server.Serve(held) // it ends with stop
	}()
}

// stop closes the activator, and every connection.
func (a *activator) stop() {
	if a.server == nil {
		return
	}
	a.held.release()
	_ = a.server.Close() // connections that are in use are meant to break
	<-a.done
	a.server = nil
}

// awaitUnused waits until no connection is open.
func (a *activator) awaitUnused() {
	a.t.Helper()
	await.True(a.t, await.Deadline, func() bool { return a.open.Load() == 0 }, "no connection to the endpoint to be open")
}

// starting answers as gateways do while the service behind them starts, and counts each answer.
type starting struct{ next, answered atomic.Int32 }

func (s *starting) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusBadGateway + int(s.next.Add(1)-1)%3) // 502, 503, 504
	s.answered.Add(1)
}

// TestScaleToZero has a service stopped whenever nothing is in flight, and started for what comes then. What comes waits
// through all that a start looks like from outside, and none of it fails.
func TestScaleToZero(t *testing.T) {
	eachGeneration(t, scaleToZero)
}

func scaleToZero(t *testing.T, g generation, mode process.Mode) {
	environment := append([]string{
		"RESTATE_WORKER__ENDPOINT__IDLE_TIMEOUT", "200ms", "RESTATE_META__ENDPOINT__IDLE_TIMEOUT", "200ms",
	}, suspendEarly...)
	s := setting{Runtime: process.Start(t, mode, environment...)}
	gate := filepath.Join(t.TempDir(), "gate")
	service := g.program(t, "E2E_GATE", gate)
	door := &activator{t: t, address: process.FreeAddress(t)}
	t.Cleanup(door.stop)
	through := proxy.New(map[string][]string{door.address: {strings.TrimPrefix(service.URL, "http://")}})
	wake := func() {
		service.Restart()
		door.start(through)
		door.held.release()
	}

	door.start(through)
	door.held.release()
	g.register(t, s, "http://"+door.address, "")
	answers := []<-chan process.Answer{g.begin(t, s, "waits", "Await")}
	awakeable := service.Awakeable("waits")
	s.AwaitInvocation(g.service, "Await", "suspended")
	door.awaitUnused()
	door.stop()
	service.Kill()

	// Nobody is there.
	g.resolve(t, s, awakeable)
	const calls = 6
	for i := range calls {
		answers = append(answers, g.begin(t, s, fmt.Sprint("calls ", i), "Revision"))
	}
	awaitAttempts(t, s, calls+1, 2)

	// The first connection is taken late, and then the gateway does not find the service yet.
	gateway := &starting{}
	door.start(gateway)
	await.True(t, await.Deadline, func() bool { return door.taken.Load() > 0 }, "a connection that waits")
	door.held.release()
	await.True(t, await.Deadline, func() bool { return gateway.answered.Load() >= calls }, "each of the answers twice")
	door.stop()
	wake()
	for _, answer := range answers {
		require.Equal(t, "first", g.end(t, answer))
	}

	// It is lost in the middle of a step, and not there for the next attempt.
	step := g.begin(t, s, "works", "Work")
	await.True(t, await.Deadline, func() bool { return service.Count("working", "works") == 1 }, "the step to begin")
	service.Kill()
	door.stop()
	awaitAttempts(t, s, 1, 2)
	wake()
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	require.Equal(t, "first", g.end(t, step))
	s.AwaitIdle(time.Minute)
	door.awaitUnused()
}

// awaitAttempts waits until so many invocations have each begun so many attempts.
func awaitAttempts(t *testing.T, s setting, invocations, attempts int) {
	t.Helper()
	await.True(t, await.Deadline, func() bool {
		all, err := s.Invocations()
		n := 0
		for _, i := range all {
			require.NotEqual(t, "paused", i.Status)
			if i.Attempts >= attempts {
				n++
			}
		}
		return err == nil && n == invocations
	}, fmt.Sprintf("%d attempts of each of %d invocations", attempts, invocations))
}
