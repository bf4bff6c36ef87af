package ingress_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/membership"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	"github.com/restate-go/restate/services/ingress"
)

const (
	callerTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerParent = "00-" + callerTrace + "-00f067aa0ba902b7-01"
)

func TestTraceContextIsPassedOnWithoutTracing(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(&emptypb.Empty{})
	post(t, r, "/seedera.Greeter/Greet", `{}`, "Traceparent", callerParent, "Tracestate", "a=1")
	require.Equal(t, callerParent, r.worker.last().GetSpanContext().GetTraceparent())
	require.Equal(t, "a=1", r.worker.last().GetSpanContext().GetTracestate())
	for _, traceparent := range []string{"", "nonsense"} {
		post(t, r, "/seedera.Greeter/Greet", `{}`, "Traceparent", traceparent)
		require.Nil(t, r.worker.last().GetSpanContext())
	}
}

func TestSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	r := startWithServices(t, withTracer(provider.Tracer("test")))
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return failed(5, "no") })
	post(t, r, "/seedera.Greeter/Greet", `{}`, "Traceparent", callerParent)
	await.True(t, await.Deadline, func() bool { return len(recorder.Ended()) == 1 }, "a span")
	span := recorder.Ended()[0]
	require.Equal(t, "ingress_invoke Greet", span.Name())
	require.Equal(t, callerTrace, span.SpanContext().TraceID().String())
	require.Equal(t, "00f067aa0ba902b7", span.Parent().SpanID().String())
	invoke := r.worker.last()
	require.Subset(t, span.Attributes(), []attribute.KeyValue{
		attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", "seedera.Greeter"),
		attribute.String("rpc.method", "Greet"),
		attribute.String("restate.invocation.id", ids.InvocationID(invoke.GetInvocationId()).String()),
	})
	require.Equal(t, "00-"+callerTrace+"-"+span.SpanContext().SpanID().String()+"-01", invoke.GetSpanContext().GetTraceparent())

	require.Equal(t, 200, post(t, r, "/dev.restate.Ingress/Invoke", `{"service":"seedera.Greeter","method":"Greet"}`).status)
	await.True(t, await.Deadline, func() bool { return len(recorder.Ended()) == 2 }, "a span for a one-way call")
	oneWay := recorder.Ended()[1].SpanContext().SpanID().String()
	await.True(t, await.Deadline, func() bool {
		// The answer to a one-way call does not wait until the worker has read the record.
		return strings.Contains(r.worker.last().GetSpanContext().GetTraceparent(), oneWay)
	}, "the span of the one-way call in its record")
}

func TestProbesAndMetrics(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(&emptypb.Empty{})
	post(t, r, "/seedera.Greeter/Greet", `{}`)
	post(t, r, "/seedera.Nobody/Greet", `{}`)
	for path, want := range map[string]string{
		"/health": "alive", "/ready": "ready",
		"/metrics": `restate_ingress_requests_total{code="ok",method="Greet",service="seedera.Greeter"} 1`,
	} {
		answer := do(t, h1(t), http.MethodGet, r.url+path, "", "")
		require.Equal(t, 200, answer.status)
		require.Contains(t, answer.body, want)
	}
	metrics := do(t, h1(t), http.MethodGet, r.url+"/metrics", "", "").body
	require.Contains(t, metrics, `restate_ingress_requests_total{code="not_found",method="",service=""} 1`)
	require.Contains(t, metrics, `restate_ingress_request_duration_seconds_count{method="Greet",service="seedera.Greeter"} 1`)
	require.Contains(t, metrics, `restate_ingress_log_queued_bytes{partition="0"} 0`)
}

// An ingress that has no layout yet is alive, is not ready, and says so to requests.
func TestStartsBeforeTheRest(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	r := launch(t, &cluster{conn: conn})
	require.Equal(t, 200, do(t, h1(t), http.MethodGet, r.url+"/health", "", "").status)
	require.Equal(t, 503, do(t, h1(t), http.MethodGet, r.url+"/ready", "", "").status)
	answer := post(t, r, "/seedera.Greeter/Greet", `{}`)
	require.Equal(t, 503, answer.status)
	require.Equal(t, "unavailable", decode(t, answer.body)["code"])
	for _, path := range []string{"/Greeter/greet", "/Counter/a/add/send", "/restate/call/Greeter/greet", "/restate/health"} {
		early := do(t, h1(t), http.MethodPost, r.url+path, "application/json", `1`, "Origin", "http://a")
		requireRefused(t, 503, early)
		require.Contains(t, early.body, "nothing was run")
		require.Equal(t, "http://a", early.header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, 200, do(t, h1(t), http.MethodOptions, r.url+path, "", "").status)
	}
	require.Equal(t, "unavailable", decode(t, post(t, r, "/Greeter/Greet", `{}`, "Connect-Protocol-Version", "1").body)["code"])
	_, err = membership.EnsureLayout(t.Context(), conn, partitions)
	require.NoError(t, err)
	await.True(t, await.Deadline, func() bool { return len(r.checks.Failing(t.Context())) == 0 }, "the ingress is ready")
	require.Equal(t, 404, post(t, r, "/seedera.Greeter/Greet", `{}`).status)
}

