package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/restate-go/restate/pkg/telemetry"
)

func TestLogFormats(t *testing.T) {
	for text, want := range map[string]telemetry.LogFormat{
		"Pretty": telemetry.Pretty, "compact": telemetry.Compact, "JSON": telemetry.JSON, "Json": telemetry.JSON,
	} {
		var got telemetry.LogFormat
		require.NoError(t, got.UnmarshalText([]byte(text)))
		require.Equal(t, want, got)
	}
	var format telemetry.LogFormat
	require.ErrorContains(t, format.UnmarshalText([]byte("xml")), "Pretty, Compact or Json")
}

func TestLinesLookAsConfigured(t *testing.T) {
	write := func(format telemetry.LogFormat) string {
		var out bytes.Buffer
		log, err := telemetry.NewLogger(&out, telemetry.LogConfig{Format: format, Level: slog.LevelWarn})
		require.NoError(t, err)
		log.Info("below the level")
		log.Warn("retrying", "attempt", 3)
		return out.String()
	}
	require.Contains(t, write(telemetry.Compact), "level=WARN msg=retrying attempt=3\n")
	require.Contains(t, write(telemetry.Pretty), "WRN retrying attempt=3\n", "no colours: it is not a terminal")
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(write(telemetry.JSON)), &line))
	require.InDelta(t, 3, line["attempt"], 0)

	_, err := telemetry.NewLogger(&bytes.Buffer{}, telemetry.LogConfig{Format: "xml"})
	require.Error(t, err)
}

func TestRegistryTellsOfTheProcess(t *testing.T) {
	families, err := telemetry.NewRegistry().Gather()
	require.NoError(t, err)
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	require.Contains(t, names, "go_goroutines")
	require.Contains(t, names, "process_cpu_seconds_total")
}

func TestProfilesAreForClientsOnTheMachine(t *testing.T) {
	for client, want := range map[string]int{"127.0.0.1:4000": 200, "[::1]:4000": 200, "10.0.0.7:4000": 403, "": 403} {
		request := httptest.NewRequest(http.MethodGet, "/debug/pprof/goroutine", http.NoBody)
		request.RemoteAddr = client
		recorder := httptest.NewRecorder()
		telemetry.Profiles().ServeHTTP(recorder, request)
		require.Equal(t, want, recorder.Code, client)
	}
}

// receiver takes what is exported.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	requests chan *collector.ExportTraceServiceRequest
}

func (r *receiver) Export(
	_ context.Context, request *collector.ExportTraceServiceRequest,
) (*collector.ExportTraceServiceResponse, error) {
	r.requests <- request
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestSpansAreSentBeforeShutdownReturns(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	t.Cleanup(server.Stop)
	received := &receiver{requests: make(chan *collector.ExportTraceServiceRequest, 1)}
	collector.RegisterTraceServiceServer(server, received)
	go func() { _ = server.Serve(listener) }()

	tracing, err := telemetry.NewTracing(t.Context(), telemetry.TracingConfig{Endpoint: listener.Addr().String()}, "ingress", "1.2.3")
	require.NoError(t, err)
	_, span := tracing.Tracer("test").Start(t.Context(), "call")
	span.End()
	require.NoError(t, tracing.Shutdown(t.Context()))

	spans := (<-received.requests).GetResourceSpans()
	require.Equal(t, "call", spans[0].GetScopeSpans()[0].GetSpans()[0].GetName())
	require.Equal(t, "ingress", spans[0].GetResource().GetAttributes()[0].GetValue().GetStringValue())
}

func TestTracingWithoutEndpointDoesNothing(t *testing.T) {
	tracing, err := telemetry.NewTracing(t.Context(), telemetry.TracingConfig{}, "ingress", "1.2.3")
	require.NoError(t, err)
	_, span := tracing.Tracer("test").Start(t.Context(), "call")
	defer span.End()
	require.False(t, span.IsRecording())
	require.NoError(t, tracing.Shutdown(t.Context()))
}

func TestTracingRefusesWhatIsNoAddress(t *testing.T) {
	for _, endpoint := range []string{"ftp://host:1", "http://", "http://%zz"} {
		_, err := telemetry.NewTracing(t.Context(), telemetry.TracingConfig{Endpoint: endpoint}, "ingress", "1.2.3")
		require.ErrorContains(t, err, "observability.tracing.endpoint", endpoint)
	}
}
