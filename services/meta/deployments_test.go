package meta_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/ids"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"
	"github.com/restate-go/restate/services/meta"
)

// manifestOf returns what an SDK of today answers to discovery: typescript or go.
func manifestOf(t testing.TB, sdk string) string {
	t.Helper()
	body, err := os.ReadFile("testdata/manifest-" + sdk + ".json")
	require.NoError(t, err)
	return string(body)
}

func answeringManifest(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/discover") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.restate.endpointmanifest.v4+json")
		w.Header().Set("X-Restate-Server", "restate-sdk-test/1.0.0")
		_, _ = w.Write([]byte(body))
	}
}

// handlers starts an endpoint that answers with what the pointer holds.
func handlers(t testing.TB, body *atomic.Pointer[string]) string {
	t.Helper()
	return endpoint(t, func(w http.ResponseWriter, r *http.Request) { answeringManifest(*body.Load())(w, r) })
}

func manifestEndpoint(t testing.TB, body string) (string, *atomic.Pointer[string]) {
	t.Helper()
	var held atomic.Pointer[string]
	held.Store(&body)
	return handlers(t, &held), &held
}

func (r *running) deploy(body map[string]any) response {
	r.t.Helper()
	text, err := json.Marshal(body)
	require.NoError(r.t, err)
	return r.call("POST", "/deployments", string(text))
}

func (a response) member(t testing.TB, name string) any {
	t.Helper()
	return a.json(t).(map[string]any)[name]
}

const smallManifest = `{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":6,"services":[
	{"name":"S","ty":"VIRTUAL_OBJECT","handlers":[{"name":"a","ty":"EXCLUSIVE"},{"name":"b","ty":"SHARED"}]}]}`

