package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/health"
)

func get(t *testing.T, handler http.Handler, path string) (int, map[string]any) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	var body map[string]any
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &body))
	return recorder.Code, body
}

func TestReadyOnlyWhenEveryCheckPasses(t *testing.T) {
	var checks health.Checks
	handler := health.Handler(&checks, prometheus.NewRegistry())

	code, _ := get(t, handler, "/ready")
	require.Equal(t, http.StatusOK, code)

	behind := errors.New("42 records behind")
	checks.Add("partition 3", func(context.Context) error { return behind })
	checks.Add("registry", func(context.Context) error { return nil })
	code, body := get(t, handler, "/ready")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, map[string]any{"partition 3": "42 records behind"}, body["checks"])

	checks.Add("partition 3", func(context.Context) error { return nil })
	code, body = get(t, handler, "/ready")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ready", body["status"])
}

func TestDrainingIsAliveButNotReady(t *testing.T) {
	var checks health.Checks
	handler := health.Handler(&checks, prometheus.NewRegistry())
	checks.Drain()
	code, body := get(t, handler, "/ready")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, map[string]any{"daemon": health.ErrDraining.Error()}, body["checks"])
	code, body = get(t, handler, "/health")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "alive", body["status"])
}

func TestAnswersThoughACheckHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks health.Checks
		release := make(chan struct{})
		checks.Add("stuck", func(context.Context) error { <-release; return nil })
		checks.Add("fine", func(context.Context) error { return nil })
		failing := checks.Failing(t.Context())
		require.Len(t, failing, 1)
		require.ErrorContains(t, failing["stuck"], "in time")
		close(release)
	})
}

func TestServerServesUntilStopped(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "restate_test_total", Help: "A figure."})
	registry.MustRegister(counter)
	counter.Inc()
	server, err := health.Listen(t.Context(), health.DefaultConfig(), health.Handler(&health.Checks{}, registry), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()

	response, err := http.Get("http://" + server.Addr() + "/metrics")
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Contains(t, string(body), "restate_test_total 1")

	cancel()
	require.NoError(t, <-done)
	_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Addr())
	require.Error(t, err)
}

func TestListenNamesTheSetting(t *testing.T) {
	_, err := health.Listen(t.Context(), health.Config{BindAddress: "nowhere:-1"}, nil, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "health.bind_address")
}

func TestAddressInUseIsTold(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server, err := health.Listen(t.Context(), health.Config{BindAddress: "127.0.0.1:0"}, http.NotFoundHandler(), log)
	require.NoError(t, err)
	_, err = health.Listen(t.Context(), health.Config{BindAddress: server.Addr()}, http.NotFoundHandler(), log)
	require.Equal(t, errcode.CannotBind, errcode.Of(err, ""))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, server.Run(ctx))
}
