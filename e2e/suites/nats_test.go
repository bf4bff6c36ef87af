package suites

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
)

// natsServer is the server as its makers build it.
func natsServer(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats-server")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	require.NoError(t, err, string(output))
	return path
}

// spawnNATS starts a server which syncs as it is told, and returns the environment by which daemons find it.
func spawnNATS(t *testing.T, binary, sync string) (*process.Process, []string) {
	t.Helper()
	dir, address, monitoring := t.TempDir(), process.FreeAddress(t), process.FreeAddress(t)
	file := filepath.Join(dir, "nats.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
		listen: %q, http: %q, max_payload: 8MB
		jetstream { store_dir: %q, sync_interval: %s }
	`, address, monitoring, filepath.Join(dir, "data"), sync), 0o600))
	server := process.Spawn(t, dir, "nats-server", nil, binary, "-c", file)
	return server, []string{"RESTATE_BROKER__URL", "nats://" + address, "RESTATE_BROKER__MONITORING_URL", "http://" + monitoring}
}

// TestExternalNATS runs the daemons at a NATS server of its own, which crashes as well.
func TestExternalNATS(t *testing.T) {
	t.Parallel()
	server, environment := spawnNATS(t, natsServer(t), "always")
	s := start(t, process.ExternalBroker, environment...)
	s.MustCall("e2e.Counter/Add", `{"counter_id": "one", "amount": 3}`)
	answer := s.later(t, "e2e.Workflow/Sleep", `{"millis": 2000, "id": "sleep"}`)
	server.Kill()
	server.Start()
	s.AwaitReady()
	require.Equal(t, http.StatusOK, receive(t, answer).Status)
	s.CrashAll()
	require.Equal(t, 3, s.count(t, "one"))
	s.MustCall("e2e.Counter/Add", `{"counter_id": "one", "amount": 4}`)
	require.Equal(t, 7, s.count(t, "one"))
	s.AwaitIdle(time.Minute)
}

// TestNATSThatDoesNotSync is refused: what it acknowledges may be lost.
func TestNATSThatDoesNotSync(t *testing.T) {
	t.Parallel()
	_, environment := spawnNATS(t, natsServer(t), "2m")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	meta := exec.CommandContext(ctx, process.Binary(t), "--target=meta")
	meta.Dir = t.TempDir()
	meta.Env = append(os.Environ(), "RESTATE_META__BIND_ADDRESS="+process.FreeAddress(t))
	for i := 0; i < len(environment); i += 2 {
		meta.Env = append(meta.Env, strings.Join(environment[i:i+2], "="))
	}
	output, err := meta.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(output))
	require.Equal(t, 1, exit.ExitCode(), string(output))
	require.Contains(t, string(output), "RT0120")
	require.Contains(t, string(output), "acknowledges writes before they are on its disk")
}
