package suites

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/document"
	"github.com/restate-go/restate/e2e/process"
)

// reader returns one who follows documents with a runtime that runs.
func reader(r *process.Runtime) *document.Run {
	run := &document.Run{Instead: map[string]func(){}, Services: map[string]*process.Service{}}
	run.Bind("localhost:9090", r.Ingress)
	run.Bind("localhost:8081", r.Meta)
	run.Bind("localhost:9091", r.Storage)
	return run
}

// starts lets a command of the documents start an example, which they say listens on the address. In its text, changes are made
// first: old, new, ...
func starts(t *testing.T, run *document.Run, program, address string, changes ...string) {
	run.Instead["node "+program] = func() {
		service := process.StartExample(t, strings.TrimSuffix(program, ".js"), changes...)
		run.Services[program] = service
		actual := strings.TrimPrefix(service.URL, "http://")
		run.Bind(address, actual)
		run.Bind(endpointID(address), endpointID(actual))
	}
}

// endpointID returns the id of the endpoint at an address.
func endpointID(address string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(address + "/"))
}

// TestReadme follows the README from the first service on, through its kill -9.
func TestReadme(t *testing.T) {
	t.Parallel()
	r := process.Start(t, process.OneProcess)
	run := reader(r)
	run.Instead["mkdir hello && cd hello && npm init -y && npm install @restatedev/restate-sdk@"+sdkVersion(t, "example")] = func() {}
	starts(t, run, "greeter.js", "localhost:9080")
	run.Instead["pkill -9 -x restate"] = func() {
		// Nobody is so fast as to kill it before the step is in the journal, which then holds the input, the step and the sleep;
		// and nobody so slow as to do so when the ten seconds are over, but if one is, there is no invocation any more.
		await.True(t, await.Deadline, func() bool {
			open, err := r.Invocations()
			return err == nil && (len(open) == 0 || open[0].JournalLength >= 3)
		}, "the step to be in the journal")
		r.KillAll()
	}
	run.Instead["make run"] = func() { r.StartInOrder(r.Names()) }
	run.Follow(t, document.Read(t, "README.md", "## Your first service"))
	require.Equal(t, 1, strings.Count(run.Services["greeter.js"].Log(), "packing a parcel"))
}

// TestDocumentedAPI follows the page on the ports of ingress and meta.
func TestDocumentedAPI(t *testing.T) {
	t.Parallel()
	run := reader(process.Start(t, process.OneProcess))
	starts(t, run, "greeter.js", "localhost:9080")
	starts(t, run, "orders.js", "localhost:9081")
	run.Follow(t, document.Read(t, "docs/api.md", ""))
}

// TestFirstHandler follows the page on handlers of today's SDKs up to the first call.
func TestFirstHandler(t *testing.T) {
	t.Parallel()
	run := reader(process.Start(t, process.OneProcess))
	sdk := sdkVersion(t, "handlers")
	run.Instead["mkdir visits && cd visits && npm init -y && npm pkg set type=module && npm install @restatedev/restate-sdk@"+sdk] = func() {}
	run.Instead["node visits.js"] = func() {
		run.Bind("localhost:9080", strings.TrimPrefix(process.StartHandlersProgram(t, "visits").URL, "http://"))
	}
	run.Follow(t, document.Read(t, "docs/handlers.md", "## A first handler"))
}

// rows returns the groups of each row of a table in docs/api.md that matches.
func rows(t *testing.T, pattern string) [][]string {
	page, err := os.ReadFile(filepath.Join(process.Root(t), "docs", "api.md"))
	require.NoError(t, err)
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, found)
	return found
}

// TestDocumentedRoutes compares the table of routes with what meta says that it serves.
func TestDocumentedRoutes(t *testing.T) {
	t.Parallel()
	var documented, served []string
	for _, row := range rows(t, "`((?:DELETE|GET|PATCH|POST|PUT) /[a-z][^`?]*)`") {
		documented = append(documented, row[1])
	}
	for path, operations := range process.Start(t, process.OneProcess).MetaGet("/openapi").JSON(t)["paths"].(map[string]any) {
		for method := range operations.(map[string]any) {
			served = append(served, strings.ToUpper(method)+" "+path)
		}
	}
	require.Subset(t, documented, served)
	require.Subset(t, served, documented)
}

// TestDocumentedFailures has a handler fail with each code in the table.
func TestDocumentedFailures(t *testing.T) {
	t.Parallel()
	s := start(t, process.OneProcess)
	for _, row := range rows(t, "(?m)^\\| `([a-z_]+)` \\| ([0-9]+) \\| ([0-9]+) \\|") {
		answer, err := s.Call("e2e.Greeter/Fail", `{"code": `+row[2]+`, "message": "no"}`)
		require.NoError(t, err)
		require.Equal(t, row[3], strconv.Itoa(answer.Status), row[1])
		require.Equal(t, row[1], answer.JSON(t)["code"])
	}
}

// TestDocumentedCommands follows the section on the command line.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	r := process.Start(t, process.OneProcess)
	run := reader(r)
	run.Environment = []string{"RESTATE_META__BIND_ADDRESS=" + r.Meta, "RESTATE_STORAGE__BIND_ADDRESS=" + r.Storage}
	// Nobody knows that the commands on what sleeps take less than ten seconds.
	starts(t, run, "greeter.js", "localhost:9080", "sleep(10_000)", "sleep(3600_000)")
	run.Follow(t, document.Read(t, "docs/operations.md", "## The command line"))
}

// sdkVersion is the version of the SDK that the services in the folder are tested with.
func sdkVersion(t *testing.T, folder string) string {
	content, err := os.ReadFile(filepath.Join(process.Root(t), "e2e", "services", folder, "package.json"))
	require.NoError(t, err)
	var manifest struct{ Dependencies map[string]string }
	require.NoError(t, json.Unmarshal(content, &manifest))
	return manifest.Dependencies["@restatedev/restate-sdk"]
}
