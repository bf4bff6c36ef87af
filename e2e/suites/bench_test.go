package suites

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/bench"
	"github.com/restate-go/restate/e2e/process"
)

func buildBench(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bench")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/bench").CombinedOutput()
	require.NoError(t, err, string(output))
	return program
}

// TestBench runs each scenario of the benchmark for a moment. The figures mean nothing; that they are there does.
func TestBench(t *testing.T) {
	program := buildBench(t)
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			figures := filepath.Join(dir, "figures.json")
			args := []string{
				"--binary", process.Binary(t), "--dir", dir, "--json", figures, "--cpuprofile", filepath.Join(dir, "profiles"),
				"--warmup", "50ms", "--duration", "200ms", "--idle", "100ms",
			}
			if mode == process.Apart {
				args = append(args, "--apart", "--only", "idle,hello-1,counter")
			} else {
				args = append(args, "--services", "protobuf,light,sdk-go")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			output, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
			require.NoError(t, err, string(output))
			t.Log(string(output))

			content, err := os.ReadFile(figures)
			require.NoError(t, err)
			var report bench.Report
			require.NoError(t, json.Unmarshal(content, &report))
			measured, services := map[string]bool{}, map[bench.Services]bool{}
			for _, m := range report.Measurements {
				measured[m.Scenario], services[m.Services] = true, true
				require.Positive(t, m.RSS, m.Scenario)
				if m.Clients > 0 {
					require.Positive(t, m.Calls, m.Scenario)
					require.Positive(t, m.P50, m.Scenario)
				}
			}
			if mode == process.Apart {
				require.Len(t, measured, 3)
				require.Len(t, services, 1)
			} else {
				require.Len(t, measured, 7)
				require.Len(t, services, len(bench.AllServices()))
			}
			left, err := filepath.Glob(filepath.Join(dir, "bench-*"))
			require.NoError(t, err)
			require.Empty(t, left, "the data is deleted")
		})
	}
}

// TestBenchFailsOnAWrongAnswer has the benchmark measure a server that runs already, and that answers one thing only.
func TestBenchFailsOnAWrongAnswer(t *testing.T) {
	program := buildBench(t)
	for answer, want := range map[string]string{
		`{"value": "Hello client 0"}`: "",
		`{"value": "Hello client 7"}`: `hello-1: scripted.Greeter/Hello answers "Hello client 7", not "Hello client 0"`,
		`[]`:                          `hello-1: scripted.Greeter/Hello answers "[]"`,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
		output, err := exec.CommandContext(t.Context(), program, "--dir", t.TempDir(), "--url", server.URL, "--meta", server.URL,
			"--only", "hello-1", "--warmup", "0s", "--duration", "50ms").CombinedOutput()
		server.Close()
		if want == "" {
			require.NoError(t, err, string(output))
			continue
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 1, exit.ExitCode())
		require.Contains(t, string(output), want)
	}
}
