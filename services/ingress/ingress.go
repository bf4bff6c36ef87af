// Package ingress is the daemon that takes requests from outside: gRPC, gRPC-Web, Connect, and plain HTTP for handlers of
// bytes, on one port.
package ingress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/health"
	"github.com/restate-go/restate/services/ingress/internal/admission"
)

// Deps are the daemon's ways out.
type Deps struct {
	Conn *broker.Conn
	// Listener is the port for clients, see Listen. Run closes it.
	Listener net.Listener
	// Checks gets the daemon's conditions of being ready.
	Checks *health.Checks
	// Probes serves /health, /ready and /metrics.
	Probes  http.Handler
	Metrics prometheus.Registerer
	// Tracer records the daemon's spans.
	Tracer trace.Tracer
	Log    *slog.Logger
}

// Service is the daemon.
type Service struct {
	cfg  Config
	deps Deps
	// id names this process to the workers. A restarted ingress is another one: results for the old go nowhere.
	id string
	// opened is nil until the daemon has what it needs to serve.
	opened  atomic.Pointer[opened]
	gate    *admission.Gate
	handler http.Handler
}

// New checks the configuration. Run does the work.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, deps: deps, id: uuid.NewString(), gate: admission.NewGate(int64(cfg.ConcurrencyLimit))}
	s.handler = s.newHandler()
	deps.Checks.Add("ingress", func(context.Context) error {
		if s.opened.Load() == nil {
			return errors.New("waiting for the broker, the layout and the registry")
		}
		return nil
	})
	return s, nil
}

// Run serves until the context ends, then refuses new requests and waits for those in progress.
func (s *Service) Run(ctx context.Context) error {
	server := s.newServer()
	// What serves the requests in progress outlives the context until they are drained.
	lasting, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	group, lasting := errgroup.WithContext(lasting)
	group.Go(func() error {
		if err := server.Serve(s.deps.Listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve requests: %w", err)
		}
		return nil
	})
	starting, stop := context.WithCancel(lasting)
	defer stop()
	ended := context.AfterFunc(ctx, stop)
	defer ended()
	backend, err := s.start(starting, func(run func(context.Context) error) {
		group.Go(func() error { return run(lasting) })
	})
	switch {
	case err != nil && ctx.Err() == nil && lasting.Err() == nil:
		err = fmt.Errorf("start the ingress: %w", err)
	case err != nil:
		err = nil // told to stop before it had started, or the group says why it failed
	default:
		s.deps.Log.Info("the ingress takes requests", "address", s.deps.Listener.Addr().String(), "ingress", s.id)
		select {
		case <-ctx.Done():
		case <-lasting.Done():
		}
	}
	s.drain(context.WithoutCancel(ctx), server, backend)
	release()
	return errors.Join(err, group.Wait())
}

// drain refuses new requests, waits for those in progress, and gives up on them after a while.
func (s *Service) drain(ctx context.Context, server *http.Server, backend *backend) {
	s.gate.Close()
	if backend != nil {
		backend.relay.Stop()
	}
	patience, cancel := context.WithTimeout(ctx, time.Duration(s.cfg.DrainTimeout))
	defer cancel()
	if server.Shutdown(patience) == nil {
		return
	}
	if backend != nil {
		s.deps.Log.Warn("requests are still in progress, answering that the ingress stops",
			"requests", backend.dispatcher.Pending(), "after", s.cfg.DrainTimeout)
		backend.dispatcher.Close()
	}
	const farewell = time.Second
	last, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	if server.Shutdown(last) != nil {
		_ = server.Close()
	}
}
