package suites

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/ingress"
	"github.com/restatedev/sdk-go/server"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/endpoint"

	"github.com/restate-go/restate/e2e/process"
)

// TestOptionsOfHandlers uses what handlers are told of a request, and what they, and their callers, may ask for beyond it.
func TestOptionsOfHandlers(t *testing.T) {
	eachModeOfHandlers(t, func(t *testing.T, s setting) {
		t.Run("requests", func(t *testing.T) { requestsOfHandlers(t, s) })
		t.Run("attempts", func(t *testing.T) { attemptsOfHandlers(t, s) })
		t.Run("documents", func(t *testing.T) { documentsOfHandlers(t, s) })
		t.Run("keys", func(t *testing.T) { keysOfHandlers(t, s) })
		require.JSONEq(t, `{
			"all": ["a", "b", "c"], "any": "b", "race": "a", "settled": ["fulfilled", "rejected"], "time": true
		}`, s.MustCall("Options/combine", ``))

		s.MustCall("Lazy/k/set", `{"name": "b", "value": 1}`)
		s.MustCall("Lazy/k/set", `{"name": "a", "value": {"x": 2}}`)
		require.JSONEq(t, `{"value": {"x": 2}, "keys": ["a", "b"]}`, s.MustCall("Lazy/k/read", `"a"`))
		require.JSONEq(t, `{"value": null, "keys": ["a", "b"]}`, s.MustCall("Lazy/k/read", `"c"`))
		s.AwaitIdle(time.Minute)
	})
}

// keysOfHandlers has a handler ask for all keys of a state that has more of them than it may be given.
func keysOfHandlers(t *testing.T, s setting) {
	const count = 65 // has more than 4 MiB, and one less has not
	key := func(n int) string { return fmt.Sprintf("%02d%s", n, strings.Repeat("k", 65_000)) }
	for n := range count {
		s.MustCall("Counter/keys/set", `{"name": "`+key(n)+`", "value": 1}`)
	}
	id := s.sendTo(t, "Counter/keys/keys", ``, once("keys")...)
	s.awaitState(t, id, "paused")
	require.Equal(t, "RT0114", s.AwaitInvocation("Counter", "keys", "paused").LastFailureCode)
	s.MustCall("Counter/keys/clear", `"`+key(0)+`"`)
	require.Equal(t, http.StatusOK, s.operate(id, "resume"))
	var keys []string
	require.NoError(t, json.Unmarshal([]byte(s.attach(t, id).Body), &keys))
	require.Len(t, keys, count-1)
	require.Equal(t, key(1), keys[0])
	s.MustCall("Counter/keys/clearAll", ``)
	require.JSONEq(t, `[]`, s.MustCall("Counter/keys/keys", ``))
}

// told is what a handler got to know of its invocation.
type told struct {
	ID, IdempotencyKey, Scope, LimitKey, Custom, Path, Body string
}

func requestsOfHandlers(t *testing.T, s setting) {
	tell := func(path, body string, headers ...string) told {
		answer, err := s.Call(path, body, append([]string{"X-Custom", "c"}, headers...)...)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		var got told
		require.NoError(t, json.Unmarshal([]byte(answer.Body), &got))
		require.Equal(t, answer.Header.Get("X-Restate-Id"), got.ID)
		got.ID = ""
		return got
	}
	got := tell("Options/request?a=%20", `{"a" : 1}`, once("told")...)
	require.Equal(t, told{IdempotencyKey: "told", Custom: "c", Path: "/Options/request?a=%20", Body: `{"a" : 1}`}, got)
	const scoped = "restate/scope/s-1/call/Options/request"
	got = tell(scoped, `1`, "X-Restate-Limit-Key", "a/b")
	require.Equal(t, told{Scope: "s-1", LimitKey: "a/b", Custom: "c", Path: "/" + scoped, Body: `1`}, got)

	for options, want := range map[string]told{
		`{}`: {},
		`{"idempotencyKey": "k", "headers": {"x-custom": "called"}}`: {IdempotencyKey: "k", Custom: "called"},
		`{"scope": "s-2", "limitKey": "c"}`:                          {Scope: "s-2", LimitKey: "c"},
	} {
		var called struct {
			ID  string
			Got told
		}
		require.NoError(t, json.Unmarshal([]byte(s.MustCall("Options/callWith", options)), &called))
		require.Equal(t, called.ID, called.Got.ID, options)
		called.Got.ID = ""
		require.Equal(t, want, called.Got, options)
	}

	require.JSONEq(t, `"seen"`, s.MustCall("Options/callHidden", ``))
	hidden, err := s.Call("Options/hidden", ``)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, hidden.Status, hidden.Body)
	require.Equal(t, "ingress", hidden.Header.Get("X-Restate-Error-Source"))

	undecodable, err := s.Call("Worker/hello", `{`)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, undecodable.Status, undecodable.Body)
	require.Equal(t, "invocation", undecodable.Header.Get("X-Restate-Error-Source"))
}

