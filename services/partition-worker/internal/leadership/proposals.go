package leadership

import (
	"errors"
	"sync"
)

// errSteppedDown is what proposals fail with that were under way when the leadership ended.
var errSteppedDown = errors.New("this worker no longer leads the partition")

// proposals tracks records that have been appended, until they are applied.
type proposals struct {
	mu      sync.Mutex
	applied uint64
	closed  bool
	// waiting is in order of LSN, which is the order in which an appender reports.
	waiting []proposal
}

type proposal struct {
	lsn  uint64
	done func(error)
}

// appended notes that the record has the LSN; done is called when that is applied, which may be now.
func (p *proposals) appended(lsn uint64, done func(error)) {
	p.mu.Lock()
	closed, ready := p.closed, lsn <= p.applied
	if !closed && !ready {
		p.waiting = append(p.waiting, proposal{lsn, done})
	}
	p.mu.Unlock()
	switch {
	case ready:
		done(nil)
	case closed:
		done(errSteppedDown)
	}
}

// advance reports everything up to and including the LSN as applied.
func (p *proposals) advance(applied uint64) {
	p.mu.Lock()
	p.applied = applied
	n := 0
	for n < len(p.waiting) && p.waiting[n].lsn <= applied {
		n++
	}
	ready := p.waiting[:n:n]
	p.waiting = p.waiting[n:]
	p.mu.Unlock()
	for _, r := range ready {
		r.done(nil)
	}
}

// close fails what waits and what comes.
func (p *proposals) close() {
	p.mu.Lock()
	p.closed = true
	failed := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, f := range failed {
		f.done(errSteppedDown)
	}
}
