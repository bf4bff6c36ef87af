package invoker

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// delivery is something on its way from the engine to the endpoint: a notification with its journal index, or, without
// one, the acknowledgement of the command with the index.
type delivery struct {
	index        uint32
	notification *journalv1.Notification
}

// maxBacklog bounds, in bytes, what is delivered while the journal is read; a delivery counts as deliveryMin at least.
const (
	maxBacklog  = 4 << 20
	deliveryMin = 256
)

// backlog is what was delivered while no exchange was open.
type backlog struct {
	deliveries []delivery
	size       int
	// overflown says that there was more than the bound, and nothing was kept.
	overflown bool
}

func (b *backlog) add(d delivery) {
	b.size += deliveryMin + proto.Size(d.notification)
	if b.overflown = b.overflown || b.size > maxBacklog; b.overflown {
		b.deliveries = nil
		return
	}
	b.deliveries = append(b.deliveries, d)
}

const (
	// maxUnapplied bounds, in bytes, what a task has proposed and the partition has not applied yet; each effect
	// counts as unappliedMin at least. An endpoint that sends faster has to wait.
	maxUnapplied = 16 << 20
	unappliedMin = 64 << 10
)

// task is one run of an invocation: attempts, one after the other, until one ends it.
type task struct {
	v          *Invoker
	invocation Invocation
	// unapplied is held by effects that are proposed and not applied yet.
	unapplied *semaphore.Weighted

	// What follows, up to the task's own lock, is guarded by the invoker's.

	// retry is set between two attempts.
	retry *time.Timer
	// line is where the task waits, or took its place; before and after are its neighbours while it waits.
	line          *line
	before, after *task
	waits         bool

	mu sync.Mutex
	// given is the journal for the first attempt, if it was at hand.
	given *Journal
	// connecting says that an attempt reads the journal, and has no exchange yet.
	connecting bool
	// pending holds what was delivered since the journal was given, or began to be read.
	pending backlog
	open    *exchange
	// runsOn is the endpoint of the attempt under way.
	runsOn  string
	cancel  context.CancelCauseFunc
	stopped bool

	attempts uint32
	// counted are the attempts that the retry policy counts.
	counted uint32
	// fruitless are the attempts that have failed since a command was proposed, and in which a handler may have had a part:
	// handlers count by them how often they have tried a step.
	fruitless uint32
	// free are the attempts since then that were to count for nothing.
	free uint32
	// lastFailure says what the last attempt failed with, lastCode its code; empty before.
	lastFailure string
	lastCode    errcode.Code
	nextAttempt time.Time
}

func newTask(v *Invoker, invocation Invocation, journal *Journal) *task {
	return &task{v: v, invocation: invocation, given: journal, unapplied: semaphore.NewWeighted(maxUnapplied)}
}

// stop ends the task; the attempt under way, if any, is cut off. The invoker's lock is held.
func (t *task) stop() {
	if t.retry != nil && t.retry.Stop() {
		t.v.deps.Metrics.backoff.Dec()
	}
	if t.waits {
		t.v.places.leave(t)
		t.v.deps.Metrics.waiting.Dec()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.cancel != nil {
		t.cancel(errStopped)
	}
}

func (t *task) deliver(d delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.open != nil:
		t.open.send(d)
	case t.connecting || t.given != nil:
		t.pending.add(d)
		if t.pending.overflown && !t.connecting {
			t.given, t.pending = nil, backlog{} // the journal that is read in its place has all
		}
	default: // the journal is yet to be read, and has it
	}
}

// forget has the journal read when the task gets its place: until then, nobody knows how long, it takes no memory.
func (t *task) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.given, t.pending = nil, backlog{}
}

