package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/daemon"
	"github.com/restate-go/restate/pkg/health"
	"github.com/restate-go/restate/pkg/ownership"
	"github.com/restate-go/restate/pkg/telemetry"
)

// Run runs the daemons until the context ends, a signal asks for the end, or one of them fails, and returns the error of
// the latter. After daemon.ErrInterrupted the program has to exit at once.
func (p *Process) Run(ctx context.Context, log *slog.Logger) error {
	chosen, err := p.chosen()
	if err != nil {
		return err
	}
	if err := ownership.Take(p.settings.BaseDir); err != nil {
		return fmt.Errorf("base_dir: %w", err)
	}
	collectSeldom()
	if err := os.MkdirAll(p.settings.BaseDir, 0o750); err != nil {
		return fmt.Errorf("base_dir: %w", err)
	}
	tracing, err := telemetry.NewTracing(ctx, p.telemetry.Tracing, p.name, p.version)
	if err != nil {
		return err
	}
	// The exporter reports to the library's only handler, which would write past the log.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are lost", "error", err) }))

	checks := &health.Checks{}
	metrics := telemetry.NewRegistry()
	probes := health.Handler(checks, metrics)
	starting := errors.New("starting")
	checks.Add("start", func(context.Context) error { return starting })

	group := daemon.NewGroup(ctx, daemon.Config{
		GracePeriod: time.Duration(p.settings.ShutdownGracePeriod), Stopping: checks.Drain,
	}, log)
	fail := func(err error) error {
		group.Fail(err)
		return group.Wait()
	}
	server, err := health.Listen(group.Context(), p.probes, p.withProfiles(probes), log)
	if err != nil {
		return fail(err)
	}
	log.Info("started", "version", p.version, "pid", os.Getpid(), "probes", "http://"+server.Addr())
	group.Start(daemon.Component{Name: "probes", Run: server.Run}, onStop("traces", tracing.Shutdown))

	conn, err := p.connect(group, checks, metrics, log)
	if err != nil {
		return fail(err)
	}
	stages := map[bool][]daemon.Component{}
	for _, d := range chosen {
		service, err := d.New(group.Context(), Runtime{
			BaseDir: p.settings.BaseDir, Conn: conn, Log: log.With("daemon", d.Name), Checks: checks,
			Metrics: labelled{prometheus.WrapRegistererWith(prometheus.Labels{"daemon": d.Name}, metrics), metrics},
			Tracer:  tracing.Tracer("restate/" + d.Name), Probes: probes, Now: time.Now, Version: p.version,
		})
		if err != nil {
			return fail(fmt.Errorf("%s: %w", d.Name, err))
		}
		stages[d.Edge] = append(stages[d.Edge], daemon.Component{Name: d.Name, Run: service.Run})
	}
	checks.Add("start", func(context.Context) error { return nil })
	group.Start(stages[false]...)
	group.Start(stages[true]...)
	group.Start(daemon.Component{Name: "greeting", Run: func(ctx context.Context) error {
		p.greet(ctx, checks, chosen, log)
		return nil
	}})
	err = group.Wait()
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// collectSeldom lets the heap grow to two and a half times of what is in use before it is collected, unless GOGC says
// otherwise. What is in use is little beside what each call allocates: with the default of Go, collecting takes a tenth of
// the time; with three times in place of this, a hundredth or so less, for a tenth more memory.
func collectSeldom() {
	const usual, percent = 100, 150
	if configured := debug.SetGCPercent(percent); configured != usual {
		debug.SetGCPercent(configured)
	}
}

// withProfiles adds profiles to the probes, if they are configured.
func (p *Process) withProfiles(probes http.Handler) http.Handler {
	if !p.telemetry.Pprof {
		return probes
	}
	mux := http.NewServeMux()
	mux.Handle("/", probes)
	mux.Handle("/debug/pprof/", telemetry.Profiles())
	return mux
}

// labelled registers with labels that tell the daemons of a process apart.
type labelled struct {
	prometheus.Registerer
	prometheus.Gatherer
}

// connect starts the broker if it is to run here, and waits for it, wherever it runs.
func (p *Process) connect(
	group *daemon.Group, checks *health.Checks, metrics prometheus.Registerer, log *slog.Logger,
) (*broker.Conn, error) {
	var embedded *broker.Server
	if p.embedsBroker() {
		started, err := broker.StartServer(group.Context(), p.server, log)
		if err != nil {
			return nil, err
		}
		embedded = started
		group.Start(onStop("broker", func(context.Context) error { started.Close(); return nil }))
		checks.Add("disk of the broker", func(context.Context) error { return started.Ready() })
		if err := started.Register(prometheus.WrapRegistererWith(prometheus.Labels{"daemon": targetBroker}, metrics)); err != nil {
			return nil, err
		}
		if p.server.BindAddress != "" {
			log.Info("the broker listens", "url", started.URL())
		}
	}
	conn, err := broker.Connect(group.Context(), embedded, p.client, p.name, log)
	if err != nil {
		return nil, err
	}
	group.Start(onStop("connection to the broker", func(context.Context) error { conn.Close(); return nil }))
	if err := conn.CheckPayload(); err != nil {
		return nil, err
	}
	group.Start(daemon.Component{Name: "payload of the broker", Run: conn.WatchPayload})
	if err := conn.CheckDurability(group.Context(), p.client, log); err != nil {
		return nil, err
	}
	checks.Add("broker", func(context.Context) error {
		if !conn.NC.IsConnected() {
			return errors.New("there is no connection to the broker at present")
		}
		return nil
	})
	return conn, nil
}

// onStop is a component that does nothing until it is stopped.
func onStop(name string, stop func(context.Context) error) daemon.Component {
	return daemon.Component{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		return stop(context.WithoutCancel(ctx))
	}}
}

const (
	greetPoll = 50 * time.Millisecond
	// waitingLog is how often the log says what the process waits for.
	waitingLog = 10 * time.Second
)

// greet logs where to send what as soon as the process is ready, and what is missing until then.
func (p *Process) greet(ctx context.Context, checks *health.Checks, daemons []Daemon, log *slog.Logger) {
	poll := time.NewTicker(greetPoll)
	defer poll.Stop()
	for said := time.Now(); ; {
		failing := checks.Failing(ctx)
		if len(failing) == 0 {
			break
		}
		if time.Since(said) > waitingLog {
			said = time.Now()
			var reasons []string
			for _, name := range slices.Sorted(maps.Keys(failing)) {
				reasons = append(reasons, name+": "+failing[name].Error())
			}
			log.Info("not ready yet", "waiting", strings.Join(reasons, "; "))
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
	log.Info("ready", "data", p.settings.BaseDir)
	for _, d := range daemons {
		if d.Address == nil {
			continue
		}
		if address := reachable(d.Address()); address != "" {
			log.Info("send "+d.Purpose, "to", address)
		}
	}
	<-ctx.Done()
}
