// Package partition runs the state machine of one partition on the partition's log:
//
//	read what the log has -> apply each record to a transaction -> commit once -> hand on the actions
package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// Observer learns what was committed.
type Observer interface {
	// Committed is called after every commit, in order, from the processor's goroutine, which waits for it: it must
	// not block. Every record with an LSN up to and including applied is committed.
	Committed(applied uint64, actions []statemachine.Action)
	// Lapsed is called in place of Committed when batches turn out to be committed that the store had reported as
	// failed: their actions have to be derived from the state.
	Lapsed(applied uint64)
}

// Config of a processor.
type Config struct {
	Partition uint32
	Layout    keyspace.Layout
	// TrimAfterBytes is how much the log may hold before what is flushed is dropped from it; 0 never drops.
	TrimAfterBytes uint64
}

// Deps are the processor's ways out.
type Deps struct {
	Conn     *broker.Conn
	Space    kv.Space
	Observer Observer
	Log      *slog.Logger
	Metrics  *Metrics
}

// Processor applies one partition's log. It has one goroutine, the caller of Run.
type Processor struct {
	cfg     Config
	deps    Deps
	tx      *kv.Tx
	machine *statemachine.Machine
	applied atomic.Uint64 // stream sequence
	epoch   atomic.Uint64
	target  atomic.Uint64 // what has to be applied to be ready
	// trouble is why nothing is applied at present, nil when there is no reason.
	trouble atomic.Pointer[error]
	// observed is what the observer has been told of; only Run's goroutine uses it.
	observed uint64
	lag      prometheus.Gauge
	outbox   prometheus.Gauge
}

// New returns a processor; Run makes it work.
func New(cfg Config, deps Deps) *Processor {
	p := &Processor{cfg: cfg, deps: deps, tx: kv.NewTx(deps.Space)}
	p.target.Store(^uint64(0))
	label := strconv.FormatUint(uint64(cfg.Partition), 10)
	p.lag, p.outbox = deps.Metrics.lag.WithLabelValues(label), deps.Metrics.outbox.WithLabelValues(label)
	return p
}

// Applied returns the stream sequence of the last batch committed.
func (p *Processor) Applied() uint64 { return p.applied.Load() }

// LeaderEpoch returns the epoch of the last leader announced.
func (p *Processor) LeaderEpoch() uint64 { return p.epoch.Load() }

// Ready says whether everything that was in the log when Run began is applied, and nothing keeps the rest from it. A
// parked partition is never ready.
func (p *Processor) Ready() error {
	if trouble := p.trouble.Load(); trouble != nil {
		return *trouble
	}
	if applied, target := p.applied.Load(), p.target.Load(); applied < target {
		return fmt.Errorf("partition %d has applied %d of %d batches", p.cfg.Partition, applied, target)
	}
	return nil
}

// Run applies the log until the context ends. What makes it impossible to go on (a damaged record, a log that does
// not fit the state) parks the partition: it is reported by Ready and the log, and Run waits for the context, so that
// the other partitions go on.
func (p *Processor) Run(ctx context.Context) error {
	for {
		err := p.run(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the context ended: that is how Run is stopped
		}
		if retryable(err) {
			err = fmt.Errorf("partition %d does not go on: %w", p.cfg.Partition, err)
			p.trouble.Store(&err)
			p.deps.Metrics.failures.Inc()
			p.deps.Log.Warn("applying the log failed, trying again", "partition", p.cfg.Partition, "error", err)
			p.deps.Conn.Pause(ctx, retryPause)
			continue
		}
		err = errcode.New(errcode.LogUnusable, "partition %d is parked: %w", p.cfg.Partition, err)
		p.trouble.Store(&err)
		p.deps.Metrics.parked.Inc()
		p.deps.Log.Error("partition parked; it does nothing more until the runtime is restarted",
			"partition", p.cfg.Partition, "error", err)
		<-ctx.Done()
		p.deps.Metrics.parked.Dec()
		return nil
	}
}

const retryPause = time.Second

