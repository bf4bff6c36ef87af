// Package database reads the worker's database beside the worker, and keeps it open only while somebody reads.
//
// While it is open it holds on to files that the worker has replaced, and to a copy of what the worker has not written to
// tables yet. So it is closed when nobody has read for a while.
package database

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"

	"github.com/restate-go/restate/services/storage-reader/internal/scan"
)

const (
	// idleAfter is how long the database stays open when nobody reads.
	idleAfter = 30 * time.Second
	// retryPause is how long the opening waits after a failure.
	retryPause = 500 * time.Millisecond
	// openTimeout is how long the opening is tried while the worker writes tables faster than they can be opened.
	openTimeout = 30 * time.Second
)

// Config of the database.
type Config struct {
	// Dir is that of the worker's database; LogDir takes RocksDB's log about what happens here.
	Dir, LogDir string
	Layout      keyspace.Layout
	Options     rocks.Options
	Log         *slog.Logger
}

// Database is the worker's database, to be read. It may be used from several goroutines. Nothing that is read waits for
// anything but the disk.
type Database struct {
	cfg Config
	// refreshing is held by the one who opens or catches up.
	refreshing chan struct{}

	mu      sync.Mutex
	current *instance
	failed  error
	closed  bool
}

// instance is the database while it is open.
type instance struct {
	secondary *rocks.Secondary
	readers   []kv.Reader
	// The rest belongs to the lock of the database. The last user of a retired instance closes it.
	users    int
	lastUsed time.Time
	retired  bool
	// shows is a time before which everything committed is visible.
	shows time.Time
}

var (
	errStarting = errors.New("the database has not been opened yet")
	// ErrClosed means that the daemon stops.
	ErrClosed = errors.New("the database is closed")
)

// New returns the database. It opens nothing: Run does.
func New(cfg Config) *Database {
	return &Database{cfg: cfg, refreshing: make(chan struct{}, 1), failed: errStarting}
}

// Ready returns nil while the database can be read, and otherwise what is missing.
func (d *Database) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Run opens the database as soon as there is one, closes it when nobody reads, and for good when the context ends.
func (d *Database) Run(ctx context.Context) error {
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	waiting := false
	for {
		if err := d.Ready(); err != nil {
			err = d.Refresh(ctx)
			if err != nil && !waiting && ctx.Err() == nil {
				waiting = true
				d.cfg.Log.Info("the database cannot be read, trying again", "reason", err)
			} else if err == nil {
				waiting = false
				d.cfg.Log.Info("the database can be read", "database", d.cfg.Dir)
			}
		}
		select {
		case <-ctx.Done():
			return d.close()
		case <-ticker.C:
		}
		if err := d.retireIdle(); err != nil {
			d.cfg.Log.Warn("could not close the database cleanly", "error", err)
		}
	}
}

// Refresh makes visible to later reads everything that was committed before the call.
func (d *Database) Refresh(ctx context.Context) error {
	asked := time.Now()
	select {
	case d.refreshing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.refreshing }()
	if d.shows(asked) {
		return nil
	}
	began := time.Now()
	err := d.refresh(ctx)
	if ctx.Err() == nil {
		d.mu.Lock()
		d.failed = err
		if err == nil && d.current != nil {
			d.current.shows = began
		}
		d.mu.Unlock()
	}
	return err
}

// shows says whether another one has refreshed the database after that time.
func (d *Database) shows(t time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current != nil && d.current.shows.After(t)
}

func (d *Database) refresh(ctx context.Context) error {
	if used := d.acquire(); used != nil {
		current, err := used.secondary.CatchUp()
		if failed := d.release(used); failed != nil {
			return failed
		}
		if current {
			return nil
		}
		if err != nil {
			d.cfg.Log.Info("the database is opened again", "reason", err)
		}
		// It may show things that never were; those who read meanwhile wait for the next one.
		if err := d.replace(nil); err != nil {
			return err
		}
	}
	opened, err := d.open(ctx)
	if err != nil {
		return err
	}
	return d.replace(&instance{secondary: opened, readers: opened.Partitions(), lastUsed: time.Now()})
}

// open tries until the worker does not get in the way.
func (d *Database) open(ctx context.Context) (*rocks.Secondary, error) {
	for deadline := time.Now().Add(openTimeout); ; {
		opened, err := rocks.OpenSecondary(d.cfg.Dir, d.cfg.LogDir, d.cfg.Layout.Partitions, d.cfg.Options)
		if !errors.Is(err, rocks.ErrMoved) || time.Now().After(deadline) || ctx.Err() != nil {
			return opened, err
		}
	}
}

// replace puts another instance, or none, in the place of the current one.
func (d *Database) replace(by *instance) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		if by != nil {
			return errors.Join(ErrClosed, by.secondary.Close())
		}
		return ErrClosed
	}
	old := d.take()
	d.current = by
	d.mu.Unlock()
	return old.close()
}

// take makes the current instance no longer current, and returns it if nobody uses it: then it is to be closed, outside
// of the lock, which is held here.
func (d *Database) take() *instance {
	old := d.current
	d.current = nil
	if old == nil {
		return nil
	}
	old.retired = true
	if old.users > 0 {
		return nil
	}
	return old
}

func (i *instance) close() error {
	if i == nil {
		return nil
	}
	return i.secondary.Close()
}

func (d *Database) retireIdle() error {
	d.mu.Lock()
	var idle *instance
	if d.current != nil && d.current.users == 0 && time.Since(d.current.lastUsed) > idleAfter {
		idle = d.take()
	}
	d.mu.Unlock()
	return idle.close()
}

func (d *Database) close() error {
	d.mu.Lock()
	d.closed = true
	last := d.take()
	d.mu.Unlock()
	return last.close()
}

// acquire returns the current instance, nil when there is none. It stays open until it is released.
func (d *Database) acquire() *instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil {
		d.current.users++
	}
	return d.current
}

func (d *Database) release(i *instance) error {
	d.mu.Lock()
	i.users--
	i.lastUsed = time.Now()
	last := i.retired && i.users == 0
	d.mu.Unlock()
	if last {
		return i.close()
	}
	return nil
}

// Read calls the function with what was committed at some time since the last Refresh. It implements scan.Source.
func (d *Database) Read(ctx context.Context, read func(scan.View) error) (err error) {
	used := d.acquire()
	if used == nil {
		// It was idle for long: the client took its time.
		if err := d.Refresh(ctx); err != nil {
			return err
		}
		if used = d.acquire(); used == nil {
			return fmt.Errorf("read the database: %w", ErrClosed)
		}
	}
	defer func() { err = errors.Join(err, d.release(used)) }()
	return read(scan.View{Layout: d.cfg.Layout, Partitions: used.readers})
}
