package ingress_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
)

func get(t testing.TB, r *running, path string) response {
	t.Helper()
	return do(t, h1(t), http.MethodGet, r.url+path, "", "")
}

// question asks for the result of an invocation, one of the ways there are.
type question struct{ method, path, body string }

func (q question) ask(t testing.TB, r *running) response {
	t.Helper()
	return do(t, h1(t), q.method, r.url+q.path, "", q.body)
}

// questions returns all ways to ask for the result of an invocation; the last segment is attach or output.
func questions(kind string, id ids.InvocationID, path, body string) []question {
	return []question{
		{"GET", "/restate/invocation/" + id.String() + "/" + kind, ""},
		{"GET", "/restate/" + kind + "/" + id.String(), ""},
		{"POST", "/restate/" + kind, `{"target":"invocation","invocationId":"` + id.String() + `"}`},
		{"GET", path + "/" + kind, ""},
		{"POST", "/restate/" + kind, body},
	}
}

func TestResults(t *testing.T) {
	r := startWithHandlers(t)
	for name, c := range map[string]struct {
		call, send, key, path, body string
		id                          ids.InvocationID
	}{
		"service": {
			"/Greeter/greet", "/send", "k/1", "/restate/invocation/Greeter/greet/k%2F1",
			`{"target":"idempotentInvocation","service":"Greeter","handler":"greet","idempotencyKey":"k/1"}`,
			schema.IdempotentID("Greeter", nil, "greet", "k/1", nil),
		},
		"object": {
			"/Counter/a/add", "/send", "k", "/restate/invocation/Counter/a/add/k",
			`{"target":"idempotentInvocation","service":"Counter","key":"a","handler":"add","idempotencyKey":"k"}`,
			schema.IdempotentID("Counter", new("a"), "add", "k", nil),
		},
		"workflow": {
			"/Flow/a%20b/run", "/send", "", "/restate/workflow/Flow/a%20b",
			`{"target":"workflow","workflowName":"Flow","workflowKey":"a b"}`,
			schema.WorkflowRunID("Flow", "a b", nil),
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, q := range questions("attach", c.id, c.path, c.body) {
				answer := q.ask(t, r)
				require.Equal(t, 404, answer.status, "%v: %s", q, answer.body)
				require.Equal(t, c.id, idOf(t, answer))
				require.Equal(t, map[string]any{"code": 404.0, "message": "not found", "source": "invocation"}, decode(t, answer.body))
			}
			for _, q := range questions("output", c.id, c.path, c.body) {
				answer := q.ask(t, r)
				requireRefused(t, 404, answer)
				require.Equal(t, "invocation not found", decode(t, answer.body)["message"])
				require.Empty(t, answer.header.Get("X-Restate-Id"))
			}
			var headers []string
			if c.key != "" {
				headers = []string{"Idempotency-Key", c.key}
			}
			r.worker.echo()
			require.Equal(t, 202, post(t, r, c.call+c.send, `{"a":1}`, headers...).status)
			for _, kind := range []string{"attach", "output"} {
				for _, q := range questions(kind, c.id, c.path, c.body) {
					answer := q.ask(t, r)
					require.Equal(t, 200, answer.status, "%v: %s", q, answer.body)
					require.Equal(t, `{"a":1}`, answer.body)
					require.Equal(t, "application/json", answer.header.Get("Content-Type"))
					require.Equal(t, c.id, idOf(t, answer))
					require.NotEmpty(t, answer.header.Get("Idempotency-Expires"))
				}
			}
			lookup := question{"POST", "/restate/lookup", c.body}.ask(t, r)
			require.Equal(t, 200, lookup.status)
			require.Equal(t, `{"invocationId":"`+c.id.String()+`"}`, lookup.body)
		})
	}
}

func TestResultsOfFailures(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return failed(418, "teapot") })
	id := idOf(t, post(t, r, "/Greeter/greet/send", `1`, "Idempotency-Key", "k"))
	for _, kind := range []string{"attach", "output"} {
		answer := get(t, r, "/restate/"+kind+"/"+id.String())
		require.Equal(t, 418, answer.status)
		require.Equal(t, "invocation", answer.header.Get("X-Restate-Error-Source"))
		require.NotEmpty(t, answer.header.Get("Idempotency-Expires"))
	}
}