// attempt makes one attempt. again says that it failed and is to be repeated after the delay.
func (t *task) attempt(ctx context.Context) (delay time.Duration, again bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.mu.Lock()
	if t.stopped {
		t.mu.Unlock()
		return 0, false
	}
	t.cancel = cancel
	t.attempts++
	t.nextAttempt = time.Time{}
	t.mu.Unlock()

	t.v.deps.Metrics.attempts.Inc()
	ctx, span := t.startSpan(ctx)
	given, err := t.exchange(ctx)
	endSpan(span, err)

	t.mu.Lock()
	t.open, t.runsOn, t.connecting, t.pending = nil, "", false, backlog{}
	stopped := t.stopped
	t.mu.Unlock()
	if err == nil || stopped || isOver(err) {
		return 0, false
	}
	// What the attempt has proposed must be in the journal that the next one starts from.
	if t.unapplied.Acquire(ctx, maxUnapplied) != nil {
		return 0, false
	}
	t.unapplied.Release(maxUnapplied)
	return t.failed(ctx, err, given)
}

// failed notes why an attempt failed, and decides what comes next. given says that the endpoint was given the journal.
func (t *task) failed(ctx context.Context, err error, given bool) (delay time.Duration, again bool) {
	code, wanted := codeOf(err), wishOf(err)
	policy := t.settings().retry
	t.v.deps.Metrics.failures.WithLabelValues(string(code)).Inc()
	t.mu.Lock()
	attempts := t.attempts
	if given && isHandlers(code) {
		t.fruitless++
	}
	switch {
	case wanted.behavior != protocol.BehaviorRetry:
	case wanted.delay != nil:
		delay, again = *wanted.delay, true
	case wanted.free:
		endless := policy
		endless.MaxAttempts = 0
		t.free++
		delay, again = delayOf(endless, t.free)
	default:
		t.counted++
		delay, again = delayOf(policy, t.counted)
	}
	t.lastFailure, t.lastCode = messageOf(err), code
	if again {
		t.nextAttempt = t.v.deps.Now().Add(delay)
	}
	t.mu.Unlock()
	log := t.v.deps.Log.With(
		"service", t.invocation.Target.GetService(), "method", t.invocation.Target.GetHandler(),
		"invocation", t.invocation.ID.String(), "attempt", attempts, "code", string(code), "error", frame.Prefix(messageOf(err), maxLogged),
	)
	if again {
		log.Warn("an attempt failed, it will be repeated", "after", delay.Round(time.Millisecond))
		return delay, true
	}
	pause := wanted.behavior == protocol.BehaviorPause ||
		wanted.behavior == protocol.BehaviorRetry && policy.Exhausted == schema.ExhaustedPause
	effect := &logv1.InvokerEffect{Effect: &logv1.InvokerEffect_Failed{Failed: failureOf(err)}}
	if pause {
		log.Error("the last attempt failed, the invocation is paused")
		why := failureOf(err)
		why.Message = frame.Prefix(messageOf(err), maxLogged)
		effect.Effect = &logv1.InvokerEffect_Paused{Paused: &logv1.Paused{Failure: why, Code: string(code), Attempts: attempts}}
	} else {
		log.Error("the last attempt failed, the invocation ends")
	}
	if err := t.propose(ctx, 0, effect); err != nil {
		log.Warn("could not propose the end of the attempts", "reason", err)
	}
	return 0, false
}

// progressed notes that the endpoint has given a command.
func (t *task) progressed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fruitless, t.free = 0, 0
}

// propose appends an effect of this run; size is what it weighs, in bytes.
func (t *task) propose(ctx context.Context, size int, effect *logv1.InvokerEffect) error {
	weight := int64(min(max(size, unappliedMin), maxUnapplied))
	if err := t.unapplied.Acquire(ctx, weight); err != nil {
		return err
	}
	effect.InvocationId = t.invocation.ID[:]
	effect.Run = t.invocation.Run
	if err := t.v.deps.Proposer.Propose(ctx, effect, func(error) { t.unapplied.Release(weight) }); err != nil {
		t.unapplied.Release(weight)
		return err
	}
	return nil
}

func (t *task) view() AttemptView {
	t.mu.Lock()
	defer t.mu.Unlock()
	view := AttemptView{
		Attempts: t.attempts, EndpointID: t.runsOn, LastFailure: t.lastFailure, LastFailureCode: string(t.lastCode),
	}
	if !t.nextAttempt.IsZero() {
		view.NextAttemptAt = uint64(max(t.nextAttempt.UnixMilli(), 0))
	}
	return view
}
