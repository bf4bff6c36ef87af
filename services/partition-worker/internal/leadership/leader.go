package leadership

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"

	"github.com/restate-go/restate/services/partition-worker/internal/embedded"
	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
	"github.com/restate-go/restate/services/partition-worker/internal/shuffle"
	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
	"github.com/restate-go/restate/services/partition-worker/internal/timers"
)

// leader does what follows from a partition's state, for as long as one epoch lasts.
type leader struct {
	cfg       Config
	epoch     uint64
	appender  *cmdlog.Appender
	proposals *proposals
	invoker   *invoker.Invoker
	embedded  *embedded.Host
	timers    *timers.Timers
	shuffle   *shuffle.Shuffle[destination]
}

func newLeader(cfg Config, deps Deps, epoch, outboxHead uint64) *leader {
	l := &leader{cfg: cfg, epoch: epoch, proposals: &proposals{}}
	l.appender = cmdlog.NewAppender(deps.Conn, cmdlog.AppenderConfig{
		Partition:   cfg.Partition,
		Producer:    statemachine.LeaderProducer,
		LeaderEpoch: epoch,
		Clock:       deps.Now,
	}, deps.Log)
	l.invoker = invoker.New(cfg.Invoker, invoker.Deps{
		Source:    source{deps.Space},
		Proposer:  l,
		Schema:    deps.Schema,
		Transport: deps.Transport,
		Signer:    deps.Signer,
		Log:       deps.Log,
		Metrics:   deps.InvokerMetrics,
		Tracer:    deps.Tracer,
		Now:       deps.Now,
	})
	l.embedded = embedded.New(cfg.Embedded, embedded.Deps{
		State:   deps.Space,
		Propose: l.proposeAndApply,
		Schema:  deps.Schema,
		Bounds:  cfg.Invoker.JournalBounds(),
		Log:     deps.Log,
		Now:     deps.Now,
	})
	l.timers = timers.New(timers.Config{Window: cfg.TimerWindow}, timers.Deps{
		State: deps.Space,
		Fire: func(ctx context.Context, key []byte) error {
			return l.propose(ctx, &logv1.Record{Command: &logv1.Record_TimerFired{TimerFired: &logv1.TimerFired{Key: key}}})
		},
		Now: deps.Now,
	})
	l.shuffle = shuffle.New(outboxHead, shuffle.Deps[destination]{
		State: deps.Space,
		Route: l.route,
		Open:  func(name destination) shuffle.Destination { return open(cfg, deps, name) },
		Truncate: func(ctx context.Context, through uint64) error {
			return l.propose(ctx, &logv1.Record{Command: &logv1.Record_TruncateOutbox{
				TruncateOutbox: &logv1.TruncateOutbox{Through: through},
			}})
		},
		Log: deps.Log,
	})
	return l
}

// run works until the context ends or a part of the leader fails.
func (l *leader) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.appender.Run(ctx) })
	group.Go(func() error { return l.invoker.Run(ctx) })
	group.Go(func() error { return l.timers.Run(ctx) })
	group.Go(func() error { return l.shuffle.Run(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		l.proposals.close()
		l.embedded.Close()
		return nil
	})
	return group.Wait()
}

// propose appends a record and does not wait for it.
func (l *leader) propose(ctx context.Context, record *logv1.Record) error {
	return l.appender.Append(ctx, record, func(uint64, error) {})
}

// Propose implements invoker.Proposer.
func (l *leader) Propose(ctx context.Context, effect *logv1.InvokerEffect, done func(error)) error {
	record := &logv1.Record{Command: &logv1.Record_InvokerEffect{InvokerEffect: effect}}
	return l.proposeAndApply(ctx, record, func(_ uint64, err error) { done(err) })
}

// proposeAndApply appends a record and does not wait for it. done is called once, from any goroutine: with the record's
// LSN when it has been applied, with an error when that is not known.
func (l *leader) proposeAndApply(ctx context.Context, record *logv1.Record, done func(lsn uint64, err error)) error {
	return l.appender.Append(ctx, record, func(lsn uint64, err error) {
		if err != nil {
			done(0, err)
			return
		}
		l.proposals.appended(lsn, func(err error) { done(lsn, err) })
	})
}

