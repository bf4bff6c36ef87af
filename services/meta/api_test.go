package meta_test

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"

	"github.com/restate-go/restate/services/meta"
)

func TestErrorsAreAlwaysFilled(t *testing.T) {
	r := start(t)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(sdk(t, typedServices), false)).status)
	const (
		typeJSON = "application/json"
		listed   = "GET /openapi lists what there is."
		without  = "Use `bin/restate invocations ...` and `bin/restate storage scan ...`; docs/api.md says which commands of the " +
			"original's work with this runtime."
	)
	// Where the advice of the code would not help.
	advised := map[string]string{
		"no such path": listed, "no such path, deeper": listed, "SQL": without, "SQL without a version": without,
		"modify the runtime": "GET /services lists those that can be changed.",
	}
	for name, c := range map[string]struct {
		method, path, contentType, body string
		status                          int
		code, says                      string
	}{
		"no such path":             {"GET", "/nothing", typeJSON, "", 404, "META0404", "/nothing"},
		"no such path, deeper":     {"POST", "/endpoints/x/y", typeJSON, "", 404, "META0404", "/endpoints/x/y"},
		"another method":           {"PUT", "/endpoints", typeJSON, "{}", 405, "META0400", "PUT"},
		"a method for a probe":     {"POST", "/health", typeJSON, "", 405, "META0400", "POST"},
		"no content type":          {"POST", "/endpoints", "", `{"uri":"http://x"}`, 415, "META0400", `content type is ""`},
		"another content type":     {"POST", "/endpoints", "text/plain", `{"uri":"http://x"}`, 415, "META0400", "text/plain"},
		"malformed JSON":           {"POST", "/endpoints", typeJSON, `{"uri":`, 400, "META0400", "unexpected EOF"},
		"no JSON at all":           {"POST", "/endpoints", typeJSON, ``, 400, "META0400", "EOF"},
		"something after it":       {"POST", "/endpoints", typeJSON, `{"uri":"http://x"} {}`, 400, "META0400", "goes on"},
		"a member of another type": {"POST", "/endpoints", typeJSON, `{"uri":7}`, 400, "META0400", "uri"},
		"an unknown member":        {"POST", "/endpoints", typeJSON, `{"uri":"http://x","url":1}`, 400, "META0400", `"url"`},
		"null":                     {"POST", "/endpoints", typeJSON, `null`, 400, "META0400", "http://host:port/path"},
		"a header that is none":    {"POST", "/endpoints", typeJSON, `{"uri":"http://x","additional_headers":{"a b":"c"}}`, 400, "META0400", "a b"},
		"a value that is none":     {"POST", "/endpoints", typeJSON, `{"uri":"http://x","additional_headers":{"a":"b\nc"}}`, 400, "META0400", `"a"`},
		"a header of the runtime":  {"POST", "/endpoints", typeJSON, `{"uri":"http://x","additional_headers":{"content-TYPE":"c"}}`, 400, "META0400", "content-TYPE"},
		"too large a body": {
			"POST", "/endpoints", typeJSON, `{"uri":"` + strings.Repeat("a", 2<<20) + `"}`, 413, "META0400", "1048576 bytes",
		},
		"no such endpoint":          {"GET", "/endpoints/x", typeJSON, "", 404, "META0404", "endpoint x"},
		"no such service":           {"GET", "/services/x", typeJSON, "", 404, "META0404", "service x"},
		"a service of the runtime":  {"GET", "/services/dev.restate.Ingress", typeJSON, "", 404, "META0404", "dev.restate.Ingress"},
		"no such service's methods": {"GET", "/services/x/methods", typeJSON, "", 404, "META0404", "service x"},
		"no such service's method":  {"GET", "/services/x/methods/y", typeJSON, "", 404, "META0404", "service x"},
		"no such method":            {"GET", "/services/seedera.Counter/methods/y", typeJSON, "", 404, "META0404", "method y"},
		"no such descriptors":       {"GET", "/services/x/descriptors", typeJSON, "", 404, "META0404", "service x"},
		"modify to what is none":    {"PATCH", "/services/seedera.Counter", typeJSON, `{"inactivity_timeout":"soon"}`, 422, "META0400", "soon"},
		"modify by another type":    {"PATCH", "/services/seedera.Counter", typeJSON, `{"public":1}`, 422, "META0400", "public"},
		"modify by half a body":     {"PATCH", "/services/seedera.Counter", typeJSON, `{"public":`, 400, "META0400", "unexpected EOF"},
		"modify what it has not":    {"PATCH", "/services/seedera.Counter", typeJSON, `{"journal_retention":"1d"}`, 400, "META0400", "set by each request"},
		"a workflow's alone":        {"PATCH", "/services/seedera.Counter", typeJSON, `{"workflow_completion_retention":"1d"}`, 400, "META0400", "only workflows"},
		"no URI":                    {"POST", "/deployments", typeJSON, `{"uri":"127.0.0.1:9080"}`, 400, "META0400", "127.0.0.1:9080"},
		"a path for a URI":          {"POST", "/deployments", typeJSON, `{"uri":"/foo"}`, 400, "META0400", "/foo"},
		"a URI of another type":     {"POST", "/deployments", typeJSON, `{"uri":7}`, 422, "META0400", "uri"},
		"a deployment as a form":    {"POST", "/deployments", "text/plain", `{}`, 415, "META0400", "text/plain"},
		"no such deployment":        {"GET", "/deployments/dp_17HthAY8kaK0Zqwf0ubAbPH", typeJSON, "", 404, "META0404", "dp_17HthAY8kaK0Zqwf0ubAbPH"},
		"a deployment that is none": {"GET", "/deployments/dp_bogus", typeJSON, "", 400, "META0400", "dp_bogus"},
		"change no such deployment": {"PATCH", "/deployments/x", typeJSON, "{}", 404, "META0404", "deployment x"},
		"remove no such deployment": {"DELETE", "/deployments/x?force=true", typeJSON, "", 404, "META0404", "deployment x"},
		"no such handler":           {"GET", "/services/x/handlers/y", typeJSON, "", 404, "META0404", "handler x/y"},
		"no such service's handler": {"GET", "/services/x/handlers", typeJSON, "", 404, "META0404", "service x"},
		"modify no such service":    {"PATCH", "/services/x", typeJSON, `{"public":true}`, 404, "META0404", "service x"},
		"modify the runtime":        {"PATCH", "/services/dev.restate.Ingress", typeJSON, `{"public":true}`, 403, "META0403", "dev.restate.Ingress"},
		"an id that is none":        {"DELETE", "/invocations/x", typeJSON, "", 400, "META0400", `"x"`},
		"an id that is none, too":   {"GET", "/invocations/inv_1xyz", typeJSON, "", 400, "META0400", "inv_1xyz"},
		"a limit that is none":      {"GET", "/invocations?limit=0", typeJSON, "", 400, "META0400", "1 to 10000"},
		"no workers":                {"GET", "/invocations", typeJSON, "", 503, "META0503", "partition-worker"},
		"SQL":                       {"POST", "/v4/query", typeJSON, `{"query":"SELECT 1"}`, 404, "META0404", "SQL is not served"},
		"SQL without a version":     {"POST", "/query", typeJSON, `{"query":"SELECT 1"}`, 404, "META0404", "SQL is not served"},
		"a deployment of nothing":   {"POST", "/deployments", typeJSON, `{}`, 400, "META0400", "the member uri is missing"},
		"another name for the URI":  {"POST", "/deployments", typeJSON, `{"url":"http://x"}`, 400, "META0400", `passed over: unknown field "url"`},
		"a member for no service":   {"PATCH", "/services/x", typeJSON, `{"public":true,"pubic":1}`, 404, "META0404", `unknown field "pubic"`},
	} {
		t.Run(name, func(t *testing.T) {
			answer := r.send(c.method, c.path, c.contentType, strings.NewReader(c.body))
			require.Equal(t, c.status, answer.status, answer.body)
			message, code := answer.failure(t)
			require.Equal(t, c.code, code)
			require.Contains(t, message, c.says)
			advice, ok := advised[name]
			if !ok {
				advice = errcode.Code(code).Advice()
			}
			require.True(t, strings.HasSuffix(message, "\n"+advice), message)
		})
	}
}

