package ingress_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
)

// startWithHandlers starts an ingress that knows services of both kinds: some that a manifest describes, and some with
// descriptors.
func startWithHandlers(t testing.TB, options ...option) *running {
	t.Helper()
	r := startWithServices(t, options...)
	r.registerManifest(t)
	return r
}

func (c *cluster) registerManifest(t testing.TB) {
	t.Helper()
	manifest, err := os.ReadFile("testdata/manifest.json")
	require.NoError(t, err)
	discovery, err := schema.ReadManifest(manifest)
	require.NoError(t, err)
	snapshot, _, err := schema.NewWriter(c.conn).Register(t.Context(), schema.Registration{
		Endpoint: schema.Endpoint{URI: "http://handlers:9080/"}, Discovery: discovery,
	})
	require.NoError(t, err)
	require.NoError(t, schema.AwaitSync(t.Context(), c.conn, snapshot.Revision()))
}

// echo makes every invocation end with its argument.
func (w *worker) echo() {
	w.answer(func(invoke *logv1.Invoke) *journalv1.Result { return success(invoke.GetArgument()) })
}

// idOf returns the id that a response names in its header.
func idOf(t testing.TB, answer response) ids.InvocationID {
	t.Helper()
	id, err := ids.ParseInvocationID(answer.header.Get("X-Restate-Id"))
	require.NoError(t, err, "%d %s", answer.status, answer.body)
	return id
}

// requireRefused checks an error of the ingress itself.
func requireRefused(t testing.TB, status int, answer response) {
	t.Helper()
	require.Equal(t, status, answer.status, answer.body)
	require.Equal(t, "application/json", answer.header.Get("Content-Type"))
	require.Equal(t, "ingress", answer.header.Get("X-Restate-Error-Source"))
	content := decode(t, answer.body)
	require.InDelta(t, status, content["code"], 0)
	require.Equal(t, "ingress", content["source"])
	require.NotEmpty(t, content["message"])
}

func TestCallsOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.echo()
	for path, want := range map[string]*journalv1.Target{
		"/Greeter/greet":                   {Service: "Greeter", Handler: "greet", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED},
		"//Greeter/greet/":                 {Service: "Greeter", Handler: "greet", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED},
		"/restate/call/Greeter/greet":      {Service: "Greeter", Handler: "greet", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED},
		"/Counter/a%2Fb+c/add":             {Service: "Counter", Handler: "add", Key: []byte("a/b+c"), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED},
		"/Counter//add":                    {Service: "Counter", Handler: "add", Key: []byte(""), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED},
		"/restate/call/Counter/%C3%A4/get": {Service: "Counter", Handler: "get", Key: []byte("ä"), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED, Shared: true},
		"/restate/scope/s-1/call/Greeter/greet?Limit-Key=a/b": {
			Service: "Greeter", Handler: "greet", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED, Scope: "s-1", LimitKey: "a/b",
		},
	} {
		for name, client := range map[string]*http.Client{"HTTP/1.1": h1(t), "HTTP/2": h2c(t)} {
			t.Run(path+" over "+name, func(t *testing.T) {
				answer := do(t, client, http.MethodPost, r.url+path, "application/json; charset=utf-8", `{ "a":1}`)
				require.Equal(t, 200, answer.status, answer.body)
				require.Equal(t, `{ "a":1}`, answer.body, "as it came")
				require.Equal(t, "application/json", answer.header.Get("Content-Type"))
				require.Empty(t, answer.header.Get("Idempotency-Expires"), "the first answer")
				invoke := r.worker.last()
				id := idOf(t, answer)
				require.Equal(t, id[:], invoke.GetInvocationId())
				require.Equal(t, want.String(), invoke.GetTarget().String())
				require.Zero(t, invoke.GetExecutionTime())
				require.Nil(t, invoke.IdempotencyKey)
			})
		}
	}
}

