package meta_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/health"
	"github.com/restate-go/restate/pkg/membership"

	"github.com/restate-go/restate/services/meta"
)

const partitions = 2

// running is a meta of a test, with its broker.
type running struct {
	t    testing.TB
	conn *broker.Conn
	url  string
	stop func() error
}

func connect(t testing.TB) *broker.Conn {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// start starts a meta and waits until it is ready.
func start(t testing.TB, change ...func(*meta.Config)) *running {
	t.Helper()
	conn := connect(t)
	_, err := membership.EnsureLayout(t.Context(), conn, partitions)
	require.NoError(t, err)
	for i := range uint32(partitions) {
		require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, i))
	}
	return startOn(t, conn, change...)
}

func startOn(t testing.TB, conn *broker.Conn, change ...func(*meta.Config)) *running {
	t.Helper()
	r := launch(t, conn, change...)
	await.True(t, await.Deadline, func() bool { return r.call("GET", "/ready", "").status == 200 }, "meta is ready")
	return r
}

// launch starts a meta, which need not become ready.
func launch(t testing.TB, conn *broker.Conn, change ...func(*meta.Config)) *running {
	t.Helper()
	cfg := meta.DefaultConfig()
	cfg.Discovery.Timeout, cfg.Discovery.AttemptTimeout = config.Duration(time.Second), config.Duration(time.Second)
	for _, c := range change {
		c(&cfg)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	checks, metrics := &health.Checks{}, prometheus.NewRegistry()
	service, err := meta.New(cfg, meta.Deps{
		Conn: conn, Listener: listener, Checks: checks, Probes: health.Handler(checks, metrics), Metrics: metrics,
		Log: slog.New(slog.DiscardHandler), Version: "1.2.3",
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { require.NoError(t, stop()) })
	return &running{t: t, conn: conn, url: "http://" + listener.Addr().String(), stop: stop}
}

// response is an answer with its body read.
type response struct {
	status int
	header http.Header
	body   string
}

// call sends a request; a body is JSON.
func (r *running) call(method, path, body string) response {
	r.t.Helper()
	return r.send(method, path, "application/json", strings.NewReader(body))
}

func (r *running) send(method, path, contentType string, body io.Reader) response {
	r.t.Helper()
	request, err := http.NewRequest(method, r.url+path, body)
	require.NoError(r.t, err)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := http.DefaultClient.Do(request)
	require.NoError(r.t, err)
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	require.NoError(r.t, err)
	return response{answer.StatusCode, answer.Header, string(read)}
}

// failure returns the error in an answer, which has to be complete.
func (a response) failure(t testing.TB) (message, code string) {
	t.Helper()
	var failed map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &failed), a.body)
	require.Len(t, failed, 2, a.body)
	message, code = failed["message"].(string), failed["restate_code"].(string)
	require.Contains(t, message, "["+code+"] ")
	require.Contains(t, a.header.Get("Content-Type"), "application/json")
	return message, code
}

// json decodes a body into what it holds.
func (a response) json(t testing.TB) any {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal([]byte(a.body), &value), a.body)
	return value
}

// captured returns a body that an SDK answered to discovery.
func captured(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/discovery.json")
	require.NoError(t, err)
	var file struct {
		Cases []struct {
			Name string `json:"name"`
			Body string `json:"body_base64"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(text, &file))
	for _, c := range file.Cases {
		if c.Name == name {
			body, err := base64.StdEncoding.DecodeString(c.Body)
			require.NoError(t, err)
			return body
		}
	}
	t.Fatalf("no captured discovery %q", name)
	return nil
}

const (
	typedServices  = "bidi-grpc-and-routers"
	routerServices = "lambda-dotted-router-name"
)

// endpoint starts a server that speaks HTTP/2 with prior knowledge.
func endpoint(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// sdk starts an endpoint that answers to discovery as an SDK does.
func sdk(t testing.TB, name string) string {
	t.Helper()
	return endpoint(t, answering(captured(t, name)))
}

func answering(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/discover") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/proto")
		_, _ = io.Copy(w, bytes.NewReader(body))
	}
}

func registration(uri string, force bool) string {
	body, err := json.Marshal(map[string]any{"uri": uri, "force": force})
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// endpointOfHTTP1 starts a server that knows nothing.
func endpointOfHTTP1(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return server.URL
}