// start begins a run.
func (l *leader) start(a statemachine.StartInvocation) {
	if a.ClientStream != "" {
		l.embedded.Begin(embedded.Run{ID: a.ID, Number: a.Run, Stream: a.ClientStream, SpanContext: a.SpanContext})
		return
	}
	invocation := invoker.Invocation{
		ID:          a.ID,
		Run:         a.Run,
		Target:      a.Target,
		SpanContext: a.SpanContext,
		CreatedAt:   a.CreatedAt,
		RandomSeed:  a.RandomSeed,

		IdempotencyKey: a.IdempotencyKey,
	}
	var journal *invoker.Journal
	if a.Input != nil && a.Target.GetKind() == journalv1.ServiceKind_SERVICE_KIND_UNKEYED {
		journal = &invoker.Journal{
			Entries: []*journalv1.Entry{a.Input}, CommandCount: 1, Pin: a.Pin, Size: proto.Size(a.Input),
		}
	}
	l.invoker.Start(invocation, journal)
}

// carryOut does what was committed. What concerns a run goes to both who may have it.
func (l *leader) carryOut(applied uint64, actions []statemachine.Action) {
	for _, action := range actions {
		switch a := action.(type) {
		case statemachine.StartInvocation:
			l.start(a)
		case statemachine.AbortInvocation:
			l.invoker.Abort(a.ID, a.Run)
			l.embedded.Abort(a.ID, a.Run)
		case statemachine.RetryInvocation:
			l.invoker.RetryNow(a.ID, a.Run)
		case statemachine.NotifyInvocation:
			l.invoker.Notify(a.ID, a.Run, a.JournalIndex, a.Notification)
			l.embedded.Wake(a.ID)
		case statemachine.AckCommand:
			l.invoker.AckCommand(a.ID, a.Run, a.CommandIndex)
			l.embedded.Wake(a.ID)
		case statemachine.SetTimer:
			l.timers.Add(a.Timer)
		case statemachine.SendOutbox:
			l.shuffle.Add(a.Sequence, a.Message)
		case statemachine.LeaderChanged:
			// Dealt with before the leader is asked.
		}
	}
	l.proposals.advance(applied)
}

// destination names a receiver of outbox messages: an ingress or another partition.
type destination struct {
	ingressID string
	partition uint32
}

func (l *leader) route(message *storagev1.OutboxMessage) (destination, error) {
	var invocation []byte
	switch m := message.GetMessage().(type) {
	case *storagev1.OutboxMessage_IngressResponse:
		return destination{ingressID: m.IngressResponse.GetIngressId()}, nil
	case *storagev1.OutboxMessage_Invoke:
		invocation = m.Invoke.GetInvocationId()
	case *storagev1.OutboxMessage_Notify:
		invocation = m.Notify.GetInvocationId()
	case *storagev1.OutboxMessage_Terminate:
		invocation = m.Terminate.GetInvocationId()
	case *storagev1.OutboxMessage_Attach:
		invocation = m.Attach.GetInvocationId()
	}
	id, err := ids.InvocationIDFromBytes(invocation)
	if err != nil {
		return destination{}, fmt.Errorf("route an outbox message: %w", err)
	}
	return destination{partition: l.cfg.Layout.PartitionOf(id.PartitionKey())}, nil
}

func open(cfg Config, deps Deps, to destination) shuffle.Destination {
	if to.ingressID != "" {
		return shuffle.NewIngress(to.ingressID, deps.Conn, deps.Log)
	}
	return shuffle.NewPartition(cmdlog.NewAppender(deps.Conn, cmdlog.AppenderConfig{
		Partition: to.partition,
		Producer:  storage.PartitionProducer(cfg.Partition),
		Clock:     deps.Now,
	}, deps.Log))
}
