package suites

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/document"
	"github.com/restate-go/restate/e2e/gateway"
	"github.com/restate-go/restate/e2e/process"
)

// TestFunctions uses every feature of the SDKs where the services are functions, behind a gateway with a path prefix and a
// key. Their handlers see a request and give a response, so they suspend whenever they wait.
func TestFunctions(t *testing.T) {
	generations := []struct {
		name     string
		program  func(t testing.TB) *process.Service
		register string
		// sleep is a call that sleeps for an hour, of the handler named.
		service, handler, path, sleep string
		// timeout is what the gateway gives the function.
		timeout  time.Duration
		features func(t *testing.T, s setting)
	}{
		{
			name: "protobuf services", register: "/endpoints",
			program: func(t testing.TB) *process.Service {
				t.Helper()
				return process.StartService(t, "function")
			},
			service: "e2e.Workflow", handler: "Sleep", path: "e2e.Workflow/Sleep", sleep: `{"millis": 3600000}`,
			timeout:  answersMostly,
			features: features,
		},
		{
			name: "handlers", register: "/deployments",
			program: func(t testing.TB) *process.Service {
				t.Helper()
				return process.StartHandlersProgram(t, "function")
			},
			service: "Worker", handler: "sleep", path: "Worker/sleep", sleep: `{"id": "long", "millis": 3600000}`,
			timeout:  answersAlways,
			features: featuresOfHandlers,
		},
	}
	for _, g := range generations {
		for i, format := range []gateway.Format{gateway.Version1, gateway.Version2} {
			mode := process.Modes[i]
			t.Run(g.name+", events "+string(format)+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				s := setting{service: g.program(t), Runtime: process.Start(t, mode)}
				uri := process.Serve(t, &gateway.Gateway{
					Function: s.service.URL, Format: format, Stage: "stage", Key: "key", Timeout: g.timeout,
				})
				register := func(uri, key string) process.Answer {
					body, err := json.Marshal(process.Registration{URI: uri, AdditionalHeaders: map[string]string{"x-api-key": key}})
					require.NoError(t, err)
					return s.MetaDo(http.MethodPost, g.register, string(body))
				}
				for wrong, answer := range map[string]process.Answer{
					"key": register(uri+"/stage", "another"), "prefix": register(uri+"/else", "key"), "no prefix": register(uri, "key"),
				} {
					require.Equal(t, http.StatusInternalServerError, answer.Status, wrong)
					require.Equal(t, "META0003", answer.JSON(t)["restate_code"], wrong)
					require.Contains(t, answer.Body, "additional_headers", wrong)
				}
				registered := register(uri+"/stage", "key")
				require.Equal(t, http.StatusCreated, registered.Status, registered.Body)
				id, _ := registered.JSON(t)["id"].(string)
				require.Equal(t, "RequestResponse", s.MetaGet("/endpoints/" + id).JSON(t)["protocol_type"])

				sleeps := s.later(t, g.path, g.sleep)
				asleep := s.AwaitInvocation(g.service, g.handler, "suspended")
				require.Equal(t, http.StatusOK, s.operate(asleep.ID, "kill"))
				receive(t, sleeps)
				g.features(t, s)
				s.AwaitIdle(time.Minute)
			})
		}
	}
}

// TestDocumentedFunctions follows the page on functions.
func TestDocumentedFunctions(t *testing.T) {
	t.Parallel()
	function := process.StartExample(t, "run-function")
	uri := process.Serve(t, &gateway.Gateway{
		Function: function.URL, Format: gateway.Version1, Stage: "default", Key: "secret", Timeout: time.Minute,
	})
	run := reader(process.Start(t, process.OneProcess))
	const documented = "abc123.execute-api.eu-central-1.amazonaws.com"
	actual := strings.TrimPrefix(uri, "http://")
	run.Bind("https://"+documented, uri)
	id := func(host string) string { return base64.RawURLEncoding.EncodeToString([]byte(host + "/default")) }
	run.Bind(id(documented), id(actual))
	var blocks []document.Block
	for _, block := range document.Read(t, "docs/deploy/functions.md", "") {
		if block.Language != "javascript" { // of today's SDK, which TestFunctions has
			blocks = append(blocks, block)
		}
	}
	run.Follow(t, blocks)
}
