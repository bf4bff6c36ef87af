// Package timers proposes a record when a timer of the partition's table is due. Only the window of timers that are
// due next is in memory.
package timers

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// Config of a partition's timers.
type Config struct {
	// Window is how many timers are kept in memory, at least 1.
	Window int
}

// Deps are the ways out.
type Deps struct {
	// State is the committed state.
	State kv.Reader
	// Fire proposes that the timer with the key is due. It may block; an error ends Run.
	Fire func(ctx context.Context, key []byte) error
	Now  func() time.Time
}

// Timers watches the timers of one partition while this worker leads it.
type Timers struct {
	cfg  Config
	deps Deps

	mu sync.Mutex
	// window holds the keys of the timers due next, in order. Every timer in the table that is not in it, and has
	// not fired, has a key after horizon.
	window  btree.Set[string]
	horizon string
	// more says that the table has timers after horizon.
	more bool
	wake chan struct{}
}

// New returns timers that know nothing yet; Run loads them.
func New(cfg Config, deps Deps) *Timers {
	return &Timers{cfg: cfg, deps: deps, more: true, wake: make(chan struct{}, 1)}
}

// Add tells of a timer that has been committed to the table.
func (t *Timers) Add(id storage.TimerID) {
	key := string(id.Key())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more && key > t.horizon {
		return // it is loaded from the table in its turn
	}
	t.window.Insert(key)
	if t.window.Len() > t.cfg.Window {
		last, _ := t.window.PopMax()
		t.more = true
		previous, ok := t.window.Max()
		if !ok {
			previous = ""
		}
		t.horizon = previous
		if last == key {
			return
		}
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Len returns how many timers are in memory.
func (t *Timers) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.window.Len()
}

// Run fires timers until the context ends.
func (t *Timers) Run(ctx context.Context) error {
	for {
		key, wait, err := t.next()
		if err != nil {
			return err
		}
		if key == "" || wait > 0 {
			if err := t.sleep(ctx, wait); err != nil {
				return nil //nolint:nilerr // the context ended: that is how Run is stopped
			}
			continue
		}
		if err := t.deps.Fire(ctx, []byte(key)); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the context ended: that is how Run is stopped
			}
			return fmt.Errorf("propose that a timer is due: %w", err)
		}
		t.mu.Lock()
		t.window.Delete(key)
		t.mu.Unlock()
	}
}

// next returns the timer due next and how long that is from now. Without a timer the key is empty.
func (t *Timers) next() (key string, wait time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.window.Len() == 0 && t.more {
		if err := t.load(); err != nil {
			return "", 0, err
		}
	}
	key, ok := t.window.Min()
	if !ok {
		return "", math.MaxInt64, nil
	}
	id, err := storage.ParseTimerKey([]byte(key))
	if err != nil {
		return "", 0, err
	}
	now := uint64(max(t.deps.Now().UnixMilli(), 0))
	if id.FireAt <= now {
		return key, 0, nil
	}
	const longest = uint64(time.Hour / time.Millisecond)
	return key, time.Duration(min(id.FireAt-now, longest)) * time.Millisecond, nil
}

// load fills the window with the timers after the horizon.
func (t *Timers) load() error {
	var from []byte
	if t.horizon != "" {
		from = append([]byte(t.horizon), 0)
	}
	found := 0
	if err := storage.ScanTimers(t.deps.State, from, t.cfg.Window, func(id storage.TimerID) error {
		found++
		t.horizon = string(id.Key())
		t.window.Insert(t.horizon)
		return nil
	}); err != nil {
		return fmt.Errorf("load timers: %w", err)
	}
	t.more = found == t.cfg.Window
	return nil
}

func (t *Timers) sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.wake:
		return nil
	case <-timer.C:
		return nil
	}
}
