// Package embedded hosts the embedded handlers of a partition: invocations that a client runs itself, where the invoker
// would call an endpoint (ADR 008). The client sends what the handler does as frames of the service protocol, and
// fetches the results that come for it; the worker proposes the former to the log, and reads the latter from the journal.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
)

// Config of a host.
type Config struct {
	// StreamTimeout is after how long without a request the client counts as gone: nobody waits for its result any more.
	// The operation stays, and goes on with the next Start.
	StreamTimeout time.Duration
	// RecvWait is how long a Recv waits for results before it is answered without any.
	RecvWait time.Duration
}

// DefaultConfig is what the protocol's clients know of.
func DefaultConfig() Config { return Config{StreamTimeout: time.Minute, RecvWait: 20 * time.Second} }

const (
	// maxStreams bounds the streams of a partition; those whose clients are gone make room for others.
	maxStreams = 16384
	// maxJournalBytes bounds what the client of one operation may send in all, so that it can be replayed to it.
	maxJournalBytes = 64 << 20
	// maxRecvBytes is from which size on the results that are there wait for the next Recv.
	maxRecvBytes = 1 << 20
	// applyTimeout is how long a record may take to be applied before the client is told that it is not known.
	applyTimeout = 30 * time.Second
)

// Deps are the ways out.
type Deps struct {
	// State is the committed state.
	State kv.Space
	// Propose appends a record to the partition's log, in the order of the calls; it may block while the log is behind.
	// done is called once, from any goroutine: with the record's LSN when it has been applied, or with an error when that
	// is not known.
	Propose func(ctx context.Context, record *logv1.Record, done func(lsn uint64, err error)) error
	Schema  func() *schema.Snapshot
	// Bounds are those of the journal of an operation.
	Bounds invoker.Bounds
	Log    *slog.Logger
	Now    func() time.Time
}

// Run is one run of an invocation that a client carries out.
type Run struct {
	ID ids.InvocationID
	// Number tells this run from others of the same invocation.
	Number uint64
	// Stream is the client's name for it.
	Stream      string
	SpanContext *journalv1.SpanContext
}

// Host has the streams of one partition while this worker leads it. What it keeps in memory is where each client is;
// a new leader knows of none, so that its clients begin with Start again.
type Host struct {
	cfg     Config
	deps    Deps
	started time.Time
	closed  chan struct{}
	closing sync.Once

	mu         sync.Mutex
	operations map[ids.InvocationID]*operation
}

// operation is kept while it has a stream, or somebody waits for its result.
type operation struct {
	stream *stream
	// left is when the last stream ended, while somebody waits.
	left    time.Time
	waiting int
	// changed is closed, and replaced, when something has happened that requests wait for.
	changed chan struct{}
}

// New returns a host, which serves until Close.
func New(cfg Config, deps Deps) *Host {
	return &Host{
		cfg: cfg, deps: deps, started: deps.Now(),
		closed: make(chan struct{}), operations: map[ids.InvocationID]*operation{},
	}
}

// Close ends the requests that wait.
func (h *Host) Close() { h.closing.Do(func() { close(h.closed) }) }

// Begin makes the run's stream the one of its invocation.
func (h *Host) Begin(run Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.operation(run.ID)
	if o.stream != nil {
		o.stream.over = true
	}
	o.stream = newStream(run, o, h.deps.Now())
	o.notify()
}

// Abort ends the stream of a run: the invocation is over.
func (h *Host) Abort(id ids.InvocationID, run uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.operations[id]
	if !ok {
		return
	}
	if o.stream != nil && o.stream.run.Number == run {
		h.drop(o.stream)
	}
	o.notify()
}

// Wake tells that the journal of the invocation has something new for the client.
func (h *Host) Wake(id ids.InvocationID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o, ok := h.operations[id]; ok {
		o.notify()
	}
}

// operation returns the operation, which is made where it is not there. The lock is held.
func (h *Host) operation(id ids.InvocationID) *operation {
	o, ok := h.operations[id]
	if !ok {
		// The client may have had a stream with the leader before this one.
		o = &operation{changed: make(chan struct{}), left: h.started}
		h.operations[id] = o
	}
	return o
}

func (o *operation) notify() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// drop ends a stream. The lock is held.
func (h *Host) drop(s *stream) {
	s.over = true
	if s.operation.stream == s {
		s.operation.stream, s.operation.left = nil, h.deps.Now()
		s.operation.notify()
		h.release(s.run.ID, s.operation)
	}
}

// release forgets an operation that nobody has to do with. The lock is held.
func (h *Host) release(id ids.InvocationID, o *operation) {
	if o.stream == nil && o.waiting == 0 {
		delete(h.operations, id)
	}
}

// makeRoom refuses a new stream when there are too many.
func (h *Host) makeRoom() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.operations) < maxStreams {
		return nil
	}
	for _, o := range h.operations {
		if o.stream != nil && h.idle(o) > h.cfg.StreamTimeout {
			h.drop(o.stream)
		}
	}
	if len(h.operations) < maxStreams {
		return nil
	}
	return status.Errorf(codes.ResourceExhausted, "%d embedded handlers run or are waited for in this partition, try again later", maxStreams)
}

// idle is for how long nothing has been heard of the operation's client. The lock is held.
func (h *Host) idle(o *operation) time.Duration {
	switch {
	case o.stream == nil:
		return h.deps.Now().Sub(o.left)
	case o.stream.busy > 0:
		return 0
	}
	return h.deps.Now().Sub(o.stream.seen)
}

// record returns the invocation as it is committed, nil when it is unknown.
func (h *Host) record(id ids.InvocationID) (*storagev1.Invocation, error) {
	record, err := storage.GetInvocation(h.deps.State, id)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "read the invocation %s: %s", id, err)
	}
	return record, nil
}

// errUnavailable is what a request ends with that cannot be answered any more.
func errUnavailable(why string) error {
	return status.Errorf(codes.Unavailable, "%s; whether the request had an effect is not known", why)
}

// apply proposes records about the invocation and waits until all are applied; lsn is that of the last.
func (h *Host) apply(ctx context.Context, id ids.InvocationID, records ...*logv1.Record) (lsn uint64, err error) {
	if len(records) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	// Whoever waits learns of it, though this request may have been given up.
	pending := newPending(len(records), func() { h.Wake(id) })
	for _, record := range records {
		err := h.deps.Propose(ctx, record, pending.done)
		switch {
		case errors.Is(err, cmdlog.ErrTooLarge):
			return 0, status.Errorf(codes.ResourceExhausted, "the log cannot hold the request: %s", err)
		case err != nil:
			return 0, errUnavailable(fmt.Sprintf("the log did not take the request: %s", err))
		}
	}
	select {
	case <-pending.all:
		if pending.err != nil {
			return 0, errUnavailable(pending.err.Error())
		}
		return pending.lsn, nil
	case <-ctx.Done():
		return 0, errUnavailable("the request was given up before it was durable")
	case <-h.closed:
		return 0, errUnavailable("this worker leads the partition no longer")
	}
}

// pending collects what becomes of several records.
type pending struct {
	mu   sync.Mutex
	left int
	lsn  uint64
	err  error
	// then is called with all.
	then func()
	// all is closed when every record is applied, or is known to be lost; lsn and err may be read then.
	all chan struct{}
}

// newPending waits for one record or more.
func newPending(records int, then func()) *pending {
	return &pending{left: records, then: then, all: make(chan struct{})}
}

func (p *pending) done(lsn uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lsn = max(p.lsn, lsn)
	if p.err == nil {
		p.err = err
	}
	p.left--
	if p.left == 0 {
		close(p.all)
		p.then()
	}
}
