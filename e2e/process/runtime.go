package process

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
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
	r.probes[name] = "http://" + probes + "/ready"
	r.order = append(r.order, name)
	environment = slices.Concat(r.common, env("RESTATE_HEALTH__BIND_ADDRESS", probes), environment)
	r.Processes[name] = Spawn(r.t, r.dir, name, environment, Binary(r.t), args...)
}

// AddIngress starts one more ingress, of a runtime whose daemons are apart, and returns its address once it is ready.
func (r *Runtime) AddIngress() string {
	r.t.Helper()
	address := FreeAddress(r.t)
	r.spawn("ingress at "+address, env("RESTATE_INGRESS__BIND_ADDRESS", address), "--target", Ingress)
	r.AwaitReady()
	return address
}

// Names returns the names of the processes.
func (r *Runtime) Names() []string { return r.order }

// AwaitReady waits until every process is ready.
func (r *Runtime) AwaitReady() {
	r.t.Helper()
	for _, name := range r.order {
		AwaitHTTP(r.t, r.probes[name])
	}
}

// CrashAll kills every process, starts them again and waits until they are ready.
func (r *Runtime) CrashAll() {
	r.t.Helper()
	r.again((*Process).Kill)
}

// Restart has every process stop, which is to succeed, starts them again and waits until they are ready.
func (r *Runtime) Restart() {
	r.t.Helper()
	r.again(func(p *Process) { require.NoError(r.t, p.Terminate(), p.name) })
}

// StartInOrder starts the processes, all of which have ended, in the order given.
func (r *Runtime) StartInOrder(names []string) {
	r.t.Helper()
	for _, name := range names {
		r.Processes[name].Start()
	}
	r.AwaitReady()
}

// KillAll kills every process.
func (r *Runtime) KillAll() {
	for _, p := range r.Processes {
		p.Kill()
	}
}

// again ends the processes, those first that use others, and starts them again.
func (r *Runtime) again(end func(*Process)) {
	r.t.Helper()
	for _, name := range slices.Backward(r.order) {
		end(r.Processes[name])
	}
	r.StartInOrder(r.order)
}
