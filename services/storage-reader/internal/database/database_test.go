package database_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"

	"github.com/restate-go/restate/services/storage-reader/internal/database"
	"github.com/restate-go/restate/services/storage-reader/internal/scan"
)

const partitions = 2

// running is a database of a test, and the folder of its worker.
type running struct {
	*database.Database
	t    *testing.T
	dir  string
	stop func() error
}

func start(t *testing.T) *running {
	t.Helper()
	base := t.TempDir()
	r := &running{t: t, dir: filepath.Join(base, "db")}
	r.Database = database.New(database.Config{
		Dir: r.dir, LogDir: filepath.Join(base, "log"), Layout: keyspace.Layout{Partitions: partitions},
		Options: rocks.DefaultOptions(), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { require.NoError(t, r.stop()) })
	return r
}

// worker opens the database for writing, with little memory, so that it writes tables often.
func (r *running) worker() *rocks.Store {
	r.t.Helper()
	o := rocks.DefaultOptions()
	o.WriteBufferBytes, o.MaxWALBytes = 4<<20, 8<<20
	store, err := rocks.Open(r.dir, partitions, o)
	require.NoError(r.t, err)
	return store
}

func put(store *rocks.Store, key string, value []byte) error {
	space, err := store.Space(0)
	if err != nil {
		return err
	}
	tx := kv.NewTx(space)
	tx.Put([]byte(key), value)
	return tx.Commit()
}

// get refreshes, and reads one value; nil when there is none.
func (r *running) get(key string) ([]byte, error) {
	if err := r.Refresh(r.t.Context()); err != nil {
		return nil, err
	}
	var value []byte
	err := r.Read(r.t.Context(), func(v scan.View) (err error) {
		value, _, err = v.Partitions[0].Get([]byte(key))
		return err
	})
	return value, err
}

func (r *running) awaitReady() {
	r.t.Helper()
	await.True(r.t, await.Deadline, func() bool { return r.Ready() == nil }, "the database to be ready")
}

func TestWaitsForTheDatabase(t *testing.T) {
	r := start(t)
	require.Error(t, r.Ready())
	require.ErrorIs(t, r.Refresh(t.Context()), rocks.ErrNoDatabase)
	require.ErrorIs(t, r.Ready(), rocks.ErrNoDatabase)
	require.ErrorIs(t, r.Read(t.Context(), nil), rocks.ErrNoDatabase)
	store := r.worker()
	r.awaitReady()
	require.NoError(t, put(store, "a", []byte("1")))
	value, err := r.get("a")
	require.NoError(t, err)
	require.Equal(t, "1", string(value))
	require.NoError(t, store.Close())
}

// TestReadsItsOwnWrites has several read at the same time what was just written, while the worker writes tables.
func TestReadsItsOwnWrites(t *testing.T) {
	const readers, reads = 4, 40
	r := start(t)
	store := r.worker()
	r.awaitReady()
	var written atomic.Uint64
	stop := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return nil
			case <-pace.C:
			}
			for filler := range 20 {
				if err := put(store, fmt.Sprintf("filler %d", n*20+uint64(filler)%1000), make([]byte, 400)); err != nil {
					return err
				}
			}
			if err := put(store, "n", binary.BigEndian.AppendUint64(nil, n)); err != nil {
				return err
			}
			written.Store(n)
		}
	})
	await.True(t, await.Deadline, func() bool { return written.Load() > 0 }, "the first row")
	var reading errgroup.Group
	for range readers {
		reading.Go(func() error {
			for range reads {
				before := written.Load()
				value, err := r.get("n")
				if err != nil {
					return err
				}
				if n := binary.BigEndian.Uint64(value); n < before {
					return fmt.Errorf("read %d after %d was written", n, before)
				}
			}
			return nil
		})
	}
	require.NoError(t, reading.Wait())
	close(stop)
	require.NoError(t, group.Wait())
	require.NoError(t, store.Close())
}

