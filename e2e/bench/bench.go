// Package bench measures a server: it starts it and an endpoint that costs little, has clients call the endpoint through
// the server, checks every answer, and reports the speed and what the server used up.
package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/restate-go/restate/e2e/load"
	"github.com/restate-go/restate/pkg/port"
)

// Config of a benchmark.
type Config struct {
	// Warmup is how long each scenario runs before it is measured, Duration how long it is measured, Idle how long a server
	// without calls is watched.
	Warmup, Duration, Idle time.Duration
	// Only are the scenarios to run, by name (hello) or by name and clients (hello-64); none: all.
	Only []string
	// Services are what is called, one after the other.
	Services []Services
	// Repeat is how often everything is done, each time with a new server.
	Repeat int

	// Binary is the path of the runtime, Dir the folder that it gets a temporary folder in; its disk is what is measured.
	Binary, Dir string
	// Apart runs each daemon as a process of its own.
	Apart bool
	// Ingress and Meta are the addresses, host:port, of a runtime that runs already, which is measured instead; PIDs are its
	// processes. Without them its use of the machine is not known.
	Ingress, Meta string
	PIDs          []int
	// Peer is the path of a restate-server that is measured too, in turns with the runtime; empty: none. It has handlers only.
	Peer string
	// Profiles is the folder for profiles of the runtime that the benchmark starts; empty: none.
	Profiles string

	// Endpoint is the command that serves the services; which ones and the address to listen on are added as arguments.
	Endpoint []string
	// Progress is told what is measured when that begins.
	Progress func(what string)
}

// Run measures all scenarios. An answer that is wrong or missing is an error.
func Run(ctx context.Context, cfg Config) (Report, error) {
	chosen, err := choose(cfg.Only)
	if err != nil {
		return Report{}, err
	}
	for _, dir := range []string{cfg.Dir, cfg.Profiles} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return Report{}, err
		}
	}
	if cfg.Peer != "" && (slices.Contains(cfg.Services, Protobuf) || cfg.Ingress != "") {
		return Report{}, errors.New("a peer is measured beside a runtime that is started here, with handlers")
	}
	report, err := newReport(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	for repeat := range cfg.Repeat {
		for _, services := range cfg.Services {
			for _, start := range cfg.servers(repeat) {
				measured, err := measureServer(ctx, cfg, start, services, chosen)
				for _, m := range measured {
					m.Repeat = repeat + 1
					report.Measurements = append(report.Measurements, m)
				}
				if err != nil {
					return report, err
				}
			}
		}
	}
	return report, nil
}

// servers returns how to start the servers to be measured, in turns the one first and the other.
func (cfg Config) servers(repeat int) []starter {
	servers := []starter{startRuntime}
	if cfg.Peer != "" {
		servers = append(servers, startPeer)
	}
	if repeat%2 == 1 {
		slices.Reverse(servers)
	}
	return servers
}

// choose returns the scenarios that are named.
func choose(names []string) ([]scenario, error) {
	all := scenarios()
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, s := range all {
		known = append(known, s.name, s.id())
	}
	slices.Sort(known)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(slices.Compact(known), ", "))
		}
	}
	return slices.DeleteFunc(all, func(s scenario) bool {
		return !slices.Contains(names, s.name) && !slices.Contains(names, s.id())
	}), nil
}

// setting is a server and the endpoint behind it.
type setting struct {
	cfg      Config
	server   *server
	services Services
	endpoint *program
}

// measureServer starts a server and the endpoint, and measures the scenarios.
func measureServer(
	ctx context.Context, cfg Config, start starter, services Services, chosen []scenario,
) (measured []Measurement, err error) {
	dir, err := os.MkdirTemp(cfg.Dir, "endpoint-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	address, err := port.Free(ctx)
	if err != nil {
		return nil, err
	}
	endpoint, err := startProgram(dir, "endpoint", nil, slices.Concat(cfg.Endpoint, []string{string(services), address})...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, endpoint.stop()) }()
	s := setting{cfg: cfg, services: services, endpoint: endpoint}
	err = poll(ctx, startTimeout, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, endpoint.tail())
	}
	s.server, err = start(ctx, cfg)
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, s.server.logs())
		}
		err = errors.Join(err, s.server.stop())
	}()
	if err != nil {
		return nil, err
	}
	if err := s.server.register(ctx, services, "http://"+address); err != nil {
		return nil, err
	}
	for _, scenario := range chosen {
		cfg.Progress(s.server.name + ", " + string(services) + ": " + scenario.id())
		m, err := s.measure(ctx, scenario)
		if err != nil {
			return measured, fmt.Errorf("%s: %w", scenario.id(), err)
		}
		measured = append(measured, m)
	}
	return measured, nil
}

// measure measures one scenario.
func (s setting) measure(ctx context.Context, what scenario) (Measurement, error) {
	meter := &meter{server: s.server.pids, endpoint: []int{s.endpoint.cmd.Process.Pid}}
	if what.workload == nil {
		return s.watch(ctx, what, meter)
	}
	work := what.workload(s.services.invoke)
	var profiles profiles
	plan := load.Plan{Clients: what.clients, Warmup: s.cfg.Warmup, Duration: s.cfg.Duration, Ended: meter.end}
	plan.Began = func() error {
		if s.cfg.Profiles != "" {
			profiles.take(ctx, s.server.probes, filepath.Join(s.cfg.Profiles, string(s.services)+"-"+what.id()), s.cfg.Duration)
		}
		return meter.begin()
	}
	result, err := load.Run(ctx, plan, func(number int) (load.Client, error) {
		conn, err := load.Dial(ctx, s.server.ingress)
		if err != nil {
			return nil, err
		}
		return client{Conn: conn, call: work.client(number, conn)}, nil
	})
	if err := errors.Join(err, profiles.wait()); err != nil {
		return Measurement{}, err
	}
	conn, err := load.Dial(ctx, s.server.ingress)
	if err != nil {
		return Measurement{}, err
	}
	if err := errors.Join(work.verify(ctx, conn), conn.Close()); err != nil {
		return Measurement{}, err
	}
	return s.measurement(what, result, *meter), nil
}

// watch measures a server without calls.
func (s setting) watch(ctx context.Context, what scenario, meter *meter) (Measurement, error) {
	if err := meter.begin(); err != nil {
		return Measurement{}, err
	}
	began := time.Now()
	timer := time.NewTimer(s.cfg.Idle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return Measurement{}, ctx.Err()
	}
	elapsed := time.Since(began)
	if err := meter.end(); err != nil {
		return Measurement{}, err
	}
	return s.measurement(what, load.Result{Elapsed: elapsed}, *meter), nil
}

// client is a client of a workload.
type client struct {
	*load.Conn
	call func() error
}

// Call implements load.Client.
func (c client) Call() error { return c.call() }