func attemptsOfHandlers(t *testing.T, s setting) {
	require.JSONEq(t, `3`, s.MustCall("Options/retryLater", `"later"`))
	attempts, err := strconv.Atoi(s.MustCall("Options/hang", `"hang"`))
	require.NoError(t, err)
	require.Greater(t, attempts, 1)
	changed, err := s.Call("Options/change", `"change"`)
	require.NoError(t, err)
	require.Equal(t, 570, changed.Status, changed.Body)
	require.Equal(t, "invocation", changed.Header.Get("X-Restate-Error-Source"))

	exhausted, err := s.Call("Options/exhaustKill", `"kill"`)
	require.NoError(t, err)
	failedWith(t, exhausted, http.StatusInternalServerError, "fails for good")
	require.Equal(t, 2, s.service.Count("attempt", "kill"))

	for handler, want := range map[string]string{"pause": `"resumed"`, "exhaustPause": `3`} {
		id := s.sendTo(t, "Options/"+handler, `"`+handler+`"`, once(handler)...)
		s.awaitState(t, id, "paused")
		require.Equal(t, http.StatusOK, s.operate(id, "resume"))
		require.JSONEq(t, want, s.attach(t, id).Body)
	}
	require.Equal(t, 3, s.service.Count("attempt", "exhaustPause"))
}

// documentsOfHandlers checks that the paths that the services are described with are those of the ingress.
func documentsOfHandlers(t *testing.T, s setting) {
	require.Equal(t, "50ms", s.MetaGet("/services/Options").JSON(t)["inactivity_timeout"])
	require.Equal(t, "10m", s.MetaGet("/services/Options").JSON(t)["abort_timeout"], "as the worker is configured")
	described := map[string]int{}
	for _, path := range []string{"/services/openapi", "/services/Worker/openapi", "/services/Counter/openapi", "/services/Order/openapi"} {
		answer := s.MetaGet(path)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		paths, _ := answer.JSON(t)["paths"].(map[string]any)
		described[path] = len(paths)
		for path := range paths {
			// The path is known, and only the method is not: that is looked at after the service and the handler.
			called := strings.NewReplacer("{key}", "k", "{idempotencyKey}", "i").Replace(path)
			answer, err := process.Do(http.MethodPut, "http://"+s.Ingress+called, "")
			require.NoError(t, err)
			require.Equal(t, http.StatusMethodNotAllowed, answer.Status, "%s: %s", path, answer.Body)
		}
	}
	require.Greater(t, described["/services/openapi"], described["/services/Worker/openapi"])
	require.NotZero(t, described["/services/Order/openapi"])
}

