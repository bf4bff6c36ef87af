package process

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
)

// Daemons of a runtime whose daemons are apart, in the order in which they are started. The broker is one of them.
const (
	Broker        = "broker"
	Worker        = "partition-worker"
	StorageReader = "storage-reader"
	Meta          = "meta"
	Ingress       = "ingress"
)

// all is the name of the one process that runs everything.
const all = "restate"

// Mode is how the daemons are spread over processes.
type Mode string

// The modes.
const (
	OneProcess Mode = "one process"
	Apart      Mode = "apart"
	// ExternalBroker is apart with a broker that is not ours; the environment says where it is.
	ExternalBroker Mode = "external broker"
)

// Modes lists those with the embedded broker, for tests that run in each.
var Modes = []Mode{OneProcess, Apart}

// Runtime is a runtime that a test runs.
type Runtime struct {
	Mode Mode
	// Ingress, Meta and Storage are addresses, host:port.
	Ingress, Meta, Storage string
	// Broker is the address of the broker where the daemons are apart.
	Broker string
	// Processes by name: one called restate, or one for each daemon.
	Processes map[string]*Process

	t      testing.TB
	dir    string
	common []string
	probes map[string]string
	order  []string
}

// Start starts a runtime with an empty folder and waits until it is ready. The environment comes as name, value, ...
func Start(t testing.TB, mode Mode, environment ...string) *Runtime {
	t.Helper()
	r := &Runtime{
		Mode: mode, t: t,
		Ingress: FreeAddress(t), Meta: FreeAddress(t), Storage: FreeAddress(t),
		Processes: map[string]*Process{}, probes: map[string]string{},
	}
	common := append(env(
		"RESTATE_INGRESS__BIND_ADDRESS", r.Ingress, "RESTATE_META__BIND_ADDRESS", r.Meta,
		"RESTATE_STORAGE__BIND_ADDRESS", r.Storage, "RESTATE_OBSERVABILITY__LOG__FORMAT", "Compact",
	), env(environment...)...)
	r.dir, r.common = t.TempDir(), common
	switch mode {
	case OneProcess:
		r.spawn(all, nil)
	case Apart:
		r.Broker = FreeAddress(t)
		r.common = append(r.common, env("RESTATE_BROKER__BIND_ADDRESS", r.Broker, "RESTATE_BROKER__URL", "nats://"+r.Broker)...)
		r.spawn(Broker, nil, "--target", Broker)
		r.spawnDaemons()
	case ExternalBroker:
		r.spawnDaemons()
	}
	r.AwaitReady()
	return r
}

// spawnDaemons starts the daemons that are not the broker.
func (r *Runtime) spawnDaemons() {
	for _, name := range []string{Worker, StorageReader, Meta, Ingress} {
		r.spawn(name, nil, "--target", name)
	}
}

func (r *Runtime) spawn(name string, environment []string, args ...string) {
	probes := FreeAddress(r.t)
	r.probes[name] = "http://" + probes
	r.order = append(r.order, name)
	environment = slices.Concat(r.common, env("RESTATE_HEALTH__BIND_ADDRESS", probes), environment)
	r.Processes[name] = Spawn(r.t, r.dir, name, environment, Binary(r.t), args...)
}

// AddIngress starts one more ingress, of a runtime whose daemons are apart. It returns the runtime as those see it who use
// that one, and the name of its process.
func (r *Runtime) AddIngress() (*Runtime, string) {
	r.t.Helper()
	address := FreeAddress(r.t)
	name := "ingress at " + address
	r.spawn(name, env("RESTATE_INGRESS__BIND_ADDRESS", address), "--target", Ingress)
	r.AwaitReady()
	other := *r
	other.Ingress = address
	return &other, name
}

// Names returns the names of the processes.
func (r *Runtime) Names() []string { return r.order }

// AwaitReady waits until every process is ready.
func (r *Runtime) AwaitReady() {
	r.t.Helper()
	for _, name := range r.order {
		AwaitHTTP(r.t, r.probes[name]+"/ready")
	}
}

// AwaitMetric waits until a metric of the process, with its labels, has the value.
func (r *Runtime) AwaitMetric(process, metric string, want int) {
	r.t.Helper()
	line := fmt.Sprintf("\n%s %d\n", metric, want)
	await.True(r.t, await.Deadline, func() bool {
		answer, err := Do(http.MethodGet, r.probes[process]+"/metrics", "")
		return err == nil && strings.Contains(answer.Body, line)
	}, fmt.Sprintf("%s of %s to be %d", metric, process, want))
}

// CrashAll kills every process, starts them again and waits until they are ready.
func (r *Runtime) CrashAll() {
	r.t.Helper()
	r.KillAll()
	r.StartInOrder(r.order)
}

// Restart has every process stop, which is to succeed, starts them again and waits until they are ready.
func (r *Runtime) Restart() {
	r.t.Helper()
	r.StopAll()
	r.StartInOrder(r.order)
}

// StartInOrder starts the processes, all of which have ended, in the order given.
func (r *Runtime) StartInOrder(names []string) {
	r.t.Helper()
	for _, name := range names {
		r.Processes[name].Start()
	}
	r.AwaitReady()
}

// KillAll kills every process, those first that use others.
func (r *Runtime) KillAll() {
	r.t.Helper()
	for _, name := range slices.Backward(r.order) {
		r.Processes[name].Kill()
	}
}

// StopAll has every process stop, those first that use others, which is to succeed.
func (r *Runtime) StopAll() {
	r.t.Helper()
	for _, name := range slices.Backward(r.order) {
		require.NoError(r.t, r.Processes[name].Terminate(), name)
	}
}
