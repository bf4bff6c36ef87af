package daemon_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/daemon"
)

// serving is a server whose requests are held until they are released, or broken off.
type serving struct {
	listener net.Listener
	// held gets each request that has arrived; released lets all of them be answered.
	held, released chan struct{}
	ended          chan error
	cancel         context.CancelFunc
}

func serve(t *testing.T, drain time.Duration, beside ...func(context.Context) error) *serving {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &serving{listener: listener, held: make(chan struct{}, 1), released: make(chan struct{}), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s.cancel = cancel
	server := daemon.Server{
		HTTP: &http.Server{ReadHeaderTimeout: await.Deadline, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s.held <- struct{}{}
			select {
			case <-s.released:
			case <-r.Context().Done():
			}
		})},
		Listener: listener, Beside: beside, DrainTimeout: drain, Log: discard(),
	}
	go func() { s.ended <- server.Run(ctx) }()
	return s
}

// request begins a request, and returns where its outcome will be.
func (s *serving) request(t *testing.T) <-chan error {
	t.Helper()
	outcome := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.listener.Addr().String(), http.NoBody)
		if err == nil {
			var answer *http.Response
			if answer, err = http.DefaultClient.Do(r); err == nil {
				err = answer.Body.Close()
			}
		}
		outcome <- err
	}()
	return outcome
}

func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(await.Deadline):
		t.Fatal("it does not end")
	}
	return v
}

func TestServerDrains(t *testing.T) {
	contexts := make(chan context.Context, 1)
	s := serve(t, await.Deadline, func(ctx context.Context) error {
		contexts <- ctx
		<-ctx.Done()
		return nil
	})
	beside := within(t, contexts)
	outcome := s.request(t)
	within(t, s.held)
	s.cancel()
	await.True(t, await.Deadline, func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.listener.Addr().String())
		if err != nil {
			return true
		}
		require.NoError(t, conn.Close())
		return false
	}, "new requests to be refused")
	require.NoError(t, beside.Err(), "the request needs it")
	require.Empty(t, s.ended)
	close(s.released)
	require.NoError(t, within(t, outcome))
	require.NoError(t, within(t, s.ended))
	require.Error(t, beside.Err())
}

func TestServerBreaksOffWhatDoesNotEnd(t *testing.T) {
	s := serve(t, time.Millisecond)
	outcome := s.request(t)
	within(t, s.held)
	s.cancel()
	require.NoError(t, within(t, s.ended))
	require.Error(t, within(t, outcome))
}

func TestServerEndsWithWhatIsBesideIt(t *testing.T) {
	failure := errors.New("the database is gone")
	s := serve(t, await.Deadline, func(context.Context) error { return failure })
	require.ErrorIs(t, within(t, s.ended), failure)
}
