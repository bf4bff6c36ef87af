package dispatch

import (
	"sync"
	"sync/atomic"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
)

// stripeCount is a power of two well above the number of cores, so that requests seldom wait for each other's lock.
const stripeCount = 64

// outcome ends a wait: a response, or the reason why there will be none.
type outcome struct {
	response *storagev1.IngressResponse
	err      error
}

// pending holds the requests that wait for a result. The caller of add bounds their number.
type pending struct {
	next    atomic.Uint64
	count   atomic.Int64
	stripes [stripeCount]stripe
}

type stripe struct {
	mu      sync.Mutex
	waiters map[uint64]chan outcome
	closed  error
}

func newPending() *pending {
	p := &pending{}
	for i := range p.stripes {
		p.stripes[i].waiters = make(map[uint64]chan outcome)
	}
	return p
}

// add returns the id of a new request and the channel that gets its one outcome.
func (p *pending) add() (uint64, <-chan outcome) {
	id := p.next.Add(1)
	done := make(chan outcome, 1)
	s := p.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		done <- outcome{err: s.closed}
		return id, done
	}
	s.waiters[id] = done
	p.count.Add(1)
	return id, done
}

// resolve ends the wait of a request. It does nothing, and returns false, when the request is not there: it has its
// result, or gave up.
func (p *pending) resolve(id uint64, o outcome) bool {
	s := p.stripe(id)
	s.mu.Lock()
	done, ok := s.waiters[id]
	delete(s.waiters, id)
	s.mu.Unlock()
	if ok {
		p.count.Add(-1)
		done <- o
	}
	return ok
}

// close ends all waits, those that begin later too.
func (p *pending) close(err error) {
	for i := range p.stripes {
		s := &p.stripes[i]
		s.mu.Lock()
		s.closed = err
		for id, done := range s.waiters {
			delete(s.waiters, id)
			p.count.Add(-1)
			done <- outcome{err: err}
		}
		s.mu.Unlock()
	}
}

func (p *pending) stripe(id uint64) *stripe { return &p.stripes[id%stripeCount] }