// retryable tells trouble on the way to the broker or the disk, which passes, from damage, which does not.
func retryable(err error) bool {
	var damage *damageError
	return !errors.As(err, &damage)
}

type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

func damage(err error) error { return &damageError{err} }

func (p *Processor) run(ctx context.Context) error {
	p.tx.Reset()
	machine, err := statemachine.New(p.cfg.Partition, p.cfg.Layout, p.deps.Space)
	if err != nil {
		return damage(err)
	}
	p.machine = machine
	p.applied.Store(machine.AppliedSequence())
	p.epoch.Store(machine.LeaderEpoch())
	p.outbox.Set(float64(machine.OutboxLen()))
	if machine.AppliedSequence() > p.observed {
		p.trouble.Store(nil) // if it was that of the database, it is over
		p.observed = machine.AppliedSequence()
		p.deps.Observer.Lapsed(endOf(p.observed))
	}
	if err := p.checkLog(ctx); err != nil {
		return err
	}
	reader, err := cmdlog.OpenReader(ctx, p.deps.Conn, p.cfg.Partition, machine.AppliedSequence()+1)
	if err != nil {
		return classify(err)
	}
	defer reader.Close()
	if trouble := p.trouble.Load(); trouble != nil && !errors.Is(*trouble, errCommit) {
		p.trouble.Store(nil)
	}
	for {
		messages, err := reader.Next(ctx)
		if err != nil {
			return classify(err)
		}
		if err := p.apply(messages); err != nil {
			return err
		}
	}
}

// checkLog refuses a log that is not the one the state was made from.
func (p *Processor) checkLog(ctx context.Context) error {
	bound := p.machine.LogID()
	last, id, err := cmdlog.Head(ctx, p.deps.Conn, p.cfg.Partition)
	if errors.Is(err, cmdlog.ErrMissing) && bound != "" {
		return damage(err)
	}
	if err != nil {
		return classify(err)
	}
	switch {
	case bound == "":
		if err := p.machine.Bind(p.tx, id); err != nil {
			return damage(err)
		}
		if err := p.tx.Commit(); err != nil {
			return fmt.Errorf("bind the partition to its log: %w: %w", errCommit, err)
		}
	case bound != id:
		return damage(fmt.Errorf("%w: the state was made from log %s, and the broker has %s", cmdlog.ErrIdentity, bound, id))
	case last < p.machine.AppliedSequence():
		return damage(fmt.Errorf("%w: the log ends at %d, and %d is applied", cmdlog.ErrIdentity, last, p.machine.AppliedSequence()))
	}
	p.target.Store(last)
	return nil
}

// errCommit tells trouble with the database, which is over when something is committed.
var errCommit = errors.New("cannot commit")

// endOf returns the last LSN that a batch can have.
func endOf(sequence uint64) uint64 { return sequence<<16 | 0xffff }

func classify(err error) error {
	if errors.Is(err, cmdlog.ErrGap) || errors.Is(err, cmdlog.ErrTrimmed) || errors.Is(err, cmdlog.ErrCorrupt) {
		return damage(err)
	}
	return err
}

func (p *Processor) apply(messages []cmdlog.Message) error {
	started := time.Now()
	var actions []statemachine.Action
	var last uint64
	records := 0
	for _, message := range messages {
		next, err := p.machine.Apply(p.tx, message.Sequence, message.Batch)
		if err != nil {
			return damage(err)
		}
		actions = append(actions, next...)
		last = message.Sequence
		records += len(message.Batch.GetRecords())
	}
	// A write that fails (a full disk) is tried again from the committed state.
	if err := p.tx.Commit(); err != nil {
		return fmt.Errorf("%w up to batch %d: %w", errCommit, last, err)
	}
	p.outbox.Set(float64(p.machine.OutboxLen()))
	p.trouble.Store(nil)
	p.observed = last
	p.applied.Store(last)
	p.epoch.Store(p.machine.LeaderEpoch())
	p.deps.Metrics.committed(records, time.Since(started))
	p.lag.Set(float64(messages[len(messages)-1].Behind))
	p.deps.Observer.Committed(endOf(last), actions)
	return nil
}
