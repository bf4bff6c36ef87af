// Package leadership decides whether this worker leads a partition, and does the leader's work while it does: campaign
// for the lease, announce through the log, act once the announcement is applied, step down when the lease is lost or
// somebody else has announced.
package leadership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/partition-worker/internal/embedded"
	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
	"github.com/restate-go/restate/services/partition-worker/internal/partition"
	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// Config of a partition's leadership.
type Config struct {
	Partition uint32
	Layout    keyspace.Layout
	NodeID    string
	// TimerWindow is how many timers are kept in memory.
	TimerWindow int
	Invoker     invoker.Config
	Embedded    embedded.Config
}

// Deps are the ways out.
type Deps struct {
	Conn           *broker.Conn
	Space          kv.Space
	Schema         func() *schema.Snapshot
	Transport      invoker.Transport
	Signer         *endpoint.Signer
	InvokerMetrics *invoker.Metrics
	Tracer         trace.Tracer
	Log            *slog.Logger
	Now            func() time.Time
	// Campaign waits until this worker has the lease of the partition, or the context ends. It is not called again
	// before the lease is released.
	Campaign func(ctx context.Context) (Lease, error)
}

// Lease is the right to lead the partition.
type Lease interface {
	// Lost is closed when the lease is no longer held.
	Lost() <-chan struct{}
	// Release gives the lease up.
	Release()
}

// Leadership of one partition. It observes the partition's processor.
type Leadership struct {
	cfg  Config
	deps Deps

	mu sync.Mutex
	// announced is the epoch of this worker's last announcement, 0 before the first.
	announced uint64
	// leader is set while this worker leads.
	leader  *leader
	elected chan *leader
	deposed chan error
	// applied is what has been committed, for announcements that were not heeded.
	applied uint64
	changed chan struct{}
}

// New returns the leadership of a partition; it has to observe the partition's processor before that runs.
func New(cfg Config, deps Deps) *Leadership {
	deps.Log = deps.Log.With("partition", cfg.Partition)
	return &Leadership{
		cfg: cfg, deps: deps,
		elected: make(chan *leader, 1), deposed: make(chan error, 1), changed: make(chan struct{}, 1),
	}
}

// Invoker returns the invoker of the current leader, nil when this worker does not lead.
func (l *Leadership) Invoker() *invoker.Invoker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader == nil {
		return nil
	}
	return l.leader.invoker
}

// Committed implements partition.Observer.
func (l *Leadership) Committed(applied uint64, actions []statemachine.Action) {
	l.mu.Lock()
	l.applied = applied
	signal(l.changed)
	changed := false
	for _, action := range actions {
		if change, ok := action.(statemachine.LeaderChanged); ok {
			changed = true
			l.change(change)
		}
	}
	leader := l.leader
	l.mu.Unlock()
	// A new leader has taken everything, the actions of this commit included, from the committed state.
	if leader != nil && !changed {
		leader.carryOut(applied, actions)
	}
}

// Embedded returns the host of the current leader, nil when this worker does not lead.
func (l *Leadership) Embedded() *embedded.Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader == nil {
		return nil
	}
	return l.leader.embedded
}

// Lapsed implements partition.Observer. What the leader had to do is known from the state alone, so another term begins.
func (l *Leadership) Lapsed(applied uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied = applied
	signal(l.changed)
	l.depose(errLapsed)
}

var (
	errReplaced = errors.New("another leader has been announced")
	errLapsed   = errors.New("batches were committed unnoticed")
	errNoState  = errors.New("the state to lead from could not be had")
)

// depose ends the term of the leader, if there is one. The lock is held.
func (l *Leadership) depose(reason error) {
	if l.leader == nil {
		return
	}
	l.leader = nil
	select {
	case l.deposed <- reason:
	default:
	}
}

func (l *Leadership) change(change statemachine.LeaderChanged) {
	l.depose(errReplaced)
	if change.NodeID != l.cfg.NodeID || change.Epoch != l.announced {
		return
	}
	elected, err := l.rebuild(change.Epoch)
	if err != nil {
		l.deps.Log.Error("cannot lead: reading the state failed", "error", err)
		return
	}
	l.leader = elected
	// Nobody may have waited for the one before; only this goroutine sends, so there is room afterwards.
	select {
	case <-l.elected:
	default:
	}
	l.elected <- elected
}

