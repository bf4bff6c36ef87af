// Package admission bounds how many requests are in progress.
package admission

import (
	"errors"
	"fmt"
	"sync/atomic"
)

var (
	// ErrBusy means that as many requests are in progress as may be.
	ErrBusy = errors.New("too many requests are in progress, try again later")
	// ErrStopping means that the ingress takes no new requests.
	ErrStopping = errors.New("the ingress is stopping, nothing was run")
)

// Gate lets requests in, whatever they speak.
type Gate struct {
	limit    int64
	inside   atomic.Int64
	stopping atomic.Bool
}

// NewGate returns a gate that lets up to limit requests in at a time.
func NewGate(limit int64) *Gate { return &Gate{limit: limit} }

// Enter lets a request in; Leave has to follow. The error wraps ErrBusy or ErrStopping, and the request is not in then.
func (g *Gate) Enter() error {
	if g.inside.Add(1) > g.limit {
		g.inside.Add(-1)
		return fmt.Errorf("%w: the limit is %d", ErrBusy, g.limit)
	}
	if g.stopping.Load() {
		g.inside.Add(-1)
		return ErrStopping
	}
	return nil
}

// Leave lets the next request in.
func (g *Gate) Leave() { g.inside.Add(-1) }

// Inside returns how many requests are in progress.
func (g *Gate) Inside() int64 { return g.inside.Load() }

// Close makes the gate refuse new requests. Those in progress go on.
func (g *Gate) Close() { g.stopping.Store(true) }
