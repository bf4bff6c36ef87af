package process

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/e2e/discovery"
)

// Serve serves HTTP/2 without TLS, and HTTP/1.1, on a free port until the test ends, and returns its URL.
func Serve(t testing.TB, handler http.Handler) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", FreeAddress(t))
	require.NoError(t, err)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	serve(t, listener, &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: time.Minute})
	return "http://" + listener.Addr().String()
}

// ServeTLS serves with TLS on a free port until the test ends, and returns its address. The configuration says which of h2
// and http/1.1 it speaks.
func ServeTLS(t testing.TB, handler http.Handler, cfg *tls.Config) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", FreeAddress(t))
	require.NoError(t, err)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(slices.Contains(cfg.NextProtos, "http/1.1"))
	protocols.SetHTTP2(slices.Contains(cfg.NextProtos, "h2"))
	serve(t, tls.NewListener(listener, cfg), &http.Server{
		Handler: handler, Protocols: protocols, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	return listener.Addr().String()
}

// serve serves until the test ends.
func serve(t testing.TB, listener net.Listener, server *http.Server) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends with the close below
	}()
	t.Cleanup(func() {
		_ = server.Close() // streams that hang are meant to
		<-done
	})
}

// Endpoint is a service endpoint whose answers a test makes itself, within the service protocol or not.
type Endpoint struct {
	Services []discovery.Service
	// Invoke answers POST /invoke/service/method.
	Invoke http.HandlerFunc
}

// ServeHTTP answers discovery, and leaves the rest to Invoke.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/discover" {
		e.Invoke(w, r)
		return
	}
	body, err := proto.Marshal(discovery.Response(e.Services...))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/proto")
	_, _ = w.Write(body) // the caller may be gone
}
