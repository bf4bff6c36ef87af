package suites

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
	"github.com/restate-go/restate/pkg/await"
)

// natsServer is the server as its makers build it.
func natsServer(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats-server")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	require.NoError(t, err, string(output))
	return path
}

// externalNATS is a server with a configuration of its own.
type externalNATS struct {
	*process.Process
	file, address, monitoring string
}

const defaultPayload = "" // 1 MiB

// spawnNATS starts a server which syncs as it is told, and takes messages of that size.
func spawnNATS(t *testing.T, binary, sync, payload string) *externalNATS {
	t.Helper()
	dir := t.TempDir()
	n := &externalNATS{file: filepath.Join(dir, "nats.conf"), address: process.FreeAddress(t), monitoring: process.FreeAddress(t)}
	n.configure(t, sync, payload)
	n.Process = process.Spawn(t, dir, "nats-server", nil, binary, "-c", n.file)
	return n
}

// configure says what the server does once it is started again.
func (n *externalNATS) configure(t *testing.T, sync, payload string) {
	t.Helper()
	if payload != defaultPayload {
		payload = "max_payload: " + payload
	}
	require.NoError(t, os.WriteFile(n.file, fmt.Appendf(nil, `
		listen: %q, http: %q
		%s
		jetstream { store_dir: %q, sync_interval: %s }
	`, n.address, n.monitoring, payload, filepath.Join(filepath.Dir(n.file), "data"), sync), 0o600))
}

// environment is by which daemons find the server.
func (n *externalNATS) environment() []string {
	return []string{"RESTATE_BROKER__URL", "nats://" + n.address, "RESTATE_BROKER__MONITORING_URL", "http://" + n.monitoring}
}

// TestExternalNATS runs the daemons at a NATS server of its own, which crashes as well.
func TestExternalNATS(t *testing.T) {
	t.Parallel()
	server := spawnNATS(t, natsServer(t), "always", "8MB")
	s := start(t, process.ExternalBroker, server.environment()...)
	s.MustCall("e2e.Counter/Add", `{"counter_id": "one", "amount": 3}`)
	answers := s.later(t, "e2e.Workflow/WaitForAll", `{"id": "all", "millis": 2000}`)
	awakeable := s.service.Awakeable("all")
	server.Kill()
	server.Start()
	s.AwaitReady()
	s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+awakeable+`", "json_result": "woken"}`)
	require.JSONEq(t, `{"message": "woken: Hello everybody"}`, receive(t, answers).Body)
	s.CrashAll()
	require.Equal(t, 3, s.count(t, "one"))
	s.MustCall("e2e.Counter/Add", `{"counter_id": "one", "amount": 4}`)
	require.Equal(t, 7, s.count(t, "one"))
	s.AwaitIdle(time.Minute)
}

// TestNATSThatIsRefused has servers that may lose what they acknowledge, or do not take what there is.
func TestNATSThatIsRefused(t *testing.T) {
	t.Parallel()
	binary := natsServer(t)
	for _, c := range []struct{ sync, payload, code, says string }{
		{"2m", "8MB", "RT0120", "acknowledges writes before they are on its disk"},
		{"always", defaultPayload, "RT0116", "takes messages of 1048576 bytes at most"},
	} {
		meta, _ := spawnNATS(t, binary, c.sync, c.payload).spawnMeta(t)
		requireExit(t, meta, c.code)
		require.Contains(t, meta.Log(), c.says)
	}

	// A server which takes less than before is not used any longer.
	server := spawnNATS(t, binary, "always", "8MB")
	meta, address := server.spawnMeta(t)
	process.AwaitHTTP(t, "http://"+address+"/endpoints")
	server.Kill()
	server.configure(t, "always", defaultPayload)
	server.Start()
	requireExit(t, meta, "RT0116")
}

// spawnMeta starts a daemon at the server.
func (n *externalNATS) spawnMeta(t *testing.T) (meta *process.Process, address string) {
	t.Helper()
	address = process.FreeAddress(t)
	environment := []string{"RESTATE_META__BIND_ADDRESS=" + address}
	for pair := range slices.Chunk(n.environment(), 2) {
		environment = append(environment, strings.Join(pair, "="))
	}
	return process.Spawn(t, t.TempDir(), "meta", environment, process.Binary(t), "--target=meta"), address
}

// requireExit waits until the process says the code, which is the last that it does.
func requireExit(t *testing.T, p *process.Process, code string) {
	t.Helper()
	await.True(t, await.Deadline, func() bool { return strings.Contains(p.Log(), code) }, code)
	var exit *exec.ExitError
	require.ErrorAs(t, p.Terminate(), &exit)
	require.Equal(t, 1, exit.ExitCode())
}
