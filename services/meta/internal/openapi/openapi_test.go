package openapi_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/openapi"
)

func services(t testing.TB, body []byte) []*schema.Service {
	t.Helper()
	d, err := schema.ReadManifest(body)
	require.NoError(t, err)
	return d.Services
}

func captured(t testing.TB, sdk string) []*schema.Service {
	t.Helper()
	body, err := os.ReadFile("../../testdata/manifest-" + sdk + ".json")
	require.NoError(t, err)
	return services(t, body)
}

// load checks the document, references included.
func load(t testing.TB, described map[string]any) *openapi3.T {
	t.Helper()
	text, err := json.Marshal(described)
	require.NoError(t, err)
	document, err := openapi3.NewLoader().LoadFromData(text)
	require.NoError(t, err, string(text))
	require.NoError(t, document.Validate(t.Context()))
	require.True(t, document.IsOpenAPI31OrLater())
	return document
}

func paths(d *openapi3.T) []string {
	var found []string
	for path, item := range d.Paths.Map() {
		for method := range item.Operations() {
			found = append(found, method+" "+path)
		}
	}
	slices.Sort(found)
	return found
}

func TestServicesOfSDKs(t *testing.T) {
	of := func(sdk, name string) *schema.Service {
		all := captured(t, sdk)
		return all[slices.IndexFunc(all, func(s *schema.Service) bool { return s.Name == name })]
	}
	cfg := openapi.Config{Ingress: "http://ingress/", Title: "T", Version: "7"}
	greeter := load(t, openapi.Document(cfg, of("typescript", "Greeter")))
	require.Equal(t, "http://ingress/", greeter.Servers[0].URL)
	require.Equal(t, "Greets", greeter.Info.Description)
	require.Equal(t, []string{
		"GET /restate/invocation/Greeter/greet/{idempotencyKey}/attach", "GET /restate/invocation/Greeter/greet/{idempotencyKey}/output",
		"POST /restate/call/Greeter/greet", "POST /restate/send/Greeter/greet",
	}, paths(greeter), "the private handler is left out")

	counter := load(t, openapi.Document(cfg, of("go", "Counter")))
	require.Contains(t, paths(counter), "POST /restate/call/Counter/{key}/Add")
	require.Equal(t, "integer", counter.Components.Schemas["AddRequest"].Value.Type.Slice()[0])
	get := counter.Paths.Find("/restate/call/Counter/{key}/Get").Post
	require.Nil(t, get.RequestBody, "it takes nothing")
	require.Equal(t, "#/components/schemas/GetResponse", get.Responses.Status(200).Value.Content["application/json"].Schema.Ref)

	signup := load(t, openapi.Document(cfg, of("go", "Signup")))
	require.Contains(t, paths(signup), "GET /restate/workflow/Signup/{key}/output")
	require.NotContains(t, paths(signup), "GET /restate/invocation/Signup/{key}/Run/{idempotencyKey}/output")
	for _, p := range signup.Paths.Find("/restate/call/Signup/{key}/Run").Post.Parameters {
		require.NotEqual(t, "idempotency-key", p.Value.Name, "a run has none")
	}

	all := load(t, openapi.Document(cfg, append(captured(t, "go"), captured(t, "typescript")[:0]...)...))
	require.Contains(t, all.Components.Schemas, "Counter.AddRequest")
	require.Empty(t, paths(load(t, openapi.Document(cfg, of("go", "Greeter")))), "it is private")
	load(t, openapi.Document(cfg))
}

// References within a handler's schema are resolved where the schema is in the document.
func TestReferencesAreRelocated(t *testing.T) {
	all := services(t, []byte(`{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[
		{"name":"S","ty":"SERVICE","handlers":[{"name":"h","input":{"required":true,"contentType":"application/json","jsonSchema":{
			"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"https://x/y","type":"object",
			"properties":{"next":{"$ref":"#"},"item":{"$ref":"#/$defs/item"},"default":{"$ref":"#/$defs/item"},
				"list":{"type":"array","items":{"anyOf":[{"$ref":"#/$defs/item"},{"type":"null"}]},"default":[{"$ref":"#"}]}},
			"$defs":{"item":{"type":"string"},"far":{"$id":"https://x/far","$ref":"#/$defs/own"}}}},
		"output":{"contentType":"application/json","setContentTypeIfEmpty":false,"jsonSchema":true}}]}]}`))
	described := openapi.Document(openapi.Config{Ingress: "http://x/", Title: "S", Version: "1"}, all[0])
	request := described["components"].(map[string]any)["schemas"].(map[string]any)["HRequest"]
	text, err := json.Marshal(request)
	require.NoError(t, err)
	require.JSONEq(t, `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
		"properties":{"next":{"$ref":"#/components/schemas/HRequest"},"item":{"$ref":"#/components/schemas/HRequest/$defs/item"},
			"default":{"$ref":"#/components/schemas/HRequest/$defs/item"},
			"list":{"type":"array","items":{"anyOf":[{"$ref":"#/components/schemas/HRequest/$defs/item"},{"type":"null"}]},"default":[{"$ref":"#"}]}},
		"$defs":{"item":{"type":"string"},"far":{"$id":"https://x/far","$ref":"#/$defs/own"}}}`, string(text))
}

// Names of handlers differ in the case of a letter, and their schemas too.
func TestSchemasOfLikeNames(t *testing.T) {
	all := services(t, []byte(`{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[
		{"name":"S","ty":"SERVICE","handlers":[
			{"name":"add","input":{"contentType":"application/json","jsonSchema":{"type":"integer"}}},
			{"name":"Add","input":{"contentType":"application/json","jsonSchema":{"type":"string"}}}]}]}`))
	d := load(t, openapi.Document(openapi.Config{Ingress: "http://x/", Title: "S", Version: "1"}, all[0]))
	for handler, kind := range map[string]string{"add": "integer", "Add": "string"} {
		body := d.Paths.Find("/restate/call/S/" + handler).Post.RequestBody.Value
		require.Equal(t, []string{kind}, body.Content["application/json"].Schema.Value.Type.Slice(), handler)
	}
}

// Whatever JSON a manifest has for a schema, there is a document.
func TestSchemasThatAreNone(t *testing.T) {
	for _, text := range []string{`7`, `"x"`, `[]`, `false`, `{"$ref":7}`, `{"properties":7,"$defs":[]}`} {
		all := services(t, []byte(`{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[
			{"name":"S","ty":"SERVICE","handlers":[{"name":"h","input":{"contentType":"a/b","jsonSchema":`+text+`}}]}]}`))
		_, err := json.Marshal(openapi.Document(openapi.Config{}, all...))
		require.NoError(t, err)
	}
}