func TestOpenAPIDescribesWhatIsServed(t *testing.T) {
	r := start(t)
	answer := r.call("GET", "/openapi", "")
	require.Equal(t, 200, answer.status)
	document, err := openapi3.NewLoader().LoadFromData([]byte(answer.body))
	require.NoError(t, err)
	require.NoError(t, document.Validate(context.Background()))
	require.Contains(t, document.Info.Description, "META0004")
	seen := map[string]bool{}
	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			require.False(t, seen[operation.OperationID], operation.OperationID)
			seen[operation.OperationID] = true
			// Whatever is described is served: a path or method that is not has another message.
			answer := r.call(method, regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "x"), "{}")
			require.NotContains(t, answer.body, "GET /openapi lists what there is.", path)
			require.NotEqual(t, 405, answer.status, path)
		}
	}
	for _, id := range []string{"create_service_endpoint", "list_service_endpoints", "kill_invocation", "health", "ready", "metrics", "openapi"} {
		require.True(t, seen[id], id)
	}
	request := document.Components.Schemas["RegisterRequest"].Value
	require.Equal(t, []string{"uri"}, request.Required)
	require.Contains(t, request.Properties["force"].Value.Description, "Replaces")
}

func TestVersion(t *testing.T) {
	r := start(t, func(c *meta.Config) { c.AdvertisedIngress = "http://ingress:1/" })
	for _, prefix := range []string{"", "/v2", "/v4"} {
		version := r.call("GET", prefix+"/version", "")
		require.Equal(t, 200, version.status)
		require.Equal(t, "1.2.3", version.member(t, "version"))
		require.InDelta(t, 2, version.member(t, "min_admin_api_version"), 0)
		require.InDelta(t, 4, version.member(t, "max_admin_api_version"), 0)
		require.Equal(t, "http://ingress:1/", version.member(t, "ingress_endpoint"))
		require.IsType(t, map[string]any{}, version.member(t, "features"))
		require.Equal(t, 200, r.call("GET", prefix+"/health", "").status)
	}
	require.Equal(t, 404, r.call("GET", "/v5/version", "").status)
}

