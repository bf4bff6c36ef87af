package assembly_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/daemon/assembly"
)

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

// await returns the line with the message.
func (l *lines) await(t *testing.T, message string) (found map[string]any) {
	t.Helper()
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for text := range strings.Lines(l.text.String()) {
			found = nil
			if json.Unmarshal([]byte(text), &found) == nil && found["msg"] == message {
				return true
			}
		}
		return false
	}, 20*time.Second, 10*time.Millisecond, "no line %q", message)
	return found
}

// echo answers requests on a subject; it stands for a daemon.
type echo struct {
	rt      assembly.Runtime
	subject string
	mu      sync.Mutex
	err     error
	stopped func()
}

func (e *echo) Run(ctx context.Context) error {
	subscription, err := e.rt.Conn.NC.Subscribe(e.subject, func(m *nats.Msg) { _ = m.Respond([]byte("pong")) })
	if err != nil {
		return err
	}
	if err := e.rt.Conn.NC.Flush(); err != nil {
		return err
	}
	e.mu.Lock()
	e.err = nil
	e.mu.Unlock()
	<-ctx.Done()
	e.stopped()
	return subscription.Unsubscribe()
}

func (e *echo) ready(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

type echoConfig struct {
	BindAddress string `yaml:"bind_address" split_words:"true"`
}

func echoDaemon(name, section string, edge bool, stopped func(string)) assembly.Daemon {
	cfg := &echoConfig{BindAddress: "0.0.0.0:9090"}
	return assembly.Daemon{
		Name: name, Section: section, Config: cfg, Edge: edge, Purpose: "requests",
		Address: func() string { return cfg.BindAddress },
		New: func(_ context.Context, rt assembly.Runtime) (assembly.Service, error) {
			e := &echo{rt: rt, subject: "test." + name, err: errors.New("starting"), stopped: func() { stopped(name) }}
			rt.Checks.Add(name, e.ready)
			return e, nil
		},
	}
}

func ignore(string) {}

// start runs a process; stop ends it and returns what Run returned.
func start(t *testing.T, process *assembly.Process, settings ...string) (log *lines, stop func() error) {
	t.Helper()
	settings = append(settings, "base_dir="+t.TempDir())
	_, err := process.Load(config.Layers{Settings: settings})
	require.NoError(t, err)
	log = &lines{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- process.Run(ctx, slog.New(slog.NewJSONHandler(log, nil))) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return log, stop
}

func TestEdgesStopBeforeTheRest(t *testing.T) {
	var mu sync.Mutex
	var order []string
	stopped := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, name)
	}
	log, stop := start(t, assembly.New("restate", "1.0",
		echoDaemon("ingress", "ingress", true, stopped), echoDaemon("partition-worker", "worker", false, stopped)))
	require.Equal(t, "127.0.0.1:9090", log.await(t, "send requests")["to"])
	require.NoError(t, stop())
	require.Equal(t, []string{"ingress", "partition-worker"}, order)
}

func TestApartTheyMeetAtTheBroker(t *testing.T) {
	brokerLog, _ := start(t, assembly.New("restate", "1.0"), "target=[broker]", "broker.bind_address=127.0.0.1:0")
	url, _ := brokerLog.await(t, "the broker listens")["url"].(string)

	log, stop := start(t, assembly.NewSingle("1.0", echoDaemon("meta", "meta", true, ignore)), "broker.url="+url)
	log.await(t, "ready")
	client, err := nats.Connect(url)
	require.NoError(t, err)
	defer client.Close()
	reply, err := client.Request("test.meta", nil, 10*time.Second)
	require.NoError(t, err)
	require.Equal(t, "pong", string(reply.Data))
	require.NoError(t, stop())
	require.Eventually(t, func() bool {
		// The broker may learn of the end of the connection a little later than we do.
		_, err := client.Request("test.meta", nil, 100*time.Millisecond)
		return errors.Is(err, nats.ErrNoResponders)
	}, 10*time.Second, 10*time.Millisecond)
}

func TestAliveAndNotReadyWhileTheBrokerIsAway(t *testing.T) {
	log, stop := start(t, assembly.NewSingle("1.0", echoDaemon("meta", "meta", true, ignore)), "broker.url=nats://127.0.0.1:1")
	probes, _ := log.await(t, "started")["probes"].(string)
	for path, want := range map[string]int{"/health": http.StatusOK, "/ready": http.StatusServiceUnavailable} {
		response, err := http.Get(probes + path)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, want, response.StatusCode, path)
	}
	log.await(t, "waiting for the broker")
	require.NoError(t, stop(), "a signal ends the waiting, and that is no failure")
}

func TestNotReadyWhenTheBrokerGoesAway(t *testing.T) {
	brokerLog, stopBroker := start(t, assembly.New("restate", "1.0"), "target=[broker]", "broker.bind_address=127.0.0.1:0")
	url, _ := brokerLog.await(t, "the broker listens")["url"].(string)
	log, _ := start(t, assembly.NewSingle("1.0", echoDaemon("meta", "meta", true, ignore)), "broker.url="+url)
	probes, _ := log.await(t, "started")["probes"].(string)
	log.await(t, "ready")
	require.NoError(t, stopBroker())
	require.Eventually(t, func() bool {
		response, err := http.Get(probes + "/ready")
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, errors.Join(err, response.Body.Close()))
		return response.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "no connection to the broker")
	}, 10*time.Second, 10*time.Millisecond)
}

