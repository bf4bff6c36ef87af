package suites

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/process"
)

// generation is one way to write, register and call the service Shelf, which has several revisions.
type generation struct {
	name, service string
	// program starts a revision: first, second or rekeyed.
	program func(t testing.TB, environment ...string) *process.Service
	// collection is the route of what is registered, and changing what a registration that changes a service says.
	collection, changing string
	// path and body make a call of a method.
	path func(key, method string) string
	body func(key string) string
	// result reads the revision from an answer.
	result func(t *testing.T, body string) string
	// resolve completes an awakeable.
	resolve func(t *testing.T, s setting, awakeable string)
	// comeBack has an invocation go on whose endpoint was removed by force, and is registered again.
	comeBack func(t *testing.T, s setting, id string)
}

// eachGeneration runs the test once for each generation, in another mode each time, which is enough where what is tested does
// not depend on the two together.
func eachGeneration(t *testing.T, test func(t *testing.T, g generation, mode process.Mode)) {
	t.Helper()
	for i, g := range generations() {
		mode := process.Modes[i%len(process.Modes)]
		t.Run(g.name+", "+string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, g, mode)
		})
	}
}

func generations() []generation {
	return []generation{
		{
			name: "protobuf services", service: "e2e.versions.Shelf",
			program: func(t testing.TB, environment ...string) *process.Service {
				t.Helper()
				return process.StartService(t, "versions", environment...)
			},
			collection: "/endpoints", changing: "",
			path: func(_, method string) string { return "e2e.versions.Shelf/" + method },
			body: func(key string) string { return `{"name": "` + key + `"}` },
			result: func(t *testing.T, body string) string {
				var reply struct{ Message string }
				require.NoError(t, json.Unmarshal([]byte(body), &reply), body)
				return reply.Message
			},
			resolve: func(_ *testing.T, s setting, awakeable string) {
				s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+awakeable+`", "json_result": 1}`)
			},
			comeBack: func(*testing.T, setting, string) {}, // its endpoint is the same again, for the URI is
		},
		{
			name: "handlers", service: "Shelf",
			program: func(t testing.TB, environment ...string) *process.Service {
				t.Helper()
				return process.StartHandlersProgram(t, "versions", environment...)
			},
			collection: "/deployments", changing: `, "breaking": true`,
			path: func(key, method string) string { return "Shelf/" + key + "/" + method },
			body: func(string) string { return "" },
			result: func(t *testing.T, body string) string {
				var revision string
				require.NoError(t, json.Unmarshal([]byte(body), &revision), body)
				return revision
			},
			resolve: func(t *testing.T, s setting, awakeable string) { s.resolve(t, awakeable, `1`) },
			comeBack: func(t *testing.T, s setting, id string) {
				require.Equal(t, http.StatusAccepted, s.operate(id, "pause"))
				s.awaitState(t, id, "paused")
				require.Equal(t, http.StatusOK, s.operate(id, "resume?deployment=latest"))
			},
		},
	}
}

// register registers what is at the URI, and returns its id.
func (g generation) register(t *testing.T, s setting, uri, more string) string {
	t.Helper()
	answer := s.MetaDo(http.MethodPost, g.collection, `{"uri": "`+uri+`"`+more+`}`)
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	id, _ := answer.JSON(t)["id"].(string)
	return id
}

// begin calls a method in the background.
func (g generation) begin(t *testing.T, s setting, key, method string) <-chan process.Answer {
	t.Helper()
	return s.later(t, g.path(key, method), g.body(key))
}

// end waits for the answer, and returns the revision that gave it.
func (g generation) end(t *testing.T, answers <-chan process.Answer) string {
	t.Helper()
	answer := receive(t, answers)
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return g.result(t, answer.Body)
}

