package rocks_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"
)

// TestManyPartitionsShareTheWriteBuffer writes little to many partitions, which is not to be flushed.
func TestManyPartitionsShareTheWriteBuffer(t *testing.T) {
	const many, rounds = 64, 30
	dir := filepath.Join(t.TempDir(), "db")
	store, err := rocks.Open(dir, many, rocks.DefaultOptions())
	require.NoError(t, err)
	for round := range rounds {
		for partition := range uint32(many) {
			space, err := store.Space(partition)
			require.NoError(t, err)
			tx := kv.NewTx(space)
			tx.Put([]byte{byte(round)}, make([]byte, 1000))
			require.NoError(t, tx.Commit())
		}
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	require.NoError(t, err)
	require.Empty(t, tables)
	require.NoError(t, store.Close())
}

// TestSweep reads what a scan does, and takes no room in the cache, neither of a space nor of a snapshot.
func TestSweep(t *testing.T) {
	const size = 1000
	store, err := rocks.Open(filepath.Join(t.TempDir(), "db"), 1, rocks.DefaultOptions())
	require.NoError(t, err)
	space, err := store.Space(0)
	require.NoError(t, err)
	tx := kv.NewTx(space)
	for i := range byte(100) {
		tx.Put([]byte{1, i}, make([]byte, size))
	}
	require.NoError(t, tx.Commit())
	require.NoError(t, space.Flush())
	snapshot := space.Snapshot()
	tx.Put([]byte{1, 100}, nil)
	require.NoError(t, tx.Commit())
	lower, upper := []byte{1, 10}, []byte{2}
	count := func(it kv.Iterator) (n int) {
		defer it.Close()
		for it.Next() {
			require.Equal(t, []byte{1, byte(10 + n)}, it.Key())
			require.LessOrEqual(t, len(it.Value()), size)
			n++
		}
		require.NoError(t, it.Err())
		return n
	}
	before := store.Cached()
	require.Equal(t, 91, count(space.Sweep(lower, upper)))
	require.Equal(t, 90, count(snapshot.Sweep(lower, upper)))
	require.Less(t, store.Cached(), before+size)
	require.Equal(t, 91, count(space.Scan(lower, upper)))
	require.Greater(t, store.Cached(), before+90*size)
	snapshot.Close()
	require.NoError(t, store.Close())
}

func TestOneProcessHasTheDatabase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	store, err := rocks.Open(dir, 1, rocks.DefaultOptions())
	require.NoError(t, err)
	_, err = rocks.Open(dir, 1, rocks.DefaultOptions())
	require.ErrorIs(t, err, rocks.ErrLocked)
	require.Equal(t, errcode.DatabaseLocked, errcode.Of(err, ""))
	require.NoError(t, store.Close())
}
