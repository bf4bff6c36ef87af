package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
)

// output is what a command writes while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// execute runs the command line until it is done or the context ends.
func execute(ctx context.Context, out *output, args ...string) error {
	command := newCommand()
	command.SetOut(out)
	command.SetErr(out)
	command.SetArgs(args)
	return command.ExecuteContext(ctx)
}

func TestConfigurationIsWholeAndLoadsAgain(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("RESTATE_INGRESS__BIND_ADDRESS", "127.0.0.1:1")
	t.Setenv("RESTATE_META__BIND_ADDRESS", "127.0.0.1:2")
	t.Setenv("HTTP_PROXY", "127.0.0.1:3")
	var first, second output
	require.NoError(t, execute(t.Context(), &first, "config"))
	for _, want := range []string{
		"base_dir: target\n", "\nobservability:\n", "\nbroker:\n", "\nworker:\n", "\ningress:\n    bind_address: 127.0.0.1:1\n",
		"\nmeta:\n    bind_address: 127.0.0.1:2\n",
	} {
		require.Contains(t, first.String(), want)
	}
	require.Equal(t, 2, strings.Count(first.String(), "http_proxy: 127.0.0.1:3\n"), "for registration and for invocations")

	file := filepath.Join(t.TempDir(), "restate.yaml")
	require.NoError(t, os.WriteFile(file, []byte(first.String()), 0o600))
	require.NoError(t, execute(t.Context(), &second, "config", "--config-file", file))
	require.Equal(t, first.String(), second.String())
}

func TestDocumentationHasEveryKeyWithItsDefault(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "```yaml\n")
	require.True(t, found)
	documented, _, found := strings.Cut(rest, "```")
	require.True(t, found)

	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("documented.yaml", []byte(documented), 0o600))
	var defaults, loaded output
	require.NoError(t, execute(t.Context(), &defaults, "config"))
	require.NoError(t, execute(t.Context(), &loaded, "config", "--config-file", "documented.yaml"))
	require.Equal(t, defaults.String(), loaded.String(), "the documentation has other defaults")
	for line := range strings.Lines(defaults.String()) {
		if key, _, isKey := strings.Cut(strings.TrimSpace(line), ":"); isKey {
			require.Contains(t, documented, key+":", "the documentation lacks a key")
		}
	}
}

func TestCommandsFindMetaByTheConfiguration(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:1": `Get "http://127.0.0.1:1/services"`, "127.0.0.1:0": "pass --meta", "nonsense": "pass --meta",
	} {
		t.Setenv("RESTATE_META__BIND_ADDRESS", address)
		require.ErrorContains(t, execute(t.Context(), &output{}, "services", "list"), want)
		require.ErrorContains(t, execute(t.Context(), &output{}, "services", "list", "--meta", "127.0.0.1:2"), "127.0.0.1:2")
		require.ErrorContains(t, execute(t.Context(), &output{}, "services", "list", "--set", "meta.bind_address=127.0.0.1:3"), "127.0.0.1:3")
	}
}

// startRuntime runs everything in one process on free ports, and returns where its probes are once it is ready.
func startRuntime(t *testing.T, dir string) (probes string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &output{}
	done := make(chan error, 1)
	go func() {
		done <- execute(ctx, out, "--base-dir", dir, "--log-format", "json", "--set", "ingress.bind_address=127.0.0.1:0",
			"--set", "meta.bind_address=127.0.0.1:0", "--set", "storage.bind_address=127.0.0.1:0")
	}()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	ready := func() bool {
		for line := range strings.Lines(out.String()) {
			var fields struct{ Msg, Probes string }
			if json.Unmarshal([]byte(line), &fields) != nil {
				continue
			}
			switch fields.Msg {
			case "started":
				probes = strings.TrimPrefix(fields.Probes, "http://")
			case "ready":
				return true
			}
		}
		return false
	}
	await.True(t, time.Minute, ready, "the runtime to become ready")
	return probes, stop
}

func TestRunsReadiesStopsAndComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "target")
	for range 2 {
		probes, stop := startRuntime(t, dir)
		var out output
		require.NoError(t, execute(t.Context(), &out, "health", "--address", probes))
		require.NoError(t, stop())
		require.Error(t, execute(t.Context(), &out, "health", "--alive", "--address", probes))
	}
	for _, folder := range []string{"db", "nats"} {
		require.DirExists(t, filepath.Join(dir, folder))
	}
}

func TestRuntimesRunSideBySide(t *testing.T) {
	_, stopFirst := startRuntime(t, t.TempDir())
	_, stopSecond := startRuntime(t, t.TempDir())
	require.NoError(t, stopFirst())
	require.NoError(t, stopSecond())
}

func TestBaseDirectoryInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	startRuntime(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), await.Deadline)
	defer cancel()
	err := execute(ctx, &output{}, "--base-dir", dir)
	require.ErrorIs(t, err, broker.ErrLocked)
	require.ErrorContains(t, err, "[RT0005]")
}
