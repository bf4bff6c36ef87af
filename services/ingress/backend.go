package ingress

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/services/ingress/internal/relay"
)

// backend is what the ingress has of the rest of the cluster.
type backend struct {
	registry   *schema.Registry
	dispatcher *dispatch.Dispatcher
	relay      *relay.Relay
}

// spawner starts what serves requests, with a context that lasts until they are drained.
type spawner func(run func(ctx context.Context) error)

// start waits until the ingress can serve, and spawns what it takes.
func (s *Service) start(ctx context.Context, spawn spawner) (*backend, error) {
	layout, err := membership.Layout(ctx, s.deps.Conn)
	if err != nil {
		return nil, err
	}
	logs, err := s.openLogs(ctx, layout, spawn)
	if err != nil {
		return nil, err
	}
	registry, err := schema.Watch(s.deps.Conn, s.deps.Log)
	if err != nil {
		return nil, fmt.Errorf("watch the registry: %w", err)
	}
	spawn(registry.Run)
	spawn(func(ctx context.Context) error { return schema.ServeSync(ctx, s.deps.Conn, registry) })
	dispatcher := dispatch.New(s.id, layout, logs)
	receive, err := dispatcher.Subscribe(s.deps.Conn.NC, s.deps.Log)
	if err != nil {
		return nil, err
	}
	spawn(receive)
	b := &backend{
		registry:   registry,
		dispatcher: dispatcher,
		relay: relay.New(layout, func(ctx context.Context, partition uint32) (membership.Node, error) {
			return membership.Leader(ctx, s.deps.Conn, partition)
		}),
	}
	spawn(func(ctx context.Context) error {
		<-ctx.Done()
		b.relay.Close()
		return nil
	})
	if err := s.open(ctx, b); err != nil {
		return nil, err
	}
	// Registrations wait for the ingresses that are announced, so this comes last.
	spawn(func(ctx context.Context) error {
		node := membership.Node{ID: s.id, Role: membership.RoleIngress}
		return membership.Announce(ctx, s.deps.Conn, node, s.deps.Log)
	})
	return b, nil
}

// logPatience is how long a broker may leave requests without an answer before their callers are told. It is more than
// a restart of the broker takes.
const logPatience = 20 * time.Second

// openLogs starts an appender for each partition.
func (s *Service) openLogs(ctx context.Context, layout keyspace.Layout, spawn spawner) ([]dispatch.Log, error) {
	logs := make([]dispatch.Log, layout.Partitions)
	for partition := range layout.Partitions {
		if err := cmdlog.EnsureStream(ctx, s.deps.Conn, partition); err != nil {
			return nil, err
		}
		appender := cmdlog.NewAppender(s.deps.Conn, cmdlog.AppenderConfig{
			Partition: partition, Producer: s.id, Patience: logPatience,
		}, s.deps.Log)
		if err := s.deps.Metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "restate_ingress_log_queued_bytes",
			Help:        "Size of the records that wait for the log, by partition.",
			ConstLabels: prometheus.Labels{"partition": strconv.FormatUint(uint64(partition), 10)},
		}, func() float64 { return float64(appender.QueuedBytes()) })); err != nil {
			return nil, err
		}
		spawn(appender.Run)
		s.deps.Checks.Add(fmt.Sprintf("log of partition %d", partition), func(context.Context) error {
			return appender.Healthy()
		})
		logs[partition] = appender
	}
	return logs, nil
}