// rebuild makes a leader that knows all that is to be done according to the committed state.
func (l *Leadership) rebuild(epoch uint64) (*leader, error) {
	meta, err := storage.GetMeta(l.deps.Space)
	if err != nil {
		return nil, err
	}
	elected := newLeader(l.cfg, l.deps, epoch, meta.GetFirstOutboxSequence())
	elected.proposals.advance(l.applied)
	return elected, statemachine.PendingRuns(l.deps.Space, func(a statemachine.StartInvocation) {
		// The clients of embedded handlers come by themselves.
		if a.ClientStream == "" {
			elected.start(a)
		}
	})
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	campaignPause = 500 * time.Millisecond
	// firstReadyPause is short: after a restart there is little in the log that has not been applied.
	firstReadyPause = 10 * time.Millisecond
)

// Run campaigns and leads until the context ends.
func (l *Leadership) Run(ctx context.Context, processor *partition.Processor) error {
	for ctx.Err() == nil {
		if err := l.term(ctx, processor); err != nil && ctx.Err() == nil {
			l.deps.Log.Warn("leadership ended", "error", err)
		}
		pause(ctx, campaignPause)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// term is one time of leading, from the campaign to the end.
func (l *Leadership) term(ctx context.Context, processor *partition.Processor) error {
	for wait := firstReadyPause; processor.Ready() != nil; wait = min(2*wait, campaignPause) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.changed:
		case <-time.After(wait):
		}
	}
	lease, err := l.deps.Campaign(ctx)
	if err != nil {
		return fmt.Errorf("campaign for the lease: %w", err)
	}
	defer lease.Release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		l.mu.Lock()
		l.leader = nil
		l.mu.Unlock()
	}()
	select {
	case <-l.deposed: //nolint:errcheck // it ended the term before
	default:
	}
	elected, err := l.announce(ctx, processor, lease)
	if err != nil {
		return err
	}
	l.deps.Log.Info("leading", "epoch", elected.epoch)
	done := make(chan error, 1)
	go func() { done <- elected.run(ctx) }()
	select {
	case err = <-done:
		return err
	case err = <-l.deposed:
	case <-lease.Lost():
		err = errors.New("the lease was lost")
	case <-ctx.Done():
		err = ctx.Err()
	}
	cancel()
	<-done // what it was stopped for is the error
	return err
}

// announce appends announcements until one makes this worker the leader.
func (l *Leadership) announce(ctx context.Context, processor *partition.Processor, lease Lease) (*leader, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	appender := cmdlog.NewAppender(l.deps.Conn, cmdlog.AppenderConfig{
		Partition: l.cfg.Partition,
		Producer:  "announce/" + l.cfg.NodeID,
		Clock:     l.deps.Now,
	}, l.deps.Log)
	stopped := make(chan error, 1)
	go func() { stopped <- appender.Run(ctx) }()
	defer func() { cancel(); <-stopped }()
	for {
		l.mu.Lock()
		l.announced = max(l.announced, processor.LeaderEpoch()) + 1
		epoch := l.announced
		l.mu.Unlock()
		// The epoch is also the sequence: it grows, and a repeated announcement is the same one.
		lsn, err := appender.AppendWait(ctx, &logv1.Record{
			Sequence: epoch,
			Command: &logv1.Record_AnnounceLeader{AnnounceLeader: &logv1.AnnounceLeader{
				LeaderEpoch: epoch, NodeId: l.cfg.NodeID,
			}},
		})
		if err != nil {
			return nil, fmt.Errorf("announce epoch %d: %w", epoch, err)
		}
		for {
			l.mu.Lock()
			applied := l.applied
			l.mu.Unlock()
			select {
			case elected := <-l.elected:
				if elected.epoch == epoch {
					return elected, nil
				}
				continue
			default:
			}
			if applied >= lsn {
				break
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-lease.Lost():
				return nil, errors.New("the lease was lost")
			case <-l.changed:
			}
		}
		last, err := storage.GetMeta(l.deps.Space)
		if err != nil {
			return nil, fmt.Errorf("read who leads: %w", err)
		}
		if last.GetLeaderEpoch() == epoch && last.GetLeaderNodeId() == l.cfg.NodeID {
			return nil, errNoState
		}
		// Another worker's epoch is higher, or is the same and came first.
	}
}
