package ingress_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	"github.com/restate-go/restate/services/ingress"
)

func TestBodiesOfHandlers(t *testing.T) {
	r := startWithHandlers(t, withConfig(func(c *ingress.Config) { c.MaxBodySize = 1000 }))
	r.worker.echo()
	for name, client := range map[string]*http.Client{"HTTP/1.1": h1(t), "HTTP/2": h2c(t)} {
		t.Run(name, func(t *testing.T) {
			full := do(t, client, http.MethodPost, r.url+"/Greeter/greet", "application/json", strings.Repeat("1", 1000))
			require.Equal(t, 200, full.status, full.body)
			require.Len(t, full.body, 1000)

			declared := do(t, client, http.MethodPost, r.url+"/Greeter/greet", "application/json", strings.Repeat("1", 1001))
			requireRefused(t, 413, declared)
			require.Equal(t, "the request is larger than 1000 bytes (ingress.max_body_size)", decode(t, declared.body)["message"])

			require.Equal(t, 200, stream(t, r, client, io.MultiReader(strings.NewReader(strings.Repeat("1", 1000)))).status, "without a length")
			requireRefused(t, 413, stream(t, r, client, io.MultiReader(strings.NewReader(strings.Repeat("1", 1001)))))
			if name == "HTTP/2" { // over HTTP/1.1 this client goes on sending, and sees its connection reset
				requireRefused(t, 413, stream(t, r, client, &repeated{}))
			}
		})
	}
}

func TestStuckBodiesOfHandlers(t *testing.T) {
	r := startWithHandlers(t, withStuckBodies())
	t.Run("HTTP/2", func(t *testing.T) { requireRefused(t, 408, stream(t, r, h2c(t), stuck(t))) })
	t.Run("HTTP/1.1", func(t *testing.T) {
		answer := exchange(t, r, "POST /Greeter/greet HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
		require.True(t, bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")), "%q", answer)
	})
}

// stream calls a handler with a body whose length is not declared.
func stream(t *testing.T, r *running, client *http.Client, body io.Reader) response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/Greeter/greet", body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return response{answer.StatusCode, answer.Header, string(text)}
}

// exchange sends the text, and returns all that comes back until the ingress closes the connection.
func exchange(t *testing.T, r *running, text string) []byte {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(await.Deadline)))
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return answer
}

// Paths that net/url would write otherwise reach the handler as they came.
func TestRawPaths(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.echo()
	for target, c := range map[string]struct{ key, path string }{
		`/Counter/"%61"/get?q=%7E|`: {`"a"`, `/Counter/"%61"/get?q=%7E|`},
		`http://x/Counter/b/get?q`:  {`b`, `/Counter/b/get?q`},
	} {
		answer := exchange(t, r, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.True(t, bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")), "%q", answer)
		invoke := r.worker.last()
		require.Equal(t, c.key, string(invoke.GetTarget().GetKey()))
		require.Equal(t, c.path, invoke.GetHeaders()[0].GetValue())
	}
}

// The limit is one for all that the port speaks.
func TestConcurrencyLimitOfHandlers(t *testing.T) {
	r := startWithHandlers(t, withConfig(func(c *ingress.Config) { c.ConcurrencyLimit = 1 }))
	arrived := make(chan *logv1.Invoke, 1)
	r.worker.answer(func(invoke *logv1.Invoke) *journalv1.Result {
		arrived <- invoke
		return nil
	})
	waiting := background(t, r, h1(t))
	invoke := <-arrived
	requireRefused(t, 429, post(t, r, "/Greeter/greet", `1`))
	require.Equal(t, 200, do(t, h1(t), http.MethodOptions, r.url+"/Greeter/greet", "", "").status)
	r.worker.finish(invoke, success(nil))
	require.Equal(t, 200, (<-waiting).status)
	r.worker.echo()
	require.Equal(t, 200, post(t, r, "/Greeter/greet", `1`).status, "the place is given back")
}

func TestStopWithCallOfHandler(t *testing.T) {
	r := startWithHandlers(t, withConfig(func(c *ingress.Config) { c.DrainTimeout = config.Duration(100 * time.Millisecond) }))
	arrived := make(chan *logv1.Invoke, 1)
	r.worker.answer(func(invoke *logv1.Invoke) *journalv1.Result {
		arrived <- invoke
		return nil
	})
	answers, client, ctx := make(chan response, 1), h1(t), t.Context()
	go func() {
		answer, err := send(ctx, client, http.MethodPost, r.url+"/Greeter/greet", "application/json", `1`)
		if err != nil {
			t.Errorf("call Greeter/greet: %v", err)
		}
		answers <- answer
	}()
	invoke := <-arrived
	require.NoError(t, r.stop())
	answer := <-answers
	require.Equal(t, 503, answer.status, answer.body)
	id := idOf(t, answer)
	require.Equal(t, invoke.GetInvocationId(), id[:], "the caller can ask for the result later")
}

func TestFiguresOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.echo()
	post(t, r, "/Greeter/greet", `1`)
	post(t, r, "/Greeter/greet?delay=1s", `1`)
	post(t, r, "/Greeter/nothing", `1`)
	metrics := get(t, r, "/metrics").body
	for _, line := range []string{
		`restate_ingress_requests_total{code="ok",method="greet",service="Greeter"} 1`,
		`restate_ingress_requests_total{code="400",method="greet",service="Greeter"} 1`,
		`restate_ingress_requests_total{code="404",method="",service=""} 1`,
		`restate_ingress_request_duration_seconds_count{method="greet",service="Greeter"} 2`,
		`restate_ingress_requests_in_progress 0`,
	} {
		require.Contains(t, metrics, line)
	}
}

func TestSpansOfHandlers(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	r := startWithHandlers(t, withTracer(provider.Tracer("test")))
	r.worker.echo()
	answer := post(t, r, "/Greeter/greet", `1`, "Traceparent", callerParent)
	await.True(t, await.Deadline, func() bool { return len(recorder.Ended()) == 1 }, "a span")
	span := recorder.Ended()[0]
	require.Equal(t, callerTrace, span.SpanContext().TraceID().String())
	require.Subset(t, span.Attributes(), []attribute.KeyValue{
		attribute.String("rpc.system", "restate"), attribute.String("rpc.service", "Greeter"),
		attribute.String("restate.invocation.id", idOf(t, answer).String()),
	})
	require.Contains(t, r.worker.last().GetSpanContext().GetTraceparent(), span.SpanContext().SpanID().String())
}

// Services without messages are none to gRPC, and do no harm to those that have some.
func TestServicesOfBothKinds(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return success(nil) })
	require.Equal(t, 200, post(t, r, "/seedera.Greeter/Greet", `{}`).status)
	for _, name := range []string{"Greeter", "Counter"} {
		answer := post(t, r, "/dev.restate.Ingress/Invoke", `{"service":"`+name+`","method":"greet","argument":{}}`)
		require.Equal(t, 404, answer.status, answer.body)
	}
}