func TestServicesDescribeThemselves(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, manifestOf(t, "go"))
	require.Equal(t, 201, r.deploy(map[string]any{"uri": uri}).status)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(sdk(t, typedServices), false)).status)
	for path, has := range map[string]string{
		"/services/Counter/openapi": "/restate/call/Counter/{key}/Add", "/services/openapi": "/restate/workflow/Signup/{key}/attach",
	} {
		answer := r.call("GET", path, "")
		require.Equal(t, 200, answer.status)
		document, err := openapi3.NewLoader().LoadFromData([]byte(answer.body))
		require.NoError(t, err)
		require.NoError(t, document.Validate(context.Background()))
		require.NotNil(t, document.Paths.Find(has))
	}
	require.Equal(t, 404, r.call("GET", "/services/seedera.Counter/openapi", "").status)
	require.Equal(t, 404, r.call("GET", "/services/Nobody/openapi", "").status)
}

func TestProbesAndMetrics(t *testing.T) {
	r := start(t)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(sdk(t, typedServices), false)).status)
	require.Equal(t, 404, r.call("GET", "/services/x", "").status)
	for path, wants := range map[string][]string{
		"/health": {`{"status":"alive"}`}, "/ready": {`{"status":"ready"}`},
		"/metrics": {
			"restate_meta_endpoints 1\n", "restate_meta_services 7\n",
			`restate_meta_request_duration_seconds_count{method="POST",route="/endpoints",status="201"} 1`,
			`restate_meta_request_duration_seconds_count{method="GET",route="/services/{service}",status="404"} 1`,
		},
	} {
		answer := r.call("GET", path, "")
		require.Equal(t, 200, answer.status, path)
		for _, want := range wants {
			require.Contains(t, answer.body, want)
		}
	}
}

// slow is an endpoint that answers when told to, and counts who waits.
func slow(t testing.TB) (uri string, waiting *atomic.Int32, release func()) {
	t.Helper()
	waiting = &atomic.Int32{}
	released, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	body := captured(t, typedServices)
	return endpoint(t, func(w http.ResponseWriter, request *http.Request) {
		waiting.Add(1)
		select {
		case <-released.Done():
			answering(body)(w, request)
		case <-request.Context().Done():
		}
	}), waiting, cancel
}

func patient(c *meta.Config) {
	c.Discovery.Timeout, c.Discovery.AttemptTimeout = config.Duration(time.Minute), config.Duration(time.Minute)
}

func TestConcurrencyLimit(t *testing.T) {
	r := start(t, patient, func(c *meta.Config) { c.ConcurrencyLimit = 1 })
	uri, waiting, release := slow(t)
	first := make(chan response, 1)
	go func() { first <- r.call("POST", "/endpoints", registration(uri, false)) }()
	await.True(t, await.Deadline, func() bool { return waiting.Load() == 1 }, "a request in progress")
	refused := r.call("GET", "/services", "")
	require.Equal(t, 429, refused.status)
	_, code := refused.failure(t)
	require.Equal(t, "META0503", code)
	require.Equal(t, 200, r.call("GET", "/health", "").status, "probes are answered")
	release()
	require.Equal(t, 201, (<-first).status)
	require.Equal(t, 200, r.call("GET", "/services", "").status)
}

// A registration that is in progress when meta is told to stop is finished.
func TestRequestsInProgressAreFinished(t *testing.T) {
	r := start(t, patient)
	uri, waiting, release := slow(t)
	first := make(chan response, 1)
	go func() { first <- r.call("POST", "/endpoints", registration(uri, false)) }()
	await.True(t, await.Deadline, func() bool { return waiting.Load() == 1 }, "a request in progress")
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	await.True(t, await.Deadline, func() bool {
		answer, err := http.Get(r.url + "/health")
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		return err != nil
	}, "new requests are refused")
	release()
	require.Equal(t, 201, (<-first).status)
	require.NoError(t, <-stopped)
}

func TestWhatIsRegisteredOutlivesMeta(t *testing.T) {
	r := start(t)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(sdk(t, typedServices), false)).status)
	before := r.call("GET", "/services", "").body
	require.NoError(t, r.stop())
	require.JSONEq(t, before, startOn(t, r.conn).call("GET", "/services", "").body)
}

func TestNewRefusesALimitOfNothing(t *testing.T) {
	cfg := meta.DefaultConfig()
	cfg.ConcurrencyLimit = 0
	_, err := meta.New(cfg, meta.Deps{})
	require.Equal(t, errcode.BadConfiguration, errcode.Of(err, ""))
}
