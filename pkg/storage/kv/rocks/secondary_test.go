package rocks_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"
)

const partitions = 3

// busy options make the database flush now and then by itself.
func busy() rocks.Options {
	o := rocks.DefaultOptions()
	o.WriteBufferBytes, o.MaxWALBytes = 4<<20, 8<<20
	return o
}

func openPrimary(t *testing.T, dir string, o rocks.Options) *rocks.Store {
	t.Helper()
	store, err := rocks.Open(dir, partitions, o)
	require.NoError(t, err)
	return store
}

// openSecondary opens the database as it is now, though its writer is busy.
func openSecondary(t *testing.T, dir string) *rocks.Secondary {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		s, err := rocks.OpenSecondary(dir, filepath.Join(filepath.Dir(dir), "log"), partitions, rocks.DefaultOptions())
		if err == nil {
			return s
		}
		require.ErrorIs(t, err, rocks.ErrMoved)
		require.True(t, time.Now().Before(deadline), "the writer never pauses")
	}
}

// refresh catches up, or opens again what cannot.
func refresh(t *testing.T, s *rocks.Secondary, dir string) *rocks.Secondary {
	t.Helper()
	current, err := s.CatchUp()
	require.NoError(t, err)
	if current {
		return s
	}
	require.NoError(t, s.Close())
	return openSecondary(t, dir)
}

func put(t *testing.T, store *rocks.Store, partition uint32, key, value string) {
	t.Helper()
	space, err := store.Space(partition)
	require.NoError(t, err)
	tx := kv.NewTx(space)
	tx.Put([]byte(key), []byte(value))
	require.NoError(t, tx.Commit())
}

func get(t *testing.T, s *rocks.Secondary, partition int, key string) string {
	t.Helper()
	value, ok, err := s.Partitions()[partition].Get([]byte(key))
	require.NoError(t, err)
	if !ok {
		return "nothing"
	}
	return string(value)
}

func TestSecondaryShowsWhatWasWrittenBeforeItCaughtUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	primary := openPrimary(t, dir, rocks.DefaultOptions())
	put(t, primary, 0, "a", "before")
	secondary := openSecondary(t, dir)
	require.Len(t, secondary.Partitions(), partitions)
	require.Equal(t, "before", get(t, secondary, 0, "a"))
	put(t, primary, 0, "a", "after")
	put(t, primary, 2, "b", "other")
	require.Equal(t, "before", get(t, secondary, 0, "a"), "it is a state of the past")
	current, err := secondary.CatchUp()
	require.NoError(t, err)
	require.True(t, current)
	require.Equal(t, "after", get(t, secondary, 0, "a"))
	require.Equal(t, "other", get(t, secondary, 2, "b"))
	require.Equal(t, "nothing", get(t, secondary, 1, "b"))

	space, err := primary.Space(0)
	require.NoError(t, err)
	tx := kv.NewTx(space)
	tx.Delete([]byte("a"))
	require.NoError(t, tx.Commit())
	require.NoError(t, space.Flush())
	current, err = secondary.CatchUp()
	require.NoError(t, err)
	require.False(t, current, "there are new tables")
	secondary = refresh(t, secondary, dir)
	require.Equal(t, "nothing", get(t, secondary, 0, "a"))
	require.NoError(t, secondary.Close())
	require.NoError(t, primary.Close())
}

func TestSecondaryOfNoDatabase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	open := func(n uint32) error {
		_, err := rocks.OpenSecondary(dir, filepath.Join(t.TempDir(), "log"), n, rocks.DefaultOptions())
		return err
	}
	require.ErrorIs(t, open(partitions), rocks.ErrNoDatabase)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.ErrorIs(t, open(partitions), rocks.ErrNoDatabase)
	require.NoError(t, openPrimary(t, dir, rocks.DefaultOptions()).Close())
	require.ErrorIs(t, open(partitions+1), rocks.ErrNoDatabase, "a partition is still to come")
	err := open(partitions - 1)
	require.ErrorContains(t, err, "3 partitions, not 2")
	require.NotErrorIs(t, err, rocks.ErrNoDatabase)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("nonsense"), 0o600))
	require.Error(t, open(partitions))
}

func TestSecondaryOutlivesTheWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	current := func(s *rocks.Secondary) bool {
		current, err := s.CatchUp()
		require.NoError(t, err)
		return current
	}
	primary := openPrimary(t, dir, rocks.DefaultOptions())
	put(t, primary, 1, "a", "1")
	secondary := openSecondary(t, dir)
	put(t, primary, 1, "a", "2")
	require.NoError(t, primary.Close())
	secondary = refresh(t, secondary, dir)
	require.Equal(t, "2", get(t, secondary, 1, "a"))

	primary = openPrimary(t, dir, rocks.DefaultOptions())
	require.False(t, current(secondary), "there is a new writer")
	put(t, primary, 1, "a", "3")
	require.Equal(t, "2", get(t, secondary, 1, "a"), "what it has can still be read")
	secondary = refresh(t, secondary, dir)
	require.Equal(t, "3", get(t, secondary, 1, "a"))
	require.NoError(t, primary.Close())

	require.NoError(t, os.RemoveAll(dir))
	require.False(t, current(secondary))
	require.NoError(t, openPrimary(t, dir, rocks.DefaultOptions()).Close())
	require.False(t, current(secondary), "this is another database")
	require.Equal(t, "3", get(t, secondary, 1, "a"), "what it has can still be read")
	require.NoError(t, secondary.Close())
}