// A GET without a body is a call too, and an empty output has no content type unless the manifest says so.
func TestContentTypes(t *testing.T) {
	r := startWithHandlers(t)
	for path, c := range map[string]struct{ output, contentType string }{
		"/Greeter/greet": {"", ""},
		"/Greeter/plain": {"x", "application/json"},
		"/Greeter/Void":  {"<p>", ""},
	} {
		r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return success([]byte(c.output)) })
		answer := do(t, h1(t), http.MethodGet, r.url+path, "", "")
		require.Equal(t, 200, answer.status, answer.body)
		require.Equal(t, c.output, answer.body)
		require.Equal(t, c.contentType, answer.header.Get("Content-Type"), path)
		require.NotEmpty(t, answer.header.Get("Content-Length"), "bodies are sent as a whole")
	}
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return success(nil) })
	answer := do(t, h1(t), http.MethodPost, r.url+"/Greeter/Strict", "application/json", `""`)
	require.Equal(t, "application/json", answer.header.Get("Content-Type"), "even if empty")
}

func TestHeadersOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.echo()
	answer := do(t, h1(t), http.MethodPost, r.url+"/Counter/a%2Fb/add?x=%20&y", "application/json", `1`,
		"X-Custom", "a\tb", "Authorization", "Bearer x", "Connection", "close", "Idempotency-Key", "", "Idempotency-Expires", "z",
		"Traceparent", callerParent, "X-Restateclient-Retry-Attempt", "1")
	require.Equal(t, 200, answer.status, answer.body)
	invoke := r.worker.last()
	require.NotNil(t, invoke.IdempotencyKey, "an empty key is one") //nolint:protogetter // nil differs from empty
	got := map[string]string{}
	for _, h := range invoke.GetHeaders() {
		got[h.GetKey()] = h.GetValue()
	}
	require.Equal(t, "x-restate-ingress-path", invoke.GetHeaders()[0].GetKey())
	require.Equal(t, "/Counter/a%2Fb/add?x=%20&y", invoke.GetHeaders()[0].GetValue())
	require.Equal(t, "a\tb", got["x-custom"])
	require.Equal(t, "Bearer x", got["authorization"])
	require.Equal(t, "application/json", got["content-type"])
	require.Equal(t, callerParent, got["traceparent"])
	require.Equal(t, callerParent, invoke.GetSpanContext().GetTraceparent())
	require.Equal(t, "1", got["x-restateclient-retry-attempt"])
	for _, hidden := range []string{"connection", "host", "idempotency-key", "idempotency-expires"} {
		require.NotContains(t, got, hidden)
	}
}

func TestIdempotentCallsOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.echo()
	first := post(t, r, "/Greeter/greet", `1`, "Idempotency-Key", "k")
	require.Empty(t, first.header.Get("Idempotency-Expires"))
	again := post(t, r, "/Greeter/greet", `2`, "Idempotency-Key", "k")
	require.Equal(t, "1", again.body)
	require.Equal(t, idOf(t, first), idOf(t, again))
	require.Equal(t, schema.IdempotentID("Greeter", nil, "greet", "k", nil), idOf(t, again))
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$`, again.header.Get("Idempotency-Expires"))
	invoke := r.worker.last()
	require.Equal(t, "k", invoke.GetIdempotencyKey())
	require.EqualValues(t, (24 * time.Hour).Milliseconds(), invoke.GetCompletionRetention())
	require.NotEqual(t, idOf(t, first), idOf(t, post(t, r, "/Greeter/greet", `1`, "Idempotency-Key", "l")))
}

func TestFailuresOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	for code, status := range map[uint32]int{200: 200, 418: 418, 500: 500, 599: 599, 999: 999, 1000: 500, 10: 500} {
		r.worker.answer(func(*logv1.Invoke) *journalv1.Result {
			f := failed(code, "no, 100%")
			f.GetFailure().Metadata = []*journalv1.FailureMetadata{{Key: "a", Value: "b"}}
			return f
		})
		answer := post(t, r, "/Greeter/greet", ``)
		require.Equal(t, status, answer.status)
		require.Equal(t, "application/json", answer.header.Get("Content-Type"))
		require.Equal(t, "invocation", answer.header.Get("X-Restate-Error-Source"))
		idOf(t, answer)
		require.Equal(t, map[string]any{
			"code": float64(code), "message": "no, 100%", "source": "invocation", "metadata": map[string]any{"a": "b"},
		}, decode(t, answer.body))
	}
}

func TestSends(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.echo()
	for _, path := range []string{
		"/Greeter/greet/send", "/restate/send/Greeter/greet", "/Counter/a/add/send", "/restate/send/Counter/a/add",
		"/restate/scope/s/send/Flow/a/status",
	} {
		answer := post(t, r, path, `1`)
		require.Equal(t, 202, answer.status, answer.body)
		id := idOf(t, answer)
		require.Equal(t, `{"invocationId":"`+id.String()+`","status":"Accepted"}`, answer.body)
		invoke := r.worker.next()
		require.Equal(t, id[:], invoke.GetInvocationId())
		require.Nil(t, invoke.GetResponseSink())
	}
	for delay, want := range map[string]time.Duration{"0": 0, "0ms": 0, "1h+30m": 90 * time.Minute, "PT1H": time.Hour} {
		answer := post(t, r, "/Greeter/greet/send?DELAY="+delay, `1`)
		require.Equal(t, 202, answer.status, answer.body)
		text, _ := decode(t, answer.body)["executionTime"].(string)
		require.Regexp(t, `\.\d{9}Z$`, text)
		at, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(want), at, time.Minute)
		require.EqualValues(t, at.UnixMilli(), r.worker.next().GetExecutionTime())
	}
	for name, c := range map[string]struct {
		path    string
		headers []string
	}{
		"idempotent": {"/Greeter/greet/send", []string{"Idempotency-Key", "k"}},
		"workflow":   {"/Flow/a/run/send", nil},
	} {
		t.Run(name, func(t *testing.T) {
			first := decode(t, post(t, r, c.path+"?delay=1h", `1`, c.headers...).body)
			require.Equal(t, "Accepted", first["status"])
			again := decode(t, post(t, r, c.path, `1`, c.headers...).body)
			require.Equal(t, "PreviouslyAccepted", again["status"])
			require.Equal(t, first["invocationId"], again["invocationId"])
			require.NotEmpty(t, again["executionTime"])
			require.Equal(t, first["executionTime"], again["executionTime"], "that of the first")
		})
	}
}

// What restate-server 1.7.12 refuses, in the order in which it checks.
func TestRefusalsOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"POST", "/restate/call/Nobody/greet", nil, 404},
		{"PUT", "/restate/call/Nobody/greet", nil, 404},
		{"POST", "/restate/call/seedera.Greeter/Greet", nil, 404},
		{"POST", "/Greeter/nothing", nil, 404},
		{"POST", "/Greeter", nil, 400},
		{"GET", "/restate", nil, 400},
		{"POST", "/restate/1/2/3/4/5/6/7", nil, 400},
		{"POST", "/Greeter/greet/xx", nil, 400},
		{"POST", "/Counter/add", nil, 400},
		{"POST", "/Counter/a/b/add", nil, 400},
		{"POST", "/Counter/%FF/add", nil, 400},
		{"POST", "/Counter/" + strings.Repeat("k", schema.MaxKeyLength+1) + "/add", nil, 400},
		{"POST", "/Greeter/greet", []string{"Idempotency-Key", strings.Repeat("k", schema.MaxKeyLength+1)}, 400},
		{"POST", "/Greeter/hidden", nil, 400},
		{"PUT", "/Greeter/hidden", nil, 400},
		{"POST", "/Internal/do", nil, 400},
		{"PUT", "/Greeter/greet", nil, 405},
		{"POST", "/Greeter/greet", []string{"Content-Type", "text/plain"}, 400},
		{"POST", "/Greeter/Strict", []string{"Content-Type", "text/plain"}, 400},
		{"POST", "/Greeter/Void", nil, 400},
		{"PUT", "/Flow/a/run", []string{"Idempotency-Key", "k"}, 400},
		{"POST", "/Greeter/greet", []string{"Idempotency-Key", "ä"}, 400},
		{"POST", "/Greeter/greet", []string{"X-Custom", "ä"}, 400},
		{"POST", "/Greeter/greet?delay=1s", nil, 400},
		{"POST", "/Greeter/greet/send?delay=5000", nil, 400},
		{"POST", "/Greeter/greet/send?delay", nil, 400},
		{"POST", "/Greeter/greet/send?delay=P1M", nil, 400},
		{"POST", "/Greeter/greet", []string{"X-Restate-Limit-Key", "a"}, 400},
		{"POST", "/Greeter/greet?limit-key=a", nil, 400},
		{"POST", "/restate/scope/s/call/Greeter/greet", []string{"X-Restate-Limit-Key", "a/b/c"}, 400},
		{"POST", "/restate/scope/a%20b/call/Greeter/greet", nil, 400},
		{"POST", "/restate/scope/" + strings.Repeat("a", 37) + "/call/Greeter/greet", nil, 400},
		{"POST", "/restate/scope/s/call/Counter/a/add", nil, 400},
		{"POST", "/restate/openapi", nil, 404},
		{"GET", "/openapi", nil, 400},
		{"GET", "/openapi/Greeter", nil, 404},
		{"POST", "/Greeter/greet/send?delay=", nil, 400},
		{"POST", "/restate/send/Greeter/greet/send", nil, 400},
		{"POST", "/restate/health", nil, 405},
		{"GET", "/restate/lookup", nil, 405},
	} {
		headers := append([]string{"Content-Type", "application/json"}, c.headers...)
		answer := do(t, h1(t), c.method, r.url+c.path, "", `1`, headers...)
		t.Log(c.method, c.path, answer.status, answer.body)
		requireRefused(t, c.status, answer)
		require.Empty(t, answer.header.Get("X-Restate-Id"))
		require.Equal(t, "true", answer.header.Get("Access-Control-Allow-Credentials"))
	}
	require.Empty(t, r.worker.invoked(), "nothing of this is run")
	head := do(t, h1(t), http.MethodHead, r.url+"/Greeter/greet", "", "")
	require.Equal(t, 405, head.status)
}

func TestServiceNamesAreNotDecoded(t *testing.T) {
	r := startWithHandlers(t)
	requireRefused(t, 404, post(t, r, "/restate/call/Gree%74er/greet", `1`))
	requireRefused(t, 404, post(t, r, "/Gree%74er/greet", `1`))
}

// Clients of either kind understand errors only in the form of that kind.
func TestServicesThatNobodyKnows(t *testing.T) {
	r := startWithHandlers(t)
	for _, path := range []string{"/Nobody/greet", "/Nobody/a/add", "/Nobody/a/add/send"} {
		requireRefused(t, 404, post(t, r, path, `1`))
		requireRefused(t, 404, do(t, h1(t), http.MethodPut, r.url+path, "", ""))
	}
	for path, headers := range map[string][]string{
		"/seedera.Nobody/Greet": nil,
		"/Nobody/Greet":         {"Connect-Protocol-Version", "1"},
	} {
		answer := post(t, r, path, `{}`, headers...)
		require.Equal(t, 404, answer.status)
		require.Equal(t, "not_found", decode(t, answer.body)["code"])
	}
	err := dial(t, r).Invoke(t.Context(), "/Nobody/Greet", &emptypb.Empty{}, &emptypb.Empty{})
	require.Equal(t, codes.NotFound, status.Code(err))
}
