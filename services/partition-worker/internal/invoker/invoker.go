// Package invoker runs the invocations of a partition: it calls service endpoints, proposes to the log what they do,
// and hands them what others did for them.
package invoker

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/fairshare"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// Transport returns what requests to the endpoint are sent through.
type Transport = func(to *schema.Endpoint) http.RoundTripper

// StateEntry is one key of a service instance's state.
type StateEntry = protocol.StateEntry

// Invocation is one run of an invocation, as the partition knows it when it starts.
type Invocation struct {
	ID ids.InvocationID
	// Run tells this run from others of the same invocation.
	Run         uint64
	Target      *journalv1.Target
	SpanContext *journalv1.SpanContext
	// CreatedAt is in milliseconds since the epoch.
	CreatedAt uint64
	// RandomSeed is what the handler draws its random numbers from.
	RandomSeed uint64
	// IdempotencyKey is nil where the caller gave none.
	IdempotencyKey *string
}

// Journal is what an attempt starts from.
type Journal struct {
	Entries []*journalv1.Entry
	// CommandCount is how many of the entries are commands.
	CommandCount uint32
	// Size is that of the entries, in bytes.
	Size  int
	State []StateEntry
	// PartialState says that some of the state was left out.
	PartialState bool
	// Pin is nil until the first effect of an attempt has been stored.
	Pin *logv1.PinnedEndpoint
}

// Source reads what the partition has committed.
type Source interface {
	// Load returns the journal of the run as it is now. A notification with an index below the number of entries is
	// part of it. It fails with ErrRunOver when the run is over, and as the bounds say when the journal exceeds them.
	Load(ctx context.Context, invocation Invocation, bounds Bounds) (*Journal, error)
}

// Proposer appends effects to the partition's log, in the order of the calls.
type Proposer interface {
	// Propose may block while the log is behind. done is called once, from any goroutine: with nil when the effect has
	// been applied (or dropped as out of date), with an error when that is not known.
	Propose(ctx context.Context, effect *logv1.InvokerEffect, done func(error)) error
}

// Deps are the ways out.
type Deps struct {
	Source    Source
	Proposer  Proposer
	Schema    func() *schema.Snapshot
	Transport Transport
	// Signer tells endpoints who asks; nil tells nothing.
	Signer  *endpoint.Signer
	Log     *slog.Logger
	Metrics *Metrics
	Tracer  trace.Tracer
	Now     func() time.Time
}

// AttemptView is what can be said of a run from outside.
type AttemptView struct {
	// Attempts counts those begun in this run.
	Attempts        uint32
	LastFailure     string
	LastFailureCode string
	// NextAttemptAt is in milliseconds since the epoch; 0 unless the run is between two attempts.
	NextAttemptAt uint64
	// EndpointID is where the attempt under way runs; empty where none is.
	EndpointID string
}

// Invoker runs the invocations of one partition while this worker leads it.
type Invoker struct {
	cfg  Config
	deps Deps

	mu     sync.Mutex
	tasks  map[ids.InvocationID]*task
	places *places
	memory *fairshare.Pool
	// ctx is that of Run; nil before it, and done after it.
	ctx  context.Context //nolint:containedctx // attempts begin from calls that have none
	busy sync.WaitGroup
}

// New returns an invoker. Tasks may be started at once; they begin to run with Run.
func New(cfg Config, deps Deps) *Invoker {
	return &Invoker{
		cfg: cfg, deps: deps, tasks: map[ids.InvocationID]*task{},
		places: newPlaces(cfg.ConcurrencyLimit), memory: fairshare.NewPool(int(cfg.MemoryLimit)),
	}
}

// Run lets tasks run until the context ends, and waits for their end.
func (v *Invoker) Run(ctx context.Context) error {
	v.mu.Lock()
	v.ctx = ctx
	v.dispatch()
	v.mu.Unlock()
	<-ctx.Done()
	v.mu.Lock()
	for _, t := range v.tasks {
		t.stop()
	}
	v.mu.Unlock()
	v.busy.Wait()
	return nil
}

