package schema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/membership"
)

const (
	documentKey       = "schema"
	descriptorsPrefix = "descriptors."
	retryPause        = 500 * time.Millisecond
)

// Registry follows the registry's bucket and keeps the latest snapshot.
type Registry struct {
	conn    *broker.Conn
	log     *slog.Logger
	current atomic.Pointer[Snapshot]
	ready   atomic.Bool

	mu      sync.Mutex
	changed chan struct{}
}

// Watch returns a registry that Run keeps up to date.
func Watch(conn *broker.Conn, log *slog.Logger) (*Registry, error) {
	r := &Registry{conn: conn, log: log, changed: make(chan struct{})}
	r.current.Store(emptySnapshot())
	return r, nil
}

// Current returns the latest snapshot, which is empty before the first has been read.
func (r *Registry) Current() *Snapshot { return r.current.Load() }

// Ready says whether the registry has been read.
func (r *Registry) Ready() bool { return r.ready.Load() }

// Changed returns a channel that is closed when the next snapshot is there.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Run follows the registry until the context ends, and returns nil then.
func (r *Registry) Run(ctx context.Context) error {
	for {
		err := r.follow(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the context ended: that is how Run is stopped
		}
		r.log.Warn("following the registry failed, trying again", "error", err)
		r.conn.Pause(ctx, retryPause)
	}
}

// follow ends with the connection to the broker, which then no longer knows who watched.
func (r *Registry) follow(ctx context.Context) error {
	ctx, cancel := r.conn.Attach(ctx)
	defer cancel()
	bucket, err := membership.Registry(ctx, r.conn)
	if err != nil {
		return broker.Explain(ctx, err)
	}
	watcher, err := bucket.Watch(ctx, documentKey)
	if err != nil {
		return fmt.Errorf("watch the registry: %w", broker.Explain(ctx, err))
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case entry, ok := <-watcher.Updates():
			if !ok {
				return errors.New("the watch of the registry ended")
			}
			if entry == nil { // what was there at the start has been delivered
				r.ready.Store(true)
				continue
			}
			if err := r.update(ctx, bucket, entry); err != nil {
				return broker.Explain(ctx, err)
			}
		}
	}
}

func (r *Registry) update(ctx context.Context, bucket jetstream.KeyValue, entry jetstream.KeyValueEntry) error {
	if entry.Revision() <= r.Current().Revision() {
		return nil
	}
	snapshot, err := read(ctx, bucket, entry, r.Current())
	if errors.Is(err, errOutdated) {
		return nil // the watch delivers the later one
	}
	if err != nil {
		return err
	}
	r.current.Store(snapshot)
	r.mu.Lock()
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	return nil
}

func read(ctx context.Context, bucket jetstream.KeyValue, entry jetstream.KeyValueEntry, previous *Snapshot) (*Snapshot, error) {
	var d document
	if err := json.Unmarshal(entry.Value(), &d); err != nil {
		return nil, fmt.Errorf("read the registry: %w", err)
	}
	return newSnapshot(entry.Revision(), d, previous, func(hash string) ([]byte, error) {
		stored, err := bucket.Get(ctx, descriptorsPrefix+hash)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil, changedSince(ctx, bucket, entry.Revision())
		}
		if err != nil {
			return nil, err
		}
		return stored.Value(), nil
	})
}

// errOutdated means that the registry has changed since it was read.
var errOutdated = errors.New("the registry has changed meanwhile")

// changedSince says why descriptors are missing: errOutdated when a later document no longer needs them.
func changedSince(ctx context.Context, bucket jetstream.KeyValue, revision uint64) error {
	entry, err := bucket.Get(ctx, documentKey)
	switch {
	case err != nil:
		return fmt.Errorf("read the registry: %w", err)
	case entry.Revision() != revision:
		return errOutdated
	default:
		return errors.New("they are missing from the registry")
	}
}

// WaitFor waits until the snapshot has at least the revision.
func (r *Registry) WaitFor(ctx context.Context, revision uint64) error {
	for {
		changed := r.Changed()
		if r.Current().Revision() >= revision {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for revision %d of the registry: %w", revision, ctx.Err())
		case <-changed:
		}
	}
}