// openTables counts the tables that this process has open, deleted or not.
func openTables(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	n := 0
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && strings.Contains(target, ".sst") {
			n++
		}
	}
	return n
}

func tablesIn(t *testing.T, dir string) []string {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	require.NoError(t, err)
	return tables
}

// rows is how many rows the writer has, burst how many it writes in a millisecond: few enough that what it flushes leaves
// time to open the database in between on a slow machine too.
const rows, burst = 1000, 2

// writer writes to the rows in turn: the n-th write puts n into row n%rows, or deletes the row.
type writer struct {
	written atomic.Uint64
	stop    func() error
}

func startWriter(t *testing.T, store *rocks.Store) *writer {
	w := &writer{}
	stopping, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- w.write(store, stopping) }()
	w.stop = sync.OnceValue(func() error {
		close(stopping)
		return <-done
	})
	t.Cleanup(func() { _ = w.stop() }) // the test has failed already
	return w
}

func (w *writer) write(store *rocks.Store, stopping <-chan struct{}) error {
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for n := uint64(1); ; n++ {
		if n%burst == 0 {
			select {
			case <-stopping:
				return nil
			case <-pace.C:
			}
		}
		space, err := store.Space(uint32(n % rows % partitions))
		if err != nil {
			return err
		}
		tx := kv.NewTx(space)
		key := binary.BigEndian.AppendUint64(nil, n%rows)
		if deletes(n) {
			tx.Delete(key)
		} else {
			tx.Put(key, append(binary.BigEndian.AppendUint64(nil, n), make([]byte, 400)...))
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		w.written.Store(n)
	}
}

// deletes says whether the n-th write deletes its row.
func deletes(n uint64) bool { return n%7 == 0 }

// TestSecondaryBesideABusyWriter refreshes again and again beside a writer, between flushes and compactions. Whatever was
// written before is there each time, and what was replaced or deleted is not.
func TestSecondaryBesideABusyWriter(t *testing.T) {
	const rounds = 30
	dir := filepath.Join(t.TempDir(), "db")
	primary := openPrimary(t, dir, busy())

	writer := startWriter(t, primary)
	await.True(t, await.Deadline, func() bool { return writer.written.Load() > 2*rows }, "the first rows")
	secondary := openSecondary(t, dir)
	reopened := 0
	for round := range uint32(rounds) {
		// Two rounds of three, so that a secondary is seen that catches up and one that cannot.
		if family := round % partitions; family != 0 {
			flush(t, primary, family)
		}
		before := writer.written.Load()
		refreshed := refresh(t, secondary, dir)
		if refreshed != secondary {
			secondary = refreshed
			reopened++
		}
		after := writer.written.Load()
		seen := map[uint64]uint64{}
		for _, reader := range secondary.Partitions() {
			it := reader.Scan(nil, nil)
			for it.Next() {
				seen[binary.BigEndian.Uint64(it.Key())] = binary.BigEndian.Uint64(it.Value())
			}
			require.NoError(t, it.Err())
			it.Close()
		}
		for row := range uint64(rows) {
			// last is the last write of the row of which it is certain that it is in.
			last := before - (before-row)%rows
			if n, found := seen[row]; found {
				require.GreaterOrEqual(t, n, last, "row %d is older than what was written before", row)
				continue
			}
			deleted := false
			for n := last; n <= after+1; n += rows {
				deleted = deleted || deletes(n)
			}
			require.True(t, deleted, "row %d of write %d is missing", row, last)
		}
	}
	require.NoError(t, writer.stop())
	require.Positive(t, reopened)
	require.NoError(t, secondary.Close())
	require.NoError(t, primary.Close())
}

func flush(t *testing.T, store *rocks.Store, partition uint32) {
	t.Helper()
	space, err := store.Space(partition)
	require.NoError(t, err)
	require.NoError(t, space.Flush())
}

// TestSecondaryReadsTablesThatTheWriterDeleted lets the writer compact what the secondary has open.
func TestSecondaryReadsTablesThatTheWriterDeleted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	primary := openPrimary(t, dir, rocks.DefaultOptions())
	put(t, primary, 1, "a", "before")
	flush(t, primary, 1)
	secondary := openSecondary(t, dir)
	require.Equal(t, "before", get(t, secondary, 1, "a"))
	read := tablesIn(t, dir)
	require.Len(t, read, 1)

	// Flushes until there are enough tables for a compaction, which deletes those that went into it.
	await.True(t, await.Deadline, func() bool {
		put(t, primary, 1, "a", "after")
		flush(t, primary, 1)
		return !slices.Contains(tablesIn(t, dir), read[0])
	}, "the table that is read to be deleted")
	require.Equal(t, "before", get(t, secondary, 1, "a"), "it is a state of the past")
	secondary = refresh(t, secondary, dir)
	require.Equal(t, "after", get(t, secondary, 1, "a"))
	require.NoError(t, secondary.Close())
	require.NoError(t, primary.Close())
	require.Zero(t, openTables(t))
}
