package partitionworker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/partition-worker/internal/embedded"
	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
	"github.com/restate-go/restate/services/partition-worker/internal/leadership"
	"github.com/restate-go/restate/services/partition-worker/internal/partition"
)

// partitions puts together what this worker has of each partition.
func (s *Service) partitions(
	ctx context.Context, nodeID string, layout keyspace.Layout, store kv.Store, registry *schema.Registry,
) ([]*member, error) {
	transport, err := endpoint.NewTransport(s.cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("connections to service endpoints: %w", err)
	}
	signer, err := endpoint.NewSigner(s.cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	partitionMetrics := partition.NewMetrics(s.deps.Registerer)
	invokerMetrics := invoker.NewMetrics(s.deps.Registerer)
	members := make([]*member, layout.Partitions)
	for i := range layout.Partitions {
		if err := cmdlog.EnsureStream(ctx, s.deps.Conn, i); err != nil {
			return nil, fmt.Errorf("open the log of partition %d: %w", i, err)
		}
		space, err := store.Space(i)
		if err != nil {
			return nil, fmt.Errorf("open partition %d: %w", i, err)
		}
		candidate := membership.NewCandidate(s.deps.Conn, i, nodeID, s.deps.Log)
		led := leadership.New(leadership.Config{
			Partition:   i,
			Layout:      layout,
			NodeID:      nodeID,
			TimerWindow: s.cfg.TimerWindow,
			Invoker:     s.cfg.Invoker,
			Embedded:    embedded.DefaultConfig(),
		}, leadership.Deps{
			Conn:           s.deps.Conn,
			Space:          space,
			Schema:         registry.Current,
			Transport:      transport.To,
			Signer:         signer,
			InvokerMetrics: invokerMetrics,
			Tracer:         s.deps.Tracer,
			Log:            s.deps.Log,
			Now:            s.deps.Now,
			Campaign:       func(ctx context.Context) (leadership.Lease, error) { return candidate.Campaign(ctx) },
		})
		if err := led.Register(s.deps.Registerer); err != nil {
			return nil, err
		}
		members[i] = &member{
			space:      space,
			leadership: led,
			processor: partition.New(
				partition.Config{Partition: i, Layout: layout, TrimAfterBytes: s.cfg.LogTrimBytes.Uint64()},
				partition.Deps{
					Conn: s.deps.Conn, Space: space, Observer: led, Log: s.deps.Log, Metrics: partitionMetrics,
				},
			),
		}
	}
	return members, nil
}

// readiness says whether the daemon has caught up. It answers from any goroutine, before and while Run works.
type readiness struct{ watched atomic.Pointer[watched] }

type watched struct {
	registry *schema.Registry
	members  []*member
}

func (r *readiness) watch(registry *schema.Registry, members []*member) {
	r.watched.Store(&watched{registry, members})
}

func (r *readiness) check() error {
	w := r.watched.Load()
	if w == nil {
		return errors.New("the worker is starting")
	}
	if !w.registry.Ready() {
		return errors.New("the registry has not been read yet")
	}
	for i, m := range w.members {
		if err := m.processor.Ready(); err != nil {
			return err
		}
		if m.processor.LeaderEpoch() == 0 {
			return fmt.Errorf("partition %d has no leader yet", i)
		}
	}
	return nil
}
