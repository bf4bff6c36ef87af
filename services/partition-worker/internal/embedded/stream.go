package embedded

import (
	"context"
	"sync/atomic"
	"time"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
)

// stream is how the client of one run talks to the runtime.
type stream struct {
	run       Run
	operation *operation

	// The host's lock guards these.

	// begun is set when the client has been told where it begins.
	begun bool
	// over is set when the stream has no effect any more.
	over bool
	// seen is when the last request came or was answered, busy how many are being answered.
	seen time.Time
	busy int
	// receivers counts the Recvs so far: only the last one waits.
	receivers uint64

	// sending is held by the one Send that is being applied, and guards these.
	sending chan struct{}
	// next is the index of the next command.
	next uint32
	// size is how many bytes the client has been given with the start, and has sent for the journal.
	size int

	// receiving is held by the one Recv that reads the journal, and guards these.
	receiving chan struct{}
	// position is the journal index from which on the client has not been told; commands are how many precede it.
	position, commands uint32
	// told is how many bytes the results have of which the client has been told since the start. Senders read it.
	told atomic.Int64
}

func newStream(run Run, o *operation, now time.Time) *stream {
	return &stream{
		run: run, operation: o, seen: now, sending: make(chan struct{}, 1), receiving: make(chan struct{}, 1),
	}
}

// acquire takes a lock that is a channel with room for one, unless the context ends first.
func acquire(ctx context.Context, lock chan struct{}) error {
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errUnavailable("the client stopped waiting")
	}
}

func release(lock chan struct{}) { <-lock }

// standing is what a stream is told about itself.
type standing int

const (
	// valid streams go on.
	valid standing = iota
	// invalid streams have been replaced, or are not known to this leader: the client has to begin with Start.
	invalid
	// completed says that the operation has a result.
	completed
)

// enter finds the stream, and counts a request of it as being answered until leave is called. Where the stream is not
// valid it is nil, and the standing says why.
func (h *Host) enter(id ids.InvocationID, name string) (s *stream, why standing, err error) {
	h.mu.Lock()
	if o, ok := h.operations[id]; ok && o.stream != nil && o.stream.begun && o.stream.run.Stream == name {
		s = o.stream
		s.busy++
		h.mu.Unlock()
		return s, valid, nil
	}
	h.mu.Unlock()
	why, err = h.standing(id)
	return nil, why, err
}

func (h *Host) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.busy--
	s.seen = h.deps.Now()
}

// standing says why a stream of the operation is not valid.
func (h *Host) standing(id ids.InvocationID) (standing, error) {
	record, err := h.record(id)
	if err != nil {
		return invalid, err
	}
	if record.GetState() == storagev1.Invocation_STATE_COMPLETED {
		return completed, nil
	}
	return invalid, nil
}

// check says whether the stream is still valid.
func (h *Host) check(s *stream) (standing, error) {
	h.mu.Lock()
	over := s.over
	h.mu.Unlock()
	if over {
		return h.standing(s.run.ID)
	}
	return valid, nil
}

// end makes the stream invalid.
func (h *Host) end(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(s)
}

// complete ends the stream because its output is applied. It returns false when the stream was over before, so that
// the output had no effect.
func (h *Host) complete(s *stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.over {
		return false
	}
	h.drop(s)
	return true
}
