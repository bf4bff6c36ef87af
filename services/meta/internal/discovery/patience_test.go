package discovery_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/discovery"
)

// Failures that may pass are met with patience, as long as somebody waits.
func TestDiscoverTriesAgain(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + closed.Addr().String()
	closed.Close()
	for name, c := range map[string]struct {
		uri, says string
		// late says that each attempt ends because its time is up.
		late bool
	}{
		"nobody listens":  {uri: nobody, says: "nothing listens there"},
		"an unknown host": {uri: "http://nobody.invalid:9080", says: "nobody.invalid"},
		"it hangs":        {serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "did not answer in time", true},
		"it says nothing": {raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "did not answer in time", true},
		"it hangs up":     {uri: raw(t, func(net.Conn) {}), says: "cannot be reached"},
		"it is unwell": {
			uri:  serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }),
			says: "503 Service Unavailable: it starts",
		},
		"it breaks off": {uri: serve(t, breakOff), says: "broke off after 2 bytes"},
		"it never comes to an end": {serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/proto")
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte{0x12, 0x00})
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(time.Millisecond):
				}
			}
		}), "did not answer in time", true},
	} {
		t.Run(name, func(t *testing.T) {
			transport, err := endpoint.NewTransport(endpoint.DefaultConfig())
			require.NoError(t, err)
			t.Cleanup(transport.CloseIdleConnections)
			cfg := discovery.DefaultConfig()
			cfg.Timeout, cfg.AttemptTimeout = config.Duration(2*await.Deadline), config.Duration(2*await.Deadline)
			if c.late {
				cfg.AttemptTimeout = config.Duration(500 * time.Millisecond)
			}
			ctx, leave := context.WithCancel(t.Context())
			_, err = discovery.New(cfg, &leaving{Transport: transport, left: 2, leave: leave}, nil).Discover(ctx, target(t, c.uri))
			require.Equal(t, errcode.DiscoveryFailed, errcode.Of(err, ""))
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "(2 attempts in ")
		})
	}
}

// leaving stops waiting at the end of as many attempts as are left.
type leaving struct {
	discovery.Transport
	left  int
	leave func()
	// its the way to the endpoint, and body that of its answer, of the attempt under way.
	its  http.RoundTripper
	body io.ReadCloser
}

func (l *leaving) To(e *schema.Endpoint) http.RoundTripper {
	l.its = l.Transport.To(e)
	return l
}

func (l *leaving) RoundTrip(r *http.Request) (*http.Response, error) {
	l.left--
	response, err := l.its.RoundTrip(r)
	if err != nil {
		l.end()
		return nil, err
	}
	l.body, response.Body = response.Body, l
	return response, nil
}

func (l *leaving) Read(p []byte) (int, error) { return l.body.Read(p) }

func (l *leaving) Close() error {
	l.end()
	return l.body.Close()
}

func (l *leaving) end() {
	if l.left == 0 {
		l.leave()
	}
}

// However soon an attempt fails, and however long it may take, all together have a limit.
func TestDiscoverGivesUpInTime(t *testing.T) {
	cfg := discovery.DefaultConfig()
	cfg.Timeout, cfg.AttemptTimeout = config.Duration(400*time.Millisecond), config.Duration(2*await.Deadline)
	for says, way := range map[string]answering{
		"did not answer in time": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"503 Service Unavailable": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Status: "503 Service Unavailable", Body: http.NoBody}, nil
		},
	} {
		t.Run(says, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), await.Deadline)
			defer cancel()
			_, err := discovery.New(cfg, way, nil).Discover(ctx, target(t, "http://greeter.test"))
			require.ErrorContains(t, err, says)
			require.NoError(t, ctx.Err(), "nobody else ends it")
		})
	}
}

// answering is what a request comes to, however long the way to the endpoint is.
type answering func(*http.Request) (*http.Response, error)

func (a answering) To(*schema.Endpoint) http.RoundTripper { return a }

func (answering) Proxy(*url.URL) string { return "" }

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func breakOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/proto")
	_, _ = w.Write([]byte{0x12, 0x00})
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler) //nolint:forbidigo // how a handler of net/http breaks off
}

func TestDiscoverWaitsForAnEndpointThatStarts(t *testing.T) {
	var asked atomic.Int32
	uri := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answer(w)
	})
	response, err := discover(t, client(t, nil), uri)
	require.NoError(t, err)
	require.Equal(t, []string{"my.pkg.Svc"}, names(response))
	require.Equal(t, int32(3), asked.Load())
}

func TestDiscoverStopsWhenNobodyWaits(t *testing.T) {
	asked := make(chan struct{}, 1)
	uri := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed, asking, endpoint := make(chan error, 1), client(t, nil), target(t, uri)
	go func() {
		_, err := asking.Discover(ctx, endpoint)
		failed <- err
	}()
	<-asked
	cancel()
	select {
	case err := <-failed:
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "given up")
	case <-time.After(await.Deadline):
		t.Fatal("it went on")
	}
}