func TestResultThatIsNotThereYet(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return nil })
	id := idOf(t, post(t, r, "/Greeter/greet/send", `1`, "Idempotency-Key", "k"))
	answer := get(t, r, "/restate/output/"+id.String())
	requireRefused(t, 470, answer)

	attached, client, ctx := make(chan response, 1), h1(t), t.Context()
	before := len(r.worker.attached())
	go func() {
		answer, err := send(ctx, client, http.MethodGet, r.url+"/restate/attach/"+id.String(), "", "")
		if err != nil {
			t.Errorf("attach: %v", err)
		}
		attached <- answer
	}()
	await.True(t, await.Deadline, func() bool { return len(r.worker.attached()) > before }, "an attachment")
	r.worker.send(&storagev1.IngressResponse{
		InvocationId: id[:], Result: success([]byte(`1`)), Target: r.worker.last().GetTarget(),
	}, r.worker.attached()[before].GetResponseSink().GetIngress())
	answer = <-attached
	require.Equal(t, 200, answer.status)
	require.Equal(t, "1", answer.body)
	require.Empty(t, answer.header.Get("Idempotency-Expires"), "it was not kept, it came")
}

// Clients try again by status and source, where those of a failed invocation would not.
func TestResultThatTooManyWaitFor(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return nil })
	id := idOf(t, post(t, r, "/Greeter/greet/send", `1`, "Idempotency-Key", "k"))
	r.worker.turnAway()
	for _, answer := range []response{
		get(t, r, "/restate/attach/"+id.String()),
		post(t, r, "/Greeter/greet", `1`, "Idempotency-Key", "k"),
	} {
		requireRefused(t, 429, answer)
		require.Contains(t, answer.body, "[RT0101]")
		require.Equal(t, id, idOf(t, answer))
	}
	requireRefused(t, 470, get(t, r, "/restate/output/"+id.String()))
}

// What ran may have been of a service with messages, or be gone since.
func TestResultsOfOtherHandlers(t *testing.T) {
	r := startWithHandlers(t)
	id := schema.WorkflowRunID("any", "any", nil)
	for handler, c := range map[string]struct {
		target *journalv1.Target
		status int
		kind   string
	}{
		"with messages": {&journalv1.Target{Service: "seedera.Greeter", Handler: "Greet"}, 200, "application/proto"},
		"no service":    {&journalv1.Target{Service: "Gone", Handler: "greet"}, 404, "application/json"},
		"no handler":    {&journalv1.Target{Service: "Greeter", Handler: "gone"}, 404, "application/json"},
	} {
		r.worker.mu.Lock()
		r.worker.invocations[string(id[:])] = &storagev1.IngressResponse{Target: c.target, Result: success([]byte("x"))}
		r.worker.mu.Unlock()
		answer := get(t, r, "/restate/attach/"+id.String())
		require.Equal(t, c.status, answer.status, handler)
		require.Equal(t, c.kind, answer.header.Get("Content-Type"), handler)
	}
}

func TestRefusalsOfQuestions(t *testing.T) {
	r := startWithHandlers(t)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/restate/attach/inv_bogus", "", 400},
		{"GET", "/restate/invocation/inv_bogus/output", "", 400},
		{"GET", "/restate/invocation/inv_bogus/what", "", 404},
		{"GET", "/restate/invocation/inv_bogus", "", 400},
		{"POST", "/restate/invocation/inv_bogus/output", "", 405},
		{"GET", "/restate/attach", "", 405},
		{"GET", "/restate/invocation/Nobody/greet/k/attach", "", 404},
		{"GET", "/restate/invocation/Counter/add/k/attach", "", 400},
		{"POST", "/restate/attach", "{", 400},
		{"POST", "/restate/output", `{"target":"what"}`, 400},
		{"POST", "/restate/lookup", `{"target":"workflow","workflowName":"Flow"}`, 400},
		{"POST", "/restate/lookup", `{"target":"idempotentInvocation","service":"Greeter"}`, 400},
		{"POST", "/restate/lookup", `{"target":"invocation"}`, 400},
		{"POST", "/restate/lookup", `{"target":"invocation","invocationId":"x"}`, 400},
		{"POST", "/restate/lookup", `{"target":"workflow","workflowName":"Flow","workflowKey":"a","scope":"ä"}`, 400},
	} {
		answer := question{c.method, c.path, c.body}.ask(t, r)
		t.Log(c.method, c.path, c.body, answer.body)
		requireRefused(t, c.status, answer)
	}
	require.Empty(t, r.worker.attached())
}