func TestStopsBeforeItHasStarted(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.NoError(t, launch(t, &cluster{conn: conn}).stop())
}

// Requests in progress get their results, new ones are refused.
func TestDrain(t *testing.T) {
	r := startWithServices(t)
	arrived := make(chan *logv1.Invoke, 1)
	r.worker.answer(func(invoke *logv1.Invoke) *journalv1.Result {
		arrived <- invoke
		return nil
	})
	answers := background(t, r, h2c(t))
	invoke := <-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	await.True(t, await.Deadline, func() bool {
		_, err := send(t.Context(), h1(t), http.MethodPost, r.url+"/a/b", "application/json", `{}`)
		return err != nil
	}, "no new connections")
	select {
	case <-stopped:
		t.Fatal("stopped although a request is in progress")
	default:
	}
	r.worker.finish(invoke, success([]byte("\x0a\x02ok")))
	require.Equal(t, `{"greeting":"ok","count":"0","mood":"MOOD_UNSPECIFIED"}`, (<-answers).body)
	require.NoError(t, <-stopped)
}

func TestDrainIsBounded(t *testing.T) {
	r := startWithServices(t, withConfig(func(c *ingress.Config) { c.DrainTimeout = config.Duration(50 * time.Millisecond) }))
	arrived := make(chan struct{}, 1)
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result {
		arrived <- struct{}{}
		return nil
	})
	answers := background(t, r, h1(t))
	<-arrived
	require.NoError(t, r.stop())
	answer := <-answers
	require.Equal(t, 503, answer.status)
	require.Contains(t, decode(t, answer.body)["message"], "the invocation goes on")
	await.True(t, await.Deadline, func() bool {
		nodes, err := membership.Nodes(t.Context(), r.conn, membership.RoleIngress)
		return err == nil && len(nodes) == 0
	}, "the ingress is forgotten")
}

// A log that takes no more records refuses requests, and the ingress recovers when it does again.
func TestLogThatIsFull(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(&emptypb.Empty{})
	require.Equal(t, 200, post(t, r, "/seedera.Single/Bump", `{}`).status)
	limit := func(messages int64) {
		for partition := range uint32(partitions) {
			stream, err := r.conn.JS.Stream(t.Context(), cmdlog.StreamName(partition))
			require.NoError(t, err)
			cfg := stream.CachedInfo().Config
			cfg.MaxMsgs = messages
			_, err = r.conn.JS.UpdateStream(t.Context(), cfg)
			require.NoError(t, err)
		}
	}
	limit(1)
	answer := post(t, r, "/seedera.Single/Bump", `{}`)
	require.Equal(t, 503, answer.status)
	require.Contains(t, decode(t, answer.body)["message"], "nothing was run")
	require.Equal(t, 503, do(t, h1(t), http.MethodGet, r.url+"/ready", "", "").status)
	limit(-1)
	// What was under way when there was room again may still be refused.
	await.True(t, await.Deadline, func() bool { return post(t, r, "/seedera.Single/Bump", `{}`).status == 200 }, "a request to be taken")
	require.Equal(t, 200, do(t, h1(t), http.MethodGet, r.url+"/ready", "", "").status)
}

func TestConfigIsChecked(t *testing.T) {
	for says, change := range map[string]func(*ingress.Config){
		"ingress.concurrency_limit": func(c *ingress.Config) { c.ConcurrencyLimit = 0 },
		"ingress.max_body_size":     func(c *ingress.Config) { c.MaxBodySize = 8 << 20 },
		"ingress.body_timeout":      func(c *ingress.Config) { c.BodyTimeout = 0 },
	} {
		cfg := ingress.DefaultConfig()
		change(&cfg)
		_, err := ingress.New(cfg, ingress.Deps{})
		require.ErrorContains(t, err, says)
	}
	_, err := ingress.Listen(t.Context(), ingress.Config{BindAddress: "nowhere:x"})
	require.ErrorContains(t, err, "ingress.bind_address")
}

func TestAddressInUseIsTold(t *testing.T) {
	cfg := ingress.DefaultConfig()
	cfg.BindAddress = "127.0.0.1:0"
	listener, err := ingress.Listen(t.Context(), cfg)
	require.NoError(t, err)
	defer listener.Close()
	cfg.BindAddress = listener.Addr().String()
	_, err = ingress.Listen(t.Context(), cfg)
	require.Equal(t, errcode.CannotBind, errcode.Of(err, ""))
	require.ErrorContains(t, err, "ingress.bind_address")
}
