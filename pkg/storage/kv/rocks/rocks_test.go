package rocks_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

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