// TestGoClient has the ingress client of the Go SDK use the services.
func TestGoClient(t *testing.T) {
	eachModeOfHandlers(t, func(t *testing.T, s setting) {
		ctx, client := t.Context(), ingress.NewClient("http://"+s.Ingress)
		greeting, err := ingress.Service[string, string](client, "Worker", "hello").Request(ctx, "you")
		require.NoError(t, err)
		require.Equal(t, "Hello you", greeting)
		counter := ingress.Object[int, int](client, "Counter", "go", "add")
		once := restate.WithIdempotencyKey("go")
		sent, err := counter.Send(ctx, 2, once)
		require.NoError(t, err)
		require.Equal(t, "Accepted", sent.Status())
		again, err := counter.Send(ctx, 2, once)
		require.NoError(t, err)
		require.Equal(t, "PreviouslyAccepted", again.Status())
		require.Equal(t, sent.Id(), again.Id())
		attached := func(value int, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, 2, value)
		}
		attached(sent.Attach(ctx))
		attached(ingress.InvocationById[int](client, sent.Id()).Output(ctx))
		attached(ingress.ObjectInvocationByIdempotencyKey[int](client, "Counter", "go", "add", "go").Attach(ctx))

		fail := ingress.Service[map[string]any, any](client, "Worker", "fail")
		_, err = fail.Request(ctx, map[string]any{"message": "tea", "code": http.StatusTeapot})
		var failed ingress.Error
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.IsInvocationError())
		require.EqualValues(t, http.StatusTeapot, failed.Code())
		require.True(t, restate.IsTerminalError(err))
		_, err = ingress.Service[string, string](client, "Nobody", "hello").Request(ctx, "you")
		var unknown *ingress.InvocationNotFoundError
		require.ErrorAs(t, err, &unknown)

		run := ingress.Workflow[string, string](client, "Order", "go", "run")
		submitted, err := run.Send(ctx, "item")
		require.NoError(t, err)
		_, err = ingress.WorkflowHandle[string](client, "Order", "go").Output(ctx)
		var early *ingress.InvocationNotReadyError
		require.ErrorAs(t, err, &early)
		_, err = ingress.Workflow[string, restate.Void](client, "Order", "go", "approve").Request(ctx, "the client")
		require.NoError(t, err)
		result, err := ingress.WorkflowHandle[string](client, "Order", "go").Attach(ctx)
		require.NoError(t, err)
		require.Equal(t, "go: item approved by the client", result)
		output, err := submitted.Output(ctx)
		require.NoError(t, err)
		require.Equal(t, result, output)

		later, err := ingress.ObjectSend[int](client, "Counter", "later", "add").Send(ctx, 1, restate.WithDelay(100*time.Millisecond))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(later.Id(), "inv_"), later.Id())
		s.awaitCounter(t, "later", "1")
		s.AwaitIdle(time.Minute)
	})
}

// TestRequestIdentity has endpoints that take only what is signed with the key of the runtime.
func TestRequestIdentity(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "identity.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	identity := endpoint.DefaultConfig()
	identity.IdentityKeyFile = file
	signer, err := endpoint.NewSigner(identity)
	require.NoError(t, err)
	typescript := process.StartHandlersProgram(t, "server", "E2E_IDENTITY", signer.PublicKey())
	object := restate.NewObject("GoCounter").Handler("add", restate.NewObjectHandler(func(_ restate.ObjectContext, n int) (int, error) {
		return n, nil
	}))
	handler, err := server.NewRestate().WithIdentityV1(signer.PublicKey()).Bind(object).Handler()
	require.NoError(t, err)
	golang := process.Serve(t, handler)
	environment := []string{
		"RESTATE_WORKER__ENDPOINT__IDENTITY_KEY_FILE", file, "RESTATE_META__ENDPOINT__IDENTITY_KEY_FILE", file,
	}
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			s := setting{service: typescript, Runtime: process.Start(t, mode, environment...)}
			s.RegisterDeployment(typescript.URL)
			s.RegisterDeployment(golang)
			require.JSONEq(t, `"Hello you"`, s.MustCall("Worker/hello", `"you"`))
			require.JSONEq(t, `1`, s.MustCall("Counter/"+string(mode[0])+"%2F%C3%BC/add", `1`), "the key is signed too")
			require.JSONEq(t, `7`, s.MustCall("GoCounter/%C3%BC/add", `7`))
		})
	}
	unsigned := process.Start(t, process.OneProcess)
	for _, uri := range []string{typescript.URL, golang} {
		body, err := json.Marshal(map[string]string{"uri": uri})
		require.NoError(t, err)
		answer := unsigned.MetaDo(http.MethodPost, "/deployments", string(body))
		require.Equal(t, http.StatusInternalServerError, answer.Status, answer.Body)
		require.Contains(t, answer.Body, "META0003")
	}
}