func TestGoesOnAfterARestartOfTheWorker(t *testing.T) {
	r := start(t)
	store := r.worker()
	r.awaitReady()
	for n := range 5 {
		want := fmt.Sprint(n)
		require.NoError(t, put(store, "a", []byte(want)))
		if n%2 == 0 {
			value, err := r.get("a")
			require.NoError(t, err)
			require.Equal(t, want, string(value))
		}
		require.NoError(t, store.Close())
		value, err := r.get("a")
		require.NoError(t, err, "it is read while there is no worker")
		require.Equal(t, want, string(value))
		store = r.worker()
		value, err = r.get("a")
		require.NoError(t, err)
		require.Equal(t, want, string(value))
	}
	require.NoError(t, store.Close())
}

func TestFindsTheDatabaseThatReplacedAnother(t *testing.T) {
	r := start(t)
	store := r.worker()
	r.awaitReady()
	require.NoError(t, put(store, "a", []byte("old")))
	value, err := r.get("a")
	require.NoError(t, err)
	require.Equal(t, "old", string(value))
	require.NoError(t, store.Close())

	require.NoError(t, os.RemoveAll(r.dir))
	_, err = r.get("a")
	require.ErrorIs(t, err, rocks.ErrNoDatabase)
	require.Error(t, r.Ready())

	store = r.worker()
	value, err = r.get("a")
	require.NoError(t, err)
	require.Nil(t, value)
	require.NoError(t, put(store, "a", []byte("new")))
	value, err = r.get("a")
	require.NoError(t, err)
	require.Equal(t, "new", string(value))
	require.NoError(t, r.Ready())
	require.NoError(t, store.Close())
}

// TestReadThatLasts keeps what it began with, though the database is refreshed, replaced and closed meanwhile.
func TestReadThatLasts(t *testing.T) {
	r := start(t)
	store := r.worker()
	r.awaitReady()
	require.NoError(t, put(store, "a", []byte("first")))
	require.NoError(t, r.Refresh(t.Context()))
	require.NoError(t, r.Read(t.Context(), func(v scan.View) error {
		it := v.Partitions[0].Scan(nil, nil)
		defer it.Close()
		require.NoError(t, put(store, "a", []byte("second")))
		value, err := r.get("a")
		require.NoError(t, err)
		require.Equal(t, "second", string(value))

		space, err := store.Space(0)
		require.NoError(t, err)
		require.NoError(t, space.Flush())
		require.NoError(t, put(store, "a", []byte("third")))
		value, err = r.get("a")
		require.NoError(t, err)
		require.Equal(t, "third", string(value))

		require.NoError(t, r.stop())
		require.ErrorIs(t, r.Refresh(t.Context()), database.ErrClosed)
		require.True(t, it.Next())
		require.Equal(t, "first", string(it.Value()))
		require.NoError(t, it.Err())
		return nil
	}))
	require.NoError(t, store.Close())
}

func TestRefreshEndsWithItsContext(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, r.Refresh(ctx))
}

// openFiles counts the files in the folder that this process has open.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	n := 0
	for _, entry := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && filepath.Dir(target) == dir {
			n++
		}
	}
	return n
}

// TestHoldsOnToNothingWhileNobodyReads: else it would keep the space of files that the worker has deleted.
func TestHoldsOnToNothingWhileNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		store := r.worker()
		alone := openFiles(t, r.dir)
		require.NoError(t, put(store, "a", []byte("1")))
		_, err := r.get("a")
		require.NoError(t, err)
		require.Greater(t, openFiles(t, r.dir), alone)
		time.Sleep(time.Minute) //nolint:forbidigo // the clock is not real
		synctest.Wait()
		require.Equal(t, alone, openFiles(t, r.dir))
		require.NoError(t, r.Ready())
		require.NoError(t, r.Read(t.Context(), func(v scan.View) error {
			_, found, err := v.Partitions[0].Get([]byte("a"))
			require.True(t, found, "a scan goes on after a long pause")
			return err
		}))
		require.NoError(t, r.stop())
		require.Equal(t, alone, openFiles(t, r.dir))
		require.NoError(t, store.Close())
	})
}