func TestOnlyTargetsRun(t *testing.T) {
	made := map[string]bool{}
	spy := func(name, section string) assembly.Daemon {
		d := echoDaemon(name, section, false, ignore)
		inner := d.New
		d.New = func(ctx context.Context, rt assembly.Runtime) (assembly.Service, error) {
			made[name] = true
			return inner(ctx, rt)
		}
		return d
	}
	process := assembly.New("restate", "1.0", spy("ingress", "ingress"), spy("meta", "meta"))
	log, stop := start(t, process, "target=[broker, meta]", "broker.bind_address=127.0.0.1:0")
	log.await(t, "ready")
	require.NoError(t, stop())
	require.Equal(t, map[string]bool{"meta": true}, made)
}

func TestLoadRefuses(t *testing.T) {
	for setting, want := range map[string]string{
		"target=[metta]": `there is no "metta"; there are all, broker, meta`,
		"target=[]":      "target: is empty",
		"base_dir=''":    "base_dir is empty",
	} {
		_, err := assembly.New("restate", "1.0", echoDaemon("meta", "meta", false, ignore)).Load(config.Layers{Settings: []string{setting}})
		require.ErrorContains(t, err, want)
	}
}

func TestFailedDaemonEndsTheProcess(t *testing.T) {
	failing := echoDaemon("meta", "meta", false, ignore)
	failing.New = func(context.Context, assembly.Runtime) (assembly.Service, error) {
		return nil, errors.New("bad setting")
	}
	process := assembly.New("restate", "1.0", failing)
	_, err := process.Load(config.Layers{Settings: []string{"base_dir=" + t.TempDir()}})
	require.NoError(t, err)
	require.EqualError(t, process.Run(t.Context(), slog.New(slog.DiscardHandler)), "meta: bad setting")
}

func TestProfilesAreServedWhenConfigured(t *testing.T) {
	for setting, want := range map[string]int{"true": http.StatusOK, "false": http.StatusNotFound} {
		log, _ := start(t, assembly.New("restate", "1.0"), "observability.pprof="+setting)
		probes, _ := log.await(t, "started")["probes"].(string)
		for path, want := range map[string]int{"/debug/pprof/heap": want, "/health": http.StatusOK} {
			response, err := http.Get(probes + path)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, want, response.StatusCode, path)
		}
	}
}

// run executes the command line and returns what it printed.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command := assembly.New("restate", "1.0", echoDaemon("meta", "meta", false, ignore)).Command("Runs the daemons")
	var out bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&out)
	command.SetArgs(args)
	err := command.ExecuteContext(t.Context())
	return out.String(), err
}

func TestConfigPrintsWhatIsInForce(t *testing.T) {
	t.Setenv("RESTATE_META__BIND_ADDRESS", "127.0.0.1:7000")
	t.Setenv("RESTATE_TRACING__LOG_FORMAT", "json")
	t.Setenv("RESTATE_MTEA__BIND_ADDRESS", "x")
	for _, args := range [][]string{
		{"config", "--target=meta,broker", "--base-dir", "/data"}, {"--dump-config", "--target=meta,broker", "--base-dir", "/data"},
	} {
		out, err := run(t, args...)
		require.NoError(t, err)
		require.Contains(t, out, "base_dir: /data\n")
		require.Contains(t, out, "target:\n    - meta\n    - broker\n")
		require.Contains(t, out, "format: Json\n")
		require.Contains(t, out, "meta:\n    bind_address: 127.0.0.1:7000\n")
		if args[0] == "config" {
			require.Contains(t, out, `did you mean "RESTATE_META__BIND_ADDRESS"?`)
		}
	}
	_, err := run(t, "config", "--log-format", "xml")
	require.ErrorContains(t, err, "not a log format")
}

func TestHealthAsksTheRunningProcess(t *testing.T) {
	log, stop := start(t, assembly.New("restate", "1.0", echoDaemon("meta", "meta", false, ignore)))
	probes, _ := log.await(t, "started")["probes"].(string)
	address := strings.TrimPrefix(probes, "http://")
	log.await(t, "ready")
	out, err := run(t, "health", "--set", "health.bind_address="+address)
	require.NoError(t, err)
	require.Contains(t, out, `"ready"`)
	_, err = run(t, "health")
	require.ErrorContains(t, err, "health.bind_address", "an ephemeral port cannot be guessed")
	require.NoError(t, stop())
	_, err = run(t, "health", "--alive", "--address", address)
	require.Error(t, err)
}

func TestVersion(t *testing.T) {
	out, err := run(t, "version")
	require.NoError(t, err)
	require.Equal(t, "restate 1.0\n", out)
}