func TestScopedResults(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.echo()
	id := idOf(t, post(t, r, "/restate/scope/s/send/Flow/a/run", `1`))
	require.Equal(t, schema.WorkflowRunID("Flow", "a", new("s")), id)
	answer := question{"POST", "/restate/attach", `{"target":"workflow","workflowName":"Flow","workflowKey":"a","scope":"s"}`}.ask(t, r)
	require.Equal(t, 200, answer.status, answer.body)
	require.Equal(t, 404, get(t, r, "/restate/workflow/Flow/a/attach").status, "without a scope it is another run")
}

func TestAwakeablesOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	invocation, err := ids.NewInvocationID(1 << 63)
	require.NoError(t, err)
	signal := v5.Awakeable{Invocation: invocation, Index: 17, Signal: true}
	legacy := v5.Awakeable{Invocation: invocation, Index: 3}
	for name, c := range map[string]struct {
		path, contentType, body string
		notification            *journalv1.Notification
		awakeable               bool
	}{
		"resolve": {
			"awakeables/" + signal.String() + "/resolve", "application/json", `"x"`,
			&journalv1.Notification{Id: &journalv1.Notification_SignalIndex{SignalIndex: 17}, Result: success([]byte(`"x"`))}, false,
		},
		"nothing": {
			"a/" + signal.String() + "/resolve", "", "",
			&journalv1.Notification{Id: &journalv1.Notification_SignalIndex{SignalIndex: 17}, Result: success(nil)}, false,
		},
		"reject": {
			"a/" + signal.String() + "/reject", "text/plain", "no\xff",
			&journalv1.Notification{Id: &journalv1.Notification_SignalIndex{SignalIndex: 17}, Result: failed(500, "no\uFFFD")}, false,
		},
		"legacy": {
			"awakeables/" + legacy.String() + "/resolve", "", "1",
			&journalv1.Notification{Id: &journalv1.Notification_CompletionId{CompletionId: 3}, Result: success([]byte("1"))}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer := do(t, h1(t), http.MethodPost, r.url+"/restate/"+c.path, c.contentType, c.body)
			require.Equal(t, 202, answer.status, answer.body)
			require.Empty(t, answer.body)
			require.Empty(t, answer.header.Get("X-Restate-Id"))
			notify := r.worker.nextNotify()
			require.Equal(t, invocation[:], notify.GetInvocationId())
			require.Equal(t, c.notification.String(), notify.GetNotification().String())
			require.Equal(t, c.awakeable, notify.GetAwakeable())
		})
	}
	for path, status := range map[string]int{
		"a/nonsense/resolve": 400, "a/sign_1xx/resolve": 400, "a/" + signal.String() + "/what": 404, "a/" + signal.String(): 400,
	} {
		requireRefused(t, status, do(t, h1(t), http.MethodPost, r.url+"/restate/"+path, "", ""))
	}
	requireRefused(t, 405, get(t, r, "/restate/a/"+signal.String()+"/resolve"))
	require.Len(t, r.worker.notified(), 4)
}

func TestHealthOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	answer := get(t, r, "/restate/health")
	require.Equal(t, 200, answer.status)
	require.Equal(t, "application/json", answer.header.Get("Content-Type"))
	services, ok := decode(t, answer.body)["services"].([]any)
	require.True(t, ok)
	require.Subset(t, services, []any{"Counter", "Flow", "Greeter", "Internal"})
	head := do(t, h1(t), http.MethodHead, r.url+"/restate/health", "", "")
	require.Equal(t, 405, head.status)
}

func TestCrossOriginRequestsOfHandlers(t *testing.T) {
	r := startWithHandlers(t)
	r.worker.echo()
	for _, path := range []string{"/Greeter/greet", "/restate/health", "/restate"} {
		answer := do(t, h1(t), http.MethodOptions, r.url+path, "", "", "Origin", "http://a",
			"Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "x-a,x-b")
		require.Equal(t, 200, answer.status)
		require.Empty(t, answer.body)
		require.Equal(t, "http://a", answer.header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "PATCH", answer.header.Get("Access-Control-Allow-Methods"))
		require.Equal(t, "x-a,x-b", answer.header.Get("Access-Control-Allow-Headers"))
	}
	answer := post(t, r, "/Greeter/greet", `1`, "Origin", "http://a")
	require.Equal(t, 200, answer.status)
	require.Equal(t, "http://a", answer.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "true", answer.header.Get("Access-Control-Allow-Credentials"))
	require.Equal(t, "origin, access-control-request-method, access-control-request-headers", strings.ToLower(answer.header.Get("Vary")))
	require.Empty(t, post(t, r, "/Greeter/greet", `1`).header.Get("Access-Control-Allow-Origin"))
}