// Start begins a run. The journal may be given where it is at hand; nil has it loaded. A run of the same invocation
// that still winds down is replaced.
func (v *Invoker) Start(invocation Invocation, journal *Journal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before, ok := v.tasks[invocation.ID]; ok {
		before.stop()
	}
	t := newTask(v, invocation, journal)
	v.tasks[invocation.ID] = t
	v.enqueue(t)
}

// enqueue lets a task wait for its place. The lock is held.
func (v *Invoker) enqueue(t *task) {
	if v.ctx != nil && v.ctx.Err() != nil {
		return // nobody would take it from the line
	}
	v.places.wait(t)
	v.deps.Metrics.waiting.Inc()
	v.dispatch()
	if t.waits {
		t.forget()
	}
}

// dispatch lets waiting tasks run while there is room. The lock is held.
func (v *Invoker) dispatch() {
	if v.ctx == nil || v.ctx.Err() != nil {
		return
	}
	for t := v.places.take(); t != nil; t = v.places.take() {
		v.deps.Metrics.waiting.Dec()
		v.deps.Metrics.running.Inc()
		v.busy.Add(1)
		go v.run(t)
	}
}

// run makes one attempt, and arranges for the next when it fails.
func (v *Invoker) run(t *task) {
	defer v.busy.Done()
	delay, again := t.attempt(v.ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.places.release(t)
	v.deps.Metrics.running.Dec()
	switch {
	case v.tasks[t.invocation.ID] != t: // aborted or replaced
	case !again || v.ctx.Err() != nil:
		delete(v.tasks, t.invocation.ID)
	default:
		v.deps.Metrics.backoff.Inc()
		t.retry = time.AfterFunc(delay, func() { v.retry(t) })
	}
	v.dispatch()
}

func (v *Invoker) retry(t *task) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.deps.Metrics.backoff.Dec()
	if v.tasks[t.invocation.ID] == t {
		v.enqueue(t)
	}
}

// RetryNow has the next attempt of the run begin at once, if it waits for its time.
func (v *Invoker) RetryNow(id ids.InvocationID, run uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t := v.task(id, run); t != nil && t.retry != nil && t.retry.Stop() {
		v.deps.Metrics.backoff.Dec()
		v.enqueue(t)
	}
}

// Abort ends a run without waiting for the endpoint. Nothing that it does afterwards is stored.
func (v *Invoker) Abort(id ids.InvocationID, run uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t := v.task(id, run); t != nil {
		t.stop()
		delete(v.tasks, id)
	}
}

// Notify hands a stored notification to the run; index is its place in the journal.
func (v *Invoker) Notify(id ids.InvocationID, run uint64, index uint32, n *journalv1.Notification) {
	v.deliver(id, run, delivery{index: index, notification: n})
}

// AckCommand tells the run that the command with the index among the commands is stored.
func (v *Invoker) AckCommand(id ids.InvocationID, run uint64, commandIndex uint32) {
	v.deliver(id, run, delivery{index: commandIndex})
}

func (v *Invoker) deliver(id ids.InvocationID, run uint64, d delivery) {
	v.mu.Lock()
	t := v.task(id, run)
	v.mu.Unlock()
	if t != nil {
		t.deliver(d)
	}
}

// task returns the task of the run. The lock is held.
func (v *Invoker) task(id ids.InvocationID, run uint64) *task {
	if t, ok := v.tasks[id]; ok && t.invocation.Run == run {
		return t
	}
	return nil
}

// View returns what can be said of the invocation's run, if there is one.
func (v *Invoker) View(id ids.InvocationID) (AttemptView, bool) {
	v.mu.Lock()
	t, ok := v.tasks[id]
	v.mu.Unlock()
	if !ok {
		return AttemptView{}, false
	}
	return t.view(), true
}