func TestDeploymentIsRegisteredAndShown(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, manifestOf(t, "typescript"))
	created := r.deploy(map[string]any{
		"uri": uri, "additional_headers": map[string]string{"x-api-key": "k"}, "metadata": map[string]string{"team": "a"}, "unknown": 1,
	})
	require.Equal(t, 201, created.status, created.body)
	id := created.member(t, "id").(string)
	require.Regexp(t, "^dp_1[0-9a-zA-Z]{22}$", id)
	require.Equal(t, "deployments/"+id, created.header.Get("Location"))
	require.InDelta(t, 5, created.member(t, "min_protocol_version"), 0)
	require.InDelta(t, 7, created.member(t, "max_protocol_version"), 0)
	require.Equal(t, "restate-sdk-test/1.0.0", created.member(t, "sdk_version"))
	require.Len(t, created.member(t, "services"), 3)

	again := r.deploy(map[string]any{"uri": strings.Replace(uri, "http:", "HTTP:", 1) + "/"})
	require.Equal(t, 200, again.status, again.body)
	require.Equal(t, created.json(t), again.json(t))
	require.Empty(t, again.header.Get("Location"))
	require.Equal(t, 409, r.call("POST", "/endpoints", registration(uri, false)).status, "in the manner of 2023")

	shown := r.call("GET", "/deployments/"+id, "")
	require.Equal(t, 200, shown.status)
	require.Equal(t, uri+"/", shown.member(t, "uri"))
	require.Equal(t, "BidiStream", shown.member(t, "protocol_type"))
	require.Equal(t, "HTTP/2.0", shown.member(t, "http_version"))
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$`, shown.member(t, "created_at"))
	require.Equal(t, map[string]any{"x-api-key": "k"}, shown.member(t, "additional_headers"))
	require.Equal(t, map[string]any{"team": "a"}, shown.member(t, "metadata"))
	require.Equal(t, created.member(t, "services"), shown.member(t, "services"))
	for _, prefix := range []string{"", "/v2", "/v3", "/v4"} {
		listed := r.call("GET", prefix+"/deployments", "").member(t, "deployments").([]any)
		require.Len(t, listed, 1)
		require.Equal(t, []any{
			map[string]any{"name": "Greeter", "revision": 1.0}, map[string]any{"name": "Counter", "revision": 1.0},
			map[string]any{"name": "Signup", "revision": 1.0},
		}, listed[0].(map[string]any)["services"])
	}
	require.Contains(t, r.call("GET", "/endpoints/"+id, "").body, `"protocol_type":"BidiStream"`, "in the words of 2023")
	require.Equal(t, 200, r.call("PATCH", "/deployments/"+id, "{}").status)
}

func TestServicesOfAManifest(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, manifestOf(t, "typescript"))
	created := r.deploy(map[string]any{"uri": uri})
	require.Equal(t, 201, created.status, created.body)
	id := created.member(t, "id").(string)
	const json2 = `"input_description":"application/json","output_description":"application/json"`
	require.JSONEq(t, `{"name":"Greeter","ty":"Service","documentation":"Greets","metadata":{"team":"a"},"deployment_id":"`+id+`",
		"revision":1,"public":true,"idempotency_retention":"2h","journal_retention":"3h","enable_lazy_state":false,
		"retry_policy":{"initial_interval":"100ms","exponentiation_factor":3,"max_attempts":10,"max_interval":"10s","on_max_attempts":"Kill"},
		"handlers":[
			{"name":"greet","public":true,`+json2+`,"retry_policy":{"max_attempts":null}},
			{"name":"quiet","public":false,"documentation":"not for everyone","inactivity_timeout":"5m",`+json2+`,"retry_policy":{"max_attempts":null}}],
		"methods":[
			{"name":"greet","input_type":"application/json","output_type":"application/json"},
			{"name":"quiet","input_type":"application/json","output_type":"application/json"}],
		"instance_type":"Unkeyed","endpoint_id":"`+id+`"}`, r.call("GET", "/services/Greeter", "").body)
	signup := r.call("GET", "/services/Signup", "")
	require.Equal(t, "Workflow", signup.member(t, "ty"))
	require.Equal(t, "1d", signup.member(t, "workflow_completion_retention"))
	require.JSONEq(t, `{"handlers":[
		{"name":"run","ty":"Workflow","public":true,`+json2+`,"retry_policy":{"max_attempts":null}},
		{"name":"click","ty":"Shared","public":true,`+json2+`,"retry_policy":{"max_attempts":null}}]}`,
		r.call("GET", "/services/Signup/handlers", "").body)

	golang, _ := manifestEndpoint(t, manifestOf(t, "go"))
	require.Equal(t, 201, r.deploy(map[string]any{"uri": golang, "breaking": true}).status)
	require.JSONEq(t, `{"name":"Get","ty":"Shared","public":true,"input_description":"none","output_description":"JSON integer",
		"output_json_schema":{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"integer"},"retry_policy":{"max_attempts":null}}`,
		r.call("GET", "/services/Counter/handlers/Get", "").body)
	require.Equal(t, "30s", r.call("GET", "/services/Counter", "").member(t, "inactivity_timeout"))
	require.Equal(t, false, r.call("GET", "/services/Greeter", "").member(t, "public"))
	require.Equal(t, 404, r.call("GET", "/services/Counter/descriptors", "").status)
	// What the first deployment serves is still shown as it is there.
	require.Equal(t, created.member(t, "services"), r.call("GET", "/deployments/"+id, "").member(t, "services"))
}

func TestForcedDeploymentKeepsItsID(t *testing.T) {
	r := start(t)
	uri, serves := manifestEndpoint(t, smallManifest)
	id := r.deploy(map[string]any{"uri": uri}).member(t, "id")
	next := strings.Replace(manifestOf(t, "go"), `"Counter"`, `"S"`, 1)
	serves.Store(&next)
	require.Equal(t, 200, r.deploy(map[string]any{"uri": uri}).status, "nothing changes")
	require.Equal(t, 404, r.call("GET", "/services/Signup", "").status)
	forced := r.deploy(map[string]any{"uri": uri, "force": true})
	require.Equal(t, 200, forced.status, forced.body)
	require.Equal(t, id, forced.member(t, "id"))
	require.InDelta(t, 2, r.call("GET", "/services/S", "").member(t, "revision"), 0)
	serves.Store(new(manifestOf(t, "typescript")))
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, true)).status, "the other spelling")
	require.Equal(t, 404, r.call("GET", "/services/S", "").status, "what is gone is dropped")
	require.Len(t, r.call("GET", "/deployments", "").member(t, "deployments"), 1)

	require.Equal(t, 409, r.call("POST", "/v2/deployments", registration(uri, false)).status)
	v2 := r.call("POST", "/v2/deployments", `{"uri":"`+uri+`"}`)
	require.Equal(t, 201, v2.status)
	require.Equal(t, id, v2.member(t, "id"))
}

func TestURIIsUniqueOverBothGenerations(t *testing.T) {
	r := start(t)
	var manifests atomic.Bool
	old := answering(captured(t, typedServices))
	uri := endpoint(t, func(w http.ResponseWriter, request *http.Request) {
		if manifests.Load() {
			answeringManifest(smallManifest)(w, request)
			return
		}
		old(w, request)
	})
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, false)).status)
	same := r.deploy(map[string]any{"uri": uri})
	require.Equal(t, 200, same.status)
	require.Equal(t, idOf(uri), same.member(t, "id"))
	manifests.Store(true)
	require.Equal(t, 409, r.call("POST", "/endpoints", registration(uri, false)).status)
	replaced := r.deploy(map[string]any{"uri": uri, "force": true})
	require.Equal(t, 200, replaced.status, replaced.body)
	require.Regexp(t, "^dp_1", replaced.member(t, "id"))
	require.Equal(t, 404, r.call("GET", "/endpoints/"+idOf(uri), "").status)
	require.Equal(t, 404, r.call("GET", "/services/seedera.Counter", "").status)
}

func TestBreakingChanges(t *testing.T) {
	r := start(t)
	first, _ := manifestEndpoint(t, smallManifest)
	require.Equal(t, 201, r.deploy(map[string]any{"uri": first}).status)
	for name, body := range map[string]string{
		"another type":   strings.NewReplacer("VIRTUAL_OBJECT", "SERVICE", `,"ty":"EXCLUSIVE"`, "", `,"ty":"SHARED"`, "").Replace(smallManifest),
		"a handler less": strings.Replace(smallManifest, `,{"name":"b","ty":"SHARED"}`, "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			uri, _ := manifestEndpoint(t, body)
			refused := r.deploy(map[string]any{"uri": uri})
			require.Equal(t, 409, refused.status)
			message, code := refused.failure(t)
			require.Equal(t, "META0006", code)
			require.Contains(t, message, `"breaking": true on POST /deployments`)
			dry := r.deploy(map[string]any{"uri": uri, "breaking": true, "dry_run": true})
			require.Equal(t, 201, dry.status)
			created := r.deploy(map[string]any{"uri": uri, "breaking": true})
			require.Equal(t, 201, created.status, created.body)
			require.Equal(t, 202, r.call("DELETE", "/deployments/"+created.member(t, "id").(string)+"?force=true", "").status)
			require.InDelta(t, 1, r.call("GET", "/services/S", "").member(t, "revision"), 0, "the revision before is the latest again")
			require.Equal(t, "VirtualObject", r.call("GET", "/services/S", "").member(t, "ty"))
		})
	}
}

func TestDryRun(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, smallManifest)
	dry := r.deploy(map[string]any{"uri": uri, "dry_run": true})
	require.Equal(t, 201, dry.status, dry.body)
	require.Len(t, dry.member(t, "services"), 1)
	require.Empty(t, r.call("GET", "/deployments", "").member(t, "deployments"))
	require.Equal(t, 404, r.call("GET", "/services/S", "").status)
	created := r.deploy(map[string]any{"uri": uri})
	require.Equal(t, 201, created.status)
	require.NotEqual(t, dry.member(t, "id"), created.member(t, "id"))
	require.Equal(t, 200, r.deploy(map[string]any{"uri": uri, "dry_run": true}).status)
	forced := r.deploy(map[string]any{"uri": uri, "dry_run": true, "force": true})
	require.Equal(t, 200, forced.status)
	require.InDelta(t, 2, forced.member(t, "services").([]any)[0].(map[string]any)["revision"], 0)
	require.InDelta(t, 1, r.call("GET", "/services/S", "").member(t, "revision"), 0)
}

func TestDeploymentOverHTTP1(t *testing.T) {
	r := start(t)
	server := httptest.NewServer(answeringManifest(smallManifest))
	t.Cleanup(server.Close)
	refused := r.deploy(map[string]any{"uri": server.URL})
	require.Equal(t, 500, refused.status)
	message, code := refused.failure(t)
	require.Equal(t, "META0014", code)
	require.Contains(t, message, "use_http_11")
	created := r.deploy(map[string]any{"uri": server.URL, "use_http_11": true})
	require.Equal(t, 201, created.status, created.body)
	require.Equal(t, "HTTP/1.1", r.call("GET", "/deployments/"+created.member(t, "id").(string), "").member(t, "http_version"))
}

func TestDeploymentsThatCannotBeRegistered(t *testing.T) {
	r := start(t)
	for name, c := range map[string]struct {
		body, code string
		status     int
	}{
		"no common protocol": {strings.NewReplacer(`:5`, `:50`, `:6`, `:60`).Replace(smallManifest), "META0012", 500},
		"no manifest":        {`{"services":7}`, "META0013", 500},
		"a reserved name":    {strings.Replace(smallManifest, `"S"`, `"restate"`, 1), "META0001", 400},
		"a public handler of a private service": {
			strings.NewReplacer(`"handlers"`, `"ingressPrivate":true,"handlers"`, `"name":"a"`, `"name":"a","ingressPrivate":false`).Replace(smallManifest),
			"META0001", 400,
		},
	} {
		t.Run(name, func(t *testing.T) {
			uri, _ := manifestEndpoint(t, c.body)
			answer := r.deploy(map[string]any{"uri": uri})
			require.Equal(t, c.status, answer.status, answer.body)
			_, code := answer.failure(t)
			require.Equal(t, c.code, code)
		})
	}
	require.Empty(t, r.call("GET", "/deployments", "").member(t, "deployments"))
}

func TestUpdateDeployment(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, smallManifest)
	id := r.deploy(map[string]any{"uri": uri, "metadata": map[string]string{"a": "b"}}).member(t, "id").(string)
	path := "/deployments/" + id
	elsewhere, there := manifestEndpoint(t, strings.Replace(smallManifest, `{"name":"a"`, `{"name":"c"},{"name":"a"`, 1))

	dry := r.call("PATCH", path, `{"uri":"`+elsewhere+`","dry_run":true}`)
	require.Equal(t, 200, dry.status, dry.body)
	require.Equal(t, elsewhere+"/", dry.member(t, "uri"))
	require.Equal(t, uri+"/", r.call("GET", path, "").member(t, "uri"))

	moved := r.call("PATCH", path, `{"uri":"`+elsewhere+`","additional_headers":{"x":"y"}}`)
	require.Equal(t, 200, moved.status, moved.body)
	require.Equal(t, elsewhere+"/", moved.member(t, "uri"))
	require.Equal(t, map[string]any{"x": "y"}, moved.member(t, "additional_headers"))
	require.Equal(t, map[string]any{"a": "b"}, moved.member(t, "metadata"))
	require.Equal(t, 404, r.call("GET", "/services/S/handlers/c", "").status, "the services stay")
	require.InDelta(t, 1, r.call("GET", "/services/S", "").member(t, "revision"), 0)

	overwritten := r.call("PATCH", path, `{"overwrite":true}`)
	require.Equal(t, 200, overwritten.status, overwritten.body)
	require.Equal(t, id, overwritten.member(t, "id"))
	require.Equal(t, 200, r.call("GET", "/services/S/handlers/c", "").status)

	for name, c := range map[string]struct {
		body, serves string
		status       int
	}{
		"a service is gone":      {`{"additional_headers":{}}`, strings.Replace(smallManifest, `"S"`, `"T"`, 1), 409},
		"a handler is gone":      {`{"additional_headers":{}}`, smallManifest, 409},
		"another protocol range": {`{"additional_headers":{}}`, strings.Replace(smallManifest, ":6", ":7", 1), 400},
		"no function":            {`{"assume_role_arn":"arn"}`, smallManifest, 400},
		"it is down":             {`{"uri":"http://127.0.0.1:1"}`, smallManifest, 500},
	} {
		t.Run(name, func(t *testing.T) {
			there.Store(&c.serves)
			refused := r.call("PATCH", path, c.body)
			require.Equal(t, c.status, refused.status)
			if message, code := refused.failure(t); code == "META0006" {
				require.Contains(t, message, `repeat with "overwrite": true`)
			}
		})
	}
	other := r.deploy(map[string]any{"uri": uri, "breaking": true})
	require.Equal(t, 201, other.status, "the URI is free")
	there.Store(new(smallManifest))
	require.Equal(t, 409, r.call("PATCH", path, `{"uri":"`+uri+`"}`).status, "the URI is taken")
	proto := sdk(t, typedServices)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(proto, false)).status)
	require.Equal(t, 400, r.call("PATCH", "/deployments/"+idOf(proto), `{"use_http_11":true}`).status)
}

func TestDeploymentInUseIsNotRemoved(t *testing.T) {
	r := start(t)
	first, _ := manifestEndpoint(t, smallManifest)
	second, _ := manifestEndpoint(t, smallManifest)
	one, two := r.deploy(map[string]any{"uri": first}).member(t, "id").(string), r.deploy(map[string]any{"uri": second}).member(t, "id").(string)
	none := r.call("DELETE", "/deployments/"+one, "")
	require.Equal(t, 503, none.status, "nobody can tell whether it is used")
	pinned := view(newID(t, 1), "S", storagev1.Invocation_STATE_SUSPENDED)
	pinned.Invocation.Pin.EndpointId = one
	r.work("one", pinned)
	require.Equal(t, 400, r.call("DELETE", "/deployments/"+one+"?force=perhaps", "").status)
	refused := r.call("DELETE", "/deployments/"+one, "")
	require.Equal(t, 409, refused.status)
	message, code := refused.failure(t)
	require.Equal(t, "META0409", code)
	require.Contains(t, message, "inv_1")
	// The other serves the latest revision, and invocations that have not begun would go to the first.
	require.Equal(t, 202, r.call("DELETE", "/deployments/"+two, "").status)
	require.Equal(t, one, r.call("GET", "/services/S", "").member(t, "deployment_id"))
	require.Equal(t, 202, r.call("DELETE", "/deployments/"+one+"?force=true", "").status)
	require.Equal(t, 404, r.call("GET", "/services/S", "").status)
}

// A refusal names some of the invocations that need the deployment, and counts them all.
func TestDeploymentInUseByMany(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, smallManifest)
	id := r.deploy(map[string]any{"uri": uri}).member(t, "id").(string)
	var views []*workerv1.InvocationView
	var names []string
	for i := range 25 {
		v := viewOf(newID(t, uint64(i)), "S", id, 6, storagev1.Invocation_STATE_SUSPENDED)
		if i%2 == 0 {
			v.Invocation.Pin = nil
		}
		views, names = append(views, v), append(names, ids.InvocationID(v.GetInvocationId()).String())
	}
	r.work("one", views[:10]...)
	r.work("two", views[10:]...)
	refused := r.call("DELETE", "/deployments/"+id, "")
	require.Equal(t, 409, refused.status)
	message, _ := refused.failure(t)
	require.Contains(t, message, "is needed by 25 invocations: ")
	require.Equal(t, 10, strings.Count(message, " of S"))
	slices.Sort(names)
	require.Contains(t, message, names[0]+" of S, ")
	require.Contains(t, message, names[9]+" of S, ...")
}

func TestSettingsOfAService(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, manifestOf(t, "typescript"))
	require.Equal(t, 201, r.deploy(map[string]any{"uri": uri}).status)
	changed := r.call("PATCH", "/services/Signup", `{"public":false,"idempotency_retention":"PT1H","workflow_completion_retention":"2 hours",
		"journal_retention":"30m","inactivity_timeout":"90s","abort_timeout":null}`)
	require.Equal(t, 200, changed.status, changed.body)
	require.Nil(t, changed.member(t, "abort_timeout"), "nobody can tell")
	r.work("one")
	changed = r.call("PATCH", "/services/Signup", `{}`)
	greeter := r.call("GET", "/services/Greeter", "")
	require.Equal(t, "1m", greeter.member(t, "inactivity_timeout"))
	require.Equal(t, "10m", greeter.member(t, "abort_timeout"))
	want := map[string]any{
		"public": false, "idempotency_retention": "1h", "workflow_completion_retention": "2h", "journal_retention": "30m", "inactivity_timeout": "1m 30s",
	}
	check := func(answer response, revision float64) {
		t.Helper()
		for name, value := range want {
			require.Equal(t, value, answer.member(t, name), name)
		}
		require.Equal(t, "10m", answer.member(t, "abort_timeout"), "as workers are configured")
		require.InDelta(t, revision, answer.member(t, "revision"), 0)
	}
	check(changed, 1)
	check(r.call("PATCH", "/services/Signup", `{"public":null}`), 1)
	next, _ := manifestEndpoint(t, manifestOf(t, "typescript"))
	require.Equal(t, 201, r.deploy(map[string]any{"uri": next}).status)
	check(r.call("GET", "/services/Signup", ""), 2)
	require.Equal(t, "2h", r.call("PATCH", "/services/Signup", `{"public":true}`).member(t, "workflow_completion_retention"))
	require.Equal(t, 200, r.deploy(map[string]any{"uri": next, "force": true}).status)
	require.Equal(t, "1d", r.call("GET", "/services/Signup", "").member(t, "workflow_completion_retention"), "replaced by force")
}

// What a service asks for in vain is remarked on, where it was asked for.
func TestRemarksOnServices(t *testing.T) {
	r := start(t, func(c *meta.Config) { c.MaxJournalRetention = config.Duration(time.Hour) })
	const manifest = `{"protocolMode":"REQUEST_RESPONSE","minProtocolVersion":5,"maxProtocolVersion":6,"services":[
		{"name":"S","ty":"SERVICE","inactivityTimeout":60000,"journalRetention":7200000,"handlers":[
			{"name":"as"},{"name":"own","inactivityTimeout":1000,"journalRetention":5400000},{"name":"less","journalRetention":60000}]},
		{"name":"T","ty":"SERVICE","journalRetention":0,"handlers":[{"name":"as"}]}]}`
	uri, _ := manifestEndpoint(t, manifest)
	created := r.deploy(map[string]any{"uri": uri})
	require.Equal(t, 201, created.status, created.body)
	codes := func(of any) []string {
		var codes []string
		remarks, _ := of.(map[string]any)["info"].([]any)
		for _, remark := range remarks {
			codes = append(codes, remark.(map[string]any)["code"].(string))
			require.NotEmpty(t, remark.(map[string]any)["message"])
		}
		return codes
	}
	service := r.call("GET", "/services/S", "").json(t).(map[string]any)
	require.Equal(t, []string{"RT0021", "RT0022"}, codes(service))
	require.Equal(t, "1h", service["journal_retention"])
	require.Equal(t, "0s", service["inactivity_timeout"])
	handler := func(name string) map[string]any {
		return r.call("GET", "/services/S/handlers/"+name, "").json(t).(map[string]any)
	}
	require.Empty(t, codes(handler("as")))
	require.Equal(t, []string{"RT0021", "RT0022"}, codes(handler("own")))
	require.Empty(t, codes(handler("less")))
	require.Equal(t, "1m", handler("less")["journal_retention"])
	require.Empty(t, codes(r.call("GET", "/services/T", "").json(t)))

	// An operator gets no more either.
	changed := r.call("PATCH", "/services/T", `{"journal_retention":"2h"}`)
	require.Equal(t, "1h", changed.member(t, "journal_retention"))
	require.Equal(t, []string{"RT0022"}, codes(changed.json(t)))

	// Another limit is in force from the next start on.
	require.NoError(t, r.stop())
	again := startOn(t, r.conn)
	require.Equal(t, "2h", again.call("GET", "/services/S", "").member(t, "journal_retention"))
	require.Equal(t, []string{"RT0021"}, codes(again.call("GET", "/services/S", "").json(t)))
}

func TestDeploymentsOfOneURIAtATime(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, smallManifest)
	var created, shown atomic.Int32
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			switch r.deploy(map[string]any{"uri": uri}).status {
			case 201:
				created.Add(1)
			case 200:
				shown.Add(1)
			}
		})
	}
	group.Wait()
	require.Equal(t, []int32{1, 5}, []int32{created.Load(), shown.Load()})
}
