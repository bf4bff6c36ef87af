// Package storagereader is the daemon that hands out what a partition-worker stores, row by row, without the worker
// noticing.
package storagereader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/daemon"
	"github.com/restate-go/restate/pkg/health"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"

	"github.com/restate-go/restate/services/storage-reader/internal/database"
)

// Deps are the daemon's ways out.
type Deps struct {
	// BaseDir is that of the worker; the database is in its folder db.
	BaseDir  string
	Conn     *broker.Conn
	Listener net.Listener
	// Checks takes the conditions for the daemon being ready.
	Checks *health.Checks
	// Probes serves /health, /ready and /metrics.
	Probes  http.Handler
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// Service is the daemon.
type Service struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	// slots has a place for each scan in progress.
	slots chan struct{}
	// database is nil until the layout is known.
	database atomic.Pointer[database.Database]
}

// New checks the configuration. Run does the work.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, deps: deps, slots: make(chan struct{}, cfg.ConcurrencyLimit)}
	var err error
	if s.metrics, err = newMetrics(deps.Metrics, func() float64 { return float64(len(s.slots)) }); err != nil {
		return nil, fmt.Errorf("register figures: %w", err)
	}
	deps.Checks.Add("storage-reader", func(context.Context) error { return s.ready() })
	return s, nil
}

var errNoLayout = errors.New("waiting for a partition-worker to lay out the cluster")

func (s *Service) ready() error {
	if db := s.database.Load(); db != nil {
		return db.Ready()
	}
	return errNoLayout
}

// Limits of the HTTP server.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 5 * time.Minute
	maxHeaderBytes = 64 << 10
	// pingAfter is how long a connection may be silent before the peer is asked whether it is still there.
	pingAfter = 30 * time.Second
	// drainTimeout is how long scans in progress are waited for at shutdown.
	drainTimeout = 5 * time.Second
)

func (s *Service) newServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           s.newHandler(),
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: pingAfter},
		ErrorLog:          slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
	}
}

// Run serves until the context ends, then refuses new scans and waits for those in progress, for a while.
func (s *Service) Run(ctx context.Context) error {
	s.deps.Log.Info("the storage-reader takes requests", "address", s.deps.Listener.Addr().String())
	return daemon.Server{
		HTTP: s.newServer(), Listener: s.deps.Listener, DrainTimeout: drainTimeout, Log: s.deps.Log,
		Beside: []func(context.Context) error{s.runDatabase},
	}.Run(ctx)
}

// runDatabase waits until the cluster has been laid out, and keeps its database at hand.
func (s *Service) runDatabase(ctx context.Context) error {
	layout, err := membership.Layout(ctx, s.deps.Conn)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the context ended: that is how it is stopped
	}
	if err != nil {
		return err
	}
	options := rocks.DefaultOptions()
	options.BlockCacheBytes = s.cfg.BlockCacheBytes
	db := database.New(database.Config{
		Dir: filepath.Join(s.deps.BaseDir, "db"), LogDir: filepath.Join(s.deps.BaseDir, "storage-reader"),
		Layout: layout, Options: options, Log: s.deps.Log,
	})
	s.database.Store(db)
	return db.Run(ctx)
}
