// Package partitionworker is the daemon that owns the database: it applies the partitions' logs, and runs the
// invocations of the partitions that it leads.
package partitionworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"

	"github.com/restate-go/restate/services/partition-worker/internal/embedded"
	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
	"github.com/restate-go/restate/services/partition-worker/internal/leadership"
	"github.com/restate-go/restate/services/partition-worker/internal/partition"
	"github.com/restate-go/restate/services/partition-worker/internal/query"
)

// Deps are the daemon's ways out.
type Deps struct {
	// BaseDir is the directory that all data lies below; the database is in its folder db.
	BaseDir string
	Conn    *broker.Conn
	Log     *slog.Logger
	// Registerer takes the daemon's figures.
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
	Now        func() time.Time
}

// Service is the daemon.
type Service struct {
	cfg   Config
	deps  Deps
	ready readiness
}

// New checks the configuration. It opens nothing: Run does.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, deps: deps}, nil
}

// Ready returns nil once every partition has applied what its log held at the start, and is led by some worker.
func (s *Service) Ready() error { return s.ready.check() }

// Run works until the context ends.
func (s *Service) Run(ctx context.Context) (err error) {
	layout, err := membership.EnsureLayout(ctx, s.deps.Conn, s.cfg.Partitions)
	if err != nil {
		return fmt.Errorf("agree on the partitions: %w", err)
	}
	store, err := rocks.Open(filepath.Join(s.deps.BaseDir, "db"), layout.Partitions, s.cfg.Storage)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	id, err := store.ID()
	if err != nil {
		return err
	}
	nodeID := membership.WorkerID(id)
	registry, err := schema.Watch(s.deps.Conn, s.deps.Log)
	if err != nil {
		return fmt.Errorf("watch the registry: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.BindAddress)
	if err != nil {
		return errcode.Wrap(errcode.CannotBind, fmt.Errorf("listen for queries (worker.bind_address): %w", err))
	}
	members, err := s.partitions(ctx, nodeID, layout, store, registry)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.ready.watch(registry, members)

	queried, hosted := make([]query.Partition, len(members)), make([]embedded.Partition, len(members))
	for i, m := range members {
		queried[i], hosted[i] = m, m
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return registry.Run(ctx) })
	group.Go(func() error {
		return serve(ctx, listener, query.New(layout, queried), embedded.NewService(layout, hosted))
	})
	group.Go(func() error {
		return membership.Announce(ctx, s.deps.Conn, membership.Node{
			ID: nodeID, Role: membership.RoleWorker, GRPCAddr: s.cfg.advertised(listener.Addr()),
			Timeouts: &membership.Timeouts{
				Inactivity: time.Duration(s.cfg.Invoker.InactivityTimeout), Abort: time.Duration(s.cfg.Invoker.AbortTimeout),
			},
		}, s.deps.Log)
	})
	for _, m := range members {
		group.Go(func() error { return m.processor.Run(ctx) })
		group.Go(func() error { return m.processor.RunTrimmer(ctx) })
		group.Go(func() error { return m.leadership.Run(ctx, m.processor) })
	}
	return group.Wait()
}

// member is all that this worker has of one partition.
type member struct {
	space      kv.Space
	processor  *partition.Processor
	leadership *leadership.Leadership
}

// Invoker implements query.Partition.
func (m *member) Invoker() *invoker.Invoker { return m.leadership.Invoker() }

// Embedded implements embedded.Partition.
func (m *member) Embedded() *embedded.Host { return m.leadership.Embedded() }

// State implements query.Partition.
func (m *member) State() kv.Space { return m.space }
