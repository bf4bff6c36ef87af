// Package fairshare divides what there is of something among those who want it, so that none of them can take all.
package fairshare

import (
	"sort"
	"sync"
)

// share bounds what one may hold: the less is free, the less that is, as the square of it. One alone gets seven of ten, and
// dozens that give nothing back leave some to the next.
const share = 8

// MayHold says whether one may hold so much of what there is of the limit, when so much is left.
func MayHold(held, left, limit int) bool {
	return float64(held)*float64(limit) <= share*float64(left)*float64(left)
}

// Pool is what is divided. It may be used from any goroutine. Nobody waits for it.
type Pool struct {
	limit, most int

	mu   sync.Mutex
	free int
	held map[string]int
}

// NewPool returns a pool that has so much, 0 or more.
func NewPool(limit int) *Pool {
	tooMuch := sort.Search(limit, func(n int) bool { return !MayHold(n, limit-n, limit) })
	return &Pool{limit: limit, most: max(tooMuch-1, 0), free: limit, held: map[string]int{}}
}

// Limit returns how much there is in all.
func (p *Pool) Limit() int { return p.limit }

// Most returns how much one gets when the others have nothing.
func (p *Pool) Most() int { return p.most }

// Free returns how much nobody has.
func (p *Pool) Free() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.free
}

// Take gives so much more to somebody, or nothing.
func (p *Pool) Take(who string, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.free || !MayHold(p.held[who]+n, p.free-n, p.limit) {
		return false
	}
	p.free -= n
	p.held[who] += n
	return true
}

// Release takes so much back from somebody who has it.
func (p *Pool) Release(who string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free += n
	if p.held[who] -= n; p.held[who] == 0 {
		delete(p.held, who)
	}
}
