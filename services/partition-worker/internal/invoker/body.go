package invoker

import (
	"io"
	"sync"

	"github.com/restate-go/restate/pkg/errcode"
)

const (
	// maxUnread bounds, in bytes, what waits for an endpoint that does not read, beside the journal.
	maxUnread = 16 << 20
	// keptBuffer is how much of a buffer is kept, in bytes, that nothing is in.
	keptBuffer = 64 << 10
)

// body is a request body that grows while it is being sent. Everything appended since the last read goes out in one
// piece.
type body struct {
	mu     sync.Mutex
	filled sync.Cond
	buffer []byte
	sent   int
	// first is how much of what the body began with has not been sent.
	first int
	// claim covers what is in the buffer.
	claim claim
	// whole says that who reads the body has all of it in memory until it is closed: the claim covers that, too.
	whole  bool
	closed bool
	broken bool
	// read says that somebody has read of it.
	read bool
}

func newBody(claim claim) *body {
	b := &body{claim: claim}
	b.filled.L = &b.mu
	return b
}

// cover claims memory for n bytes, before the body begins with what is made of them. The error has a code.
func (b *body) cover(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.claim.cover(n)
}

// begin sets what the body begins with. The error has a code.
func (b *body) begin(first []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buffer, b.first = first, len(first)
	return b.claim.cover(len(first))
}

// append calls encode with the buffer to append to. It does nothing once the body is closed. It never waits for the
// reader: when too much does, it fails.
func (b *body) append(encode func(dst []byte) ([]byte, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.broken {
		return nil
	}
	if b.sent > keptBuffer && b.sent > len(b.buffer)/2 {
		b.buffer, b.sent = b.buffer[:copy(b.buffer, b.buffer[b.sent:])], 0
	}
	grown, err := encode(b.buffer)
	if err != nil {
		return err
	}
	b.buffer = grown
	if err := b.claim.cover(len(b.buffer) - b.sent); err != nil {
		return err
	}
	if unread := len(b.buffer) - b.sent - b.first; unread > maxUnread {
		return errcode.New(errcode.ResultsUnread, "%d bytes of results wait for the service to read them", unread)
	}
	b.filled.Signal()
	return nil
}

// keep has the claim kept until the body is closed.
func (b *body) keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.whole = true
}

// begun says that the endpoint was given something of the body.
func (b *body) begun() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// end makes the reader see the end after what has been appended.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.filled.Broadcast()
}

// discard gives up the body: a reader that has not had all of it fails.
func (b *body) discard() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.broken = true, b.broken || b.sent < len(b.buffer)
	b.buffer, b.sent = nil, 0
	b.claim.release()
	b.filled.Broadcast()
}

// Read implements io.Reader for the transport.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.sent == len(b.buffer) {
		if b.broken {
			return 0, io.ErrClosedPipe
		}
		if b.closed {
			return 0, io.EOF
		}
		b.filled.Wait()
	}
	n := copy(p, b.buffer[b.sent:])
	b.read = true
	b.sent += n
	b.first = max(b.first-n, 0)
	if b.sent == len(b.buffer) {
		b.buffer, b.sent = b.buffer[:0], 0
		if cap(b.buffer) > keptBuffer {
			b.buffer = nil
		}
		if !b.whole {
			b.claim.release()
		}
	}
	return n, nil
}

// Close implements io.Closer for the transport, which calls it when it sends no more.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = true
	if b.sent == len(b.buffer) {
		b.claim.release()
	}
	b.filled.Broadcast()
	return nil
}
