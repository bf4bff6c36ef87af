package rocks_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"
)

func rowsOf(t *testing.T, r kv.Reader, lower, upper string) (rows []string) {
	t.Helper()
	it := r.Scan([]byte(lower), []byte(upper))
	defer it.Close()
	for it.Next() {
		rows = append(rows, string(it.Key())+"="+string(it.Value()))
	}
	require.NoError(t, it.Err())
	return rows
}

// TestRandomChanges makes the same changes, ranges among them, to a database, to its twin in memory and to a map. All show
// the same, before they are committed and afterwards, whether they are in tables or not.
func TestRandomChanges(t *testing.T) {
	const seed = 7
	draw := rand.New(rand.NewPCG(seed, seed))
	store := openPrimary(t, filepath.Join(t.TempDir(), "db"), rocks.DefaultOptions())
	persistent, err := store.Space(1)
	require.NoError(t, err)
	volatile, err := mem.New(1).Space(0)
	require.NoError(t, err)
	txs := []*kv.Tx{kv.NewTx(persistent), kv.NewTx(volatile)}
	wanted := map[string]string{}
	key := func() string { return fmt.Sprintf("%02d", draw.IntN(40)) }
	compare := func(lower, upper string) {
		var rows []string
		for _, k := range slices.Sorted(maps.Keys(wanted)) {
			if lower <= k && k < upper {
				rows = append(rows, k+"="+wanted[k])
			}
		}
		k := key()
		for _, tx := range txs {
			require.Equal(t, rows, rowsOf(t, tx, lower, upper))
			value, ok, err := tx.Get([]byte(k))
			require.NoError(t, err)
			held, holds := wanted[k]
			require.Equal(t, holds, ok, k)
			require.Equal(t, held, string(value), k)
		}
	}
	for n := range 5000 {
		lower, upper := key(), key()
		switch draw.IntN(10) {
		case 0, 1, 2, 3, 4:
			wanted[lower] = fmt.Sprint(n)
			for _, tx := range txs {
				tx.Put([]byte(lower), fmt.Append(nil, n))
			}
		case 5:
			delete(wanted, lower)
			for _, tx := range txs {
				tx.Delete([]byte(lower))
			}
		case 6:
			maps.DeleteFunc(wanted, func(k, _ string) bool { return lower <= k && k < upper })
			for _, tx := range txs {
				tx.DeleteRange([]byte(lower), []byte(upper))
			}
		case 7:
			for _, tx := range txs {
				require.NoError(t, tx.Commit())
			}
			require.Equal(t, rowsOf(t, volatile, "", "99"), rowsOf(t, persistent, "", "99"))
		case 8:
			if draw.IntN(10) == 0 {
				require.NoError(t, persistent.Flush())
			}
		default:
			compare(min(lower, upper), max(lower, upper))
			compare("", "99")
		}
	}
	for _, tx := range txs {
		tx.Reset()
	}
	require.Equal(t, rowsOf(t, volatile, "", "99"), rowsOf(t, txs[0], "", "99"), "after a reset there is what was committed")
	require.NoError(t, store.Close())
}

// The reader beside the worker sees a deleted range as it sees deleted rows, from the log and from tables.
func TestSecondaryShowsDeletedRanges(t *testing.T) {
	for name, flush := range map[string]bool{"from the log": false, "from tables": true} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "db")
			primary := openPrimary(t, dir, rocks.DefaultOptions())
			space, err := primary.Space(0)
			require.NoError(t, err)
			for _, key := range []string{"a", "b1", "b2", "c"} {
				put(t, primary, 0, key, "x")
			}
			if flush {
				require.NoError(t, space.Flush())
			}
			secondary := openSecondary(t, dir)
			tx := kv.NewTx(space)
			tx.DeleteRange([]byte("b"), []byte("c"))
			tx.Put([]byte("b3"), []byte("y"))
			require.NoError(t, tx.Commit())
			if flush {
				require.NoError(t, space.Flush())
			}
			secondary = refresh(t, secondary, dir)
			require.Equal(t, []string{"a=x", "b3=y", "c=x"}, rowsOf(t, secondary.Partitions()[0], "", "z"))
			require.Equal(t, "nothing", get(t, secondary, 0, "b1"))
			require.NoError(t, secondary.Close())
			require.NoError(t, primary.Close())

			again := openPrimary(t, dir, rocks.DefaultOptions())
			space, err = again.Space(0)
			require.NoError(t, err)
			require.Equal(t, []string{"a=x", "b3=y", "c=x"}, rowsOf(t, space, "", "z"), "after a restart")
			require.NoError(t, again.Close())
		})
	}
}

// A brief scan gives up among deleted rows, and says so; others find what is behind them.
func TestBriefScansGiveUp(t *testing.T) {
	store := openPrimary(t, filepath.Join(t.TempDir(), "db"), rocks.DefaultOptions())
	space, err := store.Space(0)
	require.NoError(t, err)
	tx := kv.NewTx(space)
	for _, drop := range []bool{false, true} {
		for n := range 100 {
			key := fmt.Appendf(nil, "b%03d", n)
			if drop {
				tx.Delete(key)
			} else {
				tx.Put(key, nil)
			}
		}
		tx.Put([]byte("a"), nil)
		tx.Put([]byte("c"), nil)
		require.NoError(t, tx.Commit())
	}
	require.NoError(t, space.Flush())
	snapshot := space.Snapshot()
	require.Equal(t, []string{"a=", "c="}, rowsOf(t, snapshot, "", "z"))
	require.Equal(t, []string{"a=", "c="}, rowsOf(t, snapshot.Brief(200), "", "z"))
	it := snapshot.Brief(50).Scan(nil, []byte("z"))
	require.True(t, it.Next())
	require.Equal(t, "a", string(it.Key()))
	require.False(t, it.Next())
	require.ErrorIs(t, it.Err(), kv.ErrSparse)
	it.Close()
	snapshot.Close()
	require.NoError(t, store.Close())
}
