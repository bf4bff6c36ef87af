// Package meta is the daemon that registers service endpoints, and lets operators look at and act on the runtime.
package meta

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

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/daemon"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/health"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/discovery"
	"github.com/restate-go/restate/services/meta/internal/operations"
	"github.com/restate-go/restate/services/meta/internal/rest"
	"github.com/restate-go/restate/services/meta/internal/workers"
)

// Deps are the daemon's ways out.
type Deps struct {
	Conn     *broker.Conn
	Listener net.Listener
	// Checks takes the conditions for the daemon being ready.
	Checks *health.Checks
	// Probes serves /health, /ready and /metrics.
	Probes  http.Handler
	Metrics prometheus.Registerer
	Log     *slog.Logger
	// Version is the release that is told to clients.
	Version string
}

// Service is the daemon.
type Service struct {
	cfg      Config
	deps     Deps
	registry *schema.Registry
	writer   *schema.Writer
	orders   *operations.Client
	handler  http.Handler
	// limited says that the limits are in the registry.
	limited *atomic.Bool
}

// New puts the daemon together; Run makes it work.
func New(cfg Config, deps Deps) (*Service, error) {
	if cfg.ConcurrencyLimit < 1 {
		return nil, errcode.New(errcode.BadConfiguration, "meta.concurrency_limit is %d, and has to be 1 or more", cfg.ConcurrencyLimit)
	}
	transport, err := endpoint.NewTransport(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("connections to service endpoints: %w", err)
	}
	signer, err := endpoint.NewSigner(cfg.Endpoint)
	if err != nil {
		return nil, errcode.Wrap(errcode.BadConfiguration, err)
	}
	if signer.PublicKey() != "" {
		deps.Log.Info("requests to service endpoints are signed", "public_key", signer.PublicKey())
	}
	registry, err := schema.Watch(deps.Conn, deps.Log)
	if err != nil {
		return nil, err
	}
	writer := schema.NewWriter(deps.Conn)
	orders := operations.New(deps.Conn, uuid.NewString(), deps.Log)
	api := &rest.API{
		Conn:       deps.Conn,
		Registry:   registry,
		Writer:     writer,
		Discovery:  discovery.New(cfg.Discovery, transport, signer),
		Workers:    workers.New(deps.Conn),
		Operations: orders,
		Version:    deps.Version,
		Ingress:    cfg.AdvertisedIngress,
		Probes:     deps.Probes,
		Metrics:    deps.Metrics,
		Log:        deps.Log,
	}
	handler, err := rest.NewHandler(api, cfg.ConcurrencyLimit)
	if err != nil {
		return nil, err
	}
	limited := &atomic.Bool{}
	deps.Checks.Add("meta", func(context.Context) error {
		if !registry.Ready() || !limited.Load() {
			return errors.New("the registry has not been read yet")
		}
		return orders.Healthy()
	})
	return &Service{cfg: cfg, deps: deps, registry: registry, writer: writer, orders: orders, handler: handler, limited: limited}, nil
}

// limitPause is how long meta waits before it tries again to write the limits.
const limitPause = 500 * time.Millisecond

// limit puts the limits of the configuration into the registry.
func (s *Service) limit(ctx context.Context) error {
	for {
		snapshot, err := s.writer.Limit(ctx, s.cfg.limits())
		if err == nil {
			err = s.registry.WaitFor(ctx, snapshot.Revision())
		}
		if err == nil {
			s.limited.Store(true)
			return nil
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the context ended: that is how it is stopped
		}
		s.deps.Log.Warn("the limits of services cannot be written to the registry, trying again", "error", err)
		s.deps.Conn.Pause(ctx, limitPause)
	}
}

// Limits of the HTTP server.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 2 * time.Minute
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 15 * time.Second // a registration takes discovery.timeout and some
)

// Run works until the context ends, then refuses new requests and waits for those in progress.
func (s *Service) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
	}
	s.deps.Log.Info("meta takes requests", "address", s.deps.Listener.Addr().String())
	return daemon.Server{
		HTTP: server, Listener: s.deps.Listener, DrainTimeout: drainTimeout, Log: s.deps.Log,
		Beside: []func(context.Context) error{s.registry.Run, s.orders.Run, s.limit},
	}.Run(ctx)
}