// TestRevisions puts a changed service beside the one that is used. What has begun stays where it began, whether it waits or
// works; what begins later is for the new one; and the old one cannot be removed as long as it is needed.
func TestRevisions(t *testing.T) {
	for _, g := range generations() {
		for _, mode := range process.Modes {
			t.Run(g.name+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				revisions(t, g, setting{Runtime: process.Start(t, mode, suspendEarly...)})
			})
		}
	}
}

func revisions(t *testing.T, g generation, s setting) {
	gate := filepath.Join(t.TempDir(), "gate")
	first := g.program(t, "E2E_REVISION", "first", "E2E_GATE", gate)
	firstID := g.register(t, s, first.URL, "")
	require.Equal(t, "first", g.end(t, g.begin(t, s, "new", "Removed")))
	service := g.service
	waiting, working := g.begin(t, s, "waiting", "Await"), g.begin(t, s, "working", "Work")
	awakeable := first.Awakeable("waiting")
	suspended := s.AwaitInvocation(service, "Await", "suspended")
	running := s.AwaitInvocation(service, "Work", "running")
	await.True(t, await.Deadline, func() bool { return first.Count("working", "working") == 1 }, "the step to begin")
	queued := g.begin(t, s, "working", "Revision") // it has not begun, for its key is busy
	s.AwaitInvocation(service, "Revision", "pending")

	second := g.program(t, "E2E_REVISION", "second", "E2E_GATE", gate)
	secondID := g.register(t, s, second.URL, g.changing)
	require.Equal(t, "second", g.end(t, g.begin(t, s, "new", "Revision")))
	require.Equal(t, "second", g.end(t, g.begin(t, s, "new", "Added")))
	gone, err := s.Call(g.path("new", "Removed"), g.body("new"))
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, gone.Status, gone.Body)

	// A changed key is another service: refused, and nothing has changed.
	rekeyed := g.program(t, "E2E_REVISION", "rekeyed")
	refused := s.MetaDo(http.MethodPost, g.collection, `{"uri": "`+rekeyed.URL+`"}`)
	require.Equal(t, http.StatusConflict, refused.Status, refused.Body)
	require.Equal(t, "META0006", refused.JSON(t)["restate_code"])
	require.Equal(t, "second", g.end(t, g.begin(t, s, "new", "Revision")))

	for _, collection := range []string{"/endpoints/", "/deployments/"} {
		kept := s.MetaDo(http.MethodDelete, collection+firstID, "")
		require.Equal(t, http.StatusConflict, kept.Status, kept.Body)
		require.Equal(t, "META0409", kept.JSON(t)["restate_code"])
		require.Contains(t, kept.Body, "needed by 2 invocations")
		require.Contains(t, kept.Body, suspended.ID+" of "+service)
		require.Contains(t, kept.Body, running.ID+" of "+service)
	}

	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	g.resolve(t, s, awakeable)
	require.Equal(t, "first", g.end(t, waiting))
	require.Equal(t, "first", g.end(t, working))
	require.Equal(t, "second", g.end(t, queued))
	s.AwaitIdle(time.Minute)
	require.Equal(t, http.StatusAccepted, s.MetaDo(http.MethodDelete, g.collection+"/"+firstID, "").Status)
	require.Equal(t, "second", g.end(t, g.begin(t, s, "new", "Revision")))

	// By force it goes while it is needed; what began on it fails until it is back.
	broken := g.begin(t, s, "broken", "Await")
	awakeable = second.Awakeable("broken")
	id := s.AwaitInvocation(service, "Await", "suspended").ID
	require.Equal(t, http.StatusAccepted, s.MetaDo(http.MethodDelete, g.collection+"/"+secondID+"?force=true", "").Status)
	g.resolve(t, s, awakeable)
	require.Equal(t, "RT0011", s.AwaitInvocation(service, "Await", "backing-off").LastFailureCode)
	g.register(t, s, second.URL, "")
	g.comeBack(t, s, id)
	require.Equal(t, "second", g.end(t, broken))
}
