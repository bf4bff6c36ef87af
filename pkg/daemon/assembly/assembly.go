// Package assembly makes a process of daemons: the one binary with all of them, and the binaries with one each. Which
// daemons there are is all that differs; there is no other way by which a daemon is put together.
package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/health"
	"github.com/restate-go/restate/pkg/telemetry"
)

// Service is a daemon that runs.
type Service interface {
	// Run works until the context ends, then drains within a bound and returns nil.
	Run(ctx context.Context) error
}

// Daemon is how a service is put into a process.
type Daemon struct {
	// Name is what --target calls it.
	Name string
	// Section of the configuration that Config, a pointer to the service's defaults, is filled from.
	Section string
	Config  any
	// New makes the service of the configuration, which has been filled by then, and registers its checks. It may bind
	// listeners, and must not start anything.
	New func(context.Context, Runtime) (Service, error)
	// Address returns host:port of the public listener according to the configuration; nil where there is none.
	Address func() string
	// Probes tells that the public listener serves Runtime.Probes.
	Probes bool
	// Purpose says what the public listener is for, in the words of a user.
	Purpose string
	// Edge tells that outsiders call the daemon: edges stop first, while the rest still finishes what they wait for.
	Edge bool
}

// Runtime is what a process gives to its daemons.
type Runtime struct {
	// BaseDir is the directory that all data lies below.
	BaseDir string
	Conn    *broker.Conn
	// Log names the daemon in each line.
	Log *slog.Logger
	// Checks are the conditions for the process being ready.
	Checks *health.Checks
	// Metrics takes figures under the name of the daemon, and gives those of the process.
	Metrics Metrics
	Tracer  trace.Tracer
	// Probes serves /health, /ready and /metrics of the process.
	Probes http.Handler
	Now    func() time.Time
	// Version is the release of the process.
	Version string
}

// Metrics is a registry of figures.
type Metrics interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// Names in --target that are no daemons.
const (
	targetAll    = "all"
	targetBroker = "broker"
)

// settings are the keys of the top level.
type settings struct {
	// BaseDir is the directory that all data lies below: the database in db, the broker's streams in nats.
	BaseDir string `yaml:"base_dir" split_words:"true"`
	// Target is which daemons a process with several runs: all, or names of daemons, or broker. The binaries with one
	// daemon pass over it.
	Target []string `yaml:"target"`
	// ShutdownGracePeriod bounds the stopping after SIGTERM.
	ShutdownGracePeriod config.Duration `yaml:"shutdown_grace_period" split_words:"true"`
}

// Process is a set of daemons with their configuration.
type Process struct {
	name, version string
	daemons       []Daemon
	// single is a process of one daemon, without a choice of targets.
	single bool
	// layers reads the flags of Command.
	layers func() config.Layers

	settings  settings
	telemetry telemetry.Config
	probes    health.Config
	client    broker.Config
	server    broker.ServerConfig
}

const (
	defaultBrokerAddress = "127.0.0.1:4222"
	defaultGracePeriod   = config.Duration(time.Minute)
)

// New returns a process which can run any of the daemons, and the broker, as --target says.
func New(name, version string, daemons ...Daemon) *Process {
	return &Process{
		name: name, version: version, daemons: daemons,
		settings:  settings{BaseDir: "target", Target: []string{targetAll}, ShutdownGracePeriod: defaultGracePeriod},
		telemetry: telemetry.DefaultConfig(),
		probes:    health.DefaultConfig(),
		client:    broker.DefaultConfig(),
		server:    broker.DefaultServerConfig(),
	}
}

// NewSingle returns a process of one daemon, whose broker is elsewhere.
func NewSingle(version string, daemon Daemon) *Process {
	process := New(daemon.Name, version, daemon)
	process.single = true
	return process
}

func (p *Process) sections() []config.Section {
	into := []config.Section{
		{Into: &p.settings},
		{Name: "observability", Into: &p.telemetry},
		{Name: "health", Into: &p.probes},
		{Name: "broker", Into: &p.client},
		{Name: "broker", Into: &p.server},
	}
	for _, d := range p.daemons {
		into = append(into, config.Section{Name: d.Section, Into: d.Config})
	}
	return into
}

// Load reads the configuration. The warnings are for the log.
func (p *Process) Load(layers config.Layers) (warnings []string, err error) {
	warnings, err = config.Load(layers, p.sections())
	if err != nil {
		return nil, err
	}
	if p.settings.BaseDir == "" {
		return nil, errors.New("base_dir is empty")
	}
	if _, err := p.chosen(); err != nil {
		return nil, err
	}
	p.server.Dir = filepath.Join(p.settings.BaseDir, "nats")
	if p.embedsBroker() && p.server.BindAddress == "" && !p.runsAll() {
		// Daemons of other processes have to reach it, else there were no point in leaving them out.
		p.server.BindAddress = defaultBrokerAddress
	}
	return warnings, nil
}

// Dump returns the configuration that is in force as YAML, secrets masked.
func (p *Process) Dump() ([]byte, error) { return config.Dump(p.sections()) }

func (p *Process) runsAll() bool { return slices.Contains(p.settings.Target, targetAll) }

func (p *Process) embedsBroker() bool {
	return !p.single && (p.runsAll() || slices.Contains(p.settings.Target, targetBroker))
}

// chosen returns the daemons that the target names.
func (p *Process) chosen() ([]Daemon, error) {
	if p.single {
		return p.daemons, nil
	}
	names := []string{targetAll, targetBroker}
	for _, d := range p.daemons {
		names = append(names, d.Name)
	}
	for _, name := range p.settings.Target {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("target: there is no %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	if len(p.settings.Target) == 0 {
		return nil, fmt.Errorf("target: is empty; there are %s", strings.Join(names, ", "))
	}
	if p.runsAll() {
		return p.daemons, nil
	}
	var chosen []Daemon
	for _, d := range p.daemons {
		if slices.Contains(p.settings.Target, d.Name) {
			chosen = append(chosen, d)
		}
	}
	return chosen, nil
}

// reachable turns the address of a listener into one that can be connected to; empty when the port is not known.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
