package leadership

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
)

// However much a service has stored, no more is read of it than an attempt may have.
func TestSourceReadsWithinBounds(t *testing.T) {
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	invocation := invoker.Invocation{ID: ids.InvocationID{1}, Run: 7}
	record := &storagev1.Invocation{
		Run: 7, JournalLength: 3, CommandCount: 3,
		Target: &journalv1.Target{Service: "S", Handler: "h", Key: []byte("k"), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED},
	}
	batch := &kv.Batch{}
	require.NoError(t, storage.PutInvocation(batch, invocation.ID, record))
	for i := range uint32(3) {
		require.NoError(t, storage.PutJournalEntry(batch, invocation.ID, i, &journalv1.Entry{
			Entry: &journalv1.Entry_Command{Command: &journalv1.Command{Name: string(make([]byte, 100))}},
		}))
	}
	instance := storage.InstanceOf(invocation.ID, record.GetTarget())
	for _, key := range []string{"a", "b", "c"} {
		batch.Put(storage.StateKey(instance, []byte(key)), make([]byte, 99))
	}
	require.NoError(t, space.Write(batch))

	for name, c := range map[string]struct {
		bounds  invoker.Bounds
		state   int
		partial bool
		code    errcode.Code
	}{
		"all of it":           {bounds: invoker.Bounds{Entries: 3, Bytes: 400, State: 492}, state: 3},
		"too many entries":    {bounds: invoker.Bounds{Entries: 2, Bytes: 400, State: 492}, code: errcode.JournalTooLarge},
		"too many bytes":      {bounds: invoker.Bounds{Entries: 3, Bytes: 299, State: 492}, code: errcode.JournalTooLarge},
		"a part of the state": {bounds: invoker.Bounds{Entries: 3, Bytes: 400, State: 491}, state: 2, partial: true},
		"none of the state":   {bounds: invoker.Bounds{Entries: 3, Bytes: 400}, partial: true},
	} {
		t.Run(name, func(t *testing.T) {
			used := 0
			c.bounds.Use = func(bytes int) error {
				used += bytes
				return nil
			}
			journal, err := source{space}.Load(t.Context(), invocation, c.bounds)
			if c.code != "" {
				require.Equal(t, c.code, errcode.Of(err, ""))
				return
			}
			require.NoError(t, err)
			require.Len(t, journal.Entries, 3)
			require.Greater(t, journal.Size, 300)
			require.Len(t, journal.State, c.state)
			require.Equal(t, c.partial, journal.PartialState)
			require.Equal(t, journal.Size+164*c.state, used)
			c.bounds.Use = func(int) error { return io.ErrShortBuffer }
			_, err = source{space}.Load(t.Context(), invocation, c.bounds)
			require.ErrorIs(t, err, io.ErrShortBuffer)
		})
	}
	invocation.Run = 8
	_, err = source{space}.Load(t.Context(), invocation, invoker.Bounds{Entries: 3, Bytes: 400})
	require.ErrorIs(t, err, invoker.ErrRunOver)
}

// Deleted entries of the state leave traces in the database. An attempt walks over few of them: what is behind is left out.
func TestSourceGivesUpAmongDeletedState(t *testing.T) {
	store, err := rocks.Open(t.TempDir(), 1, rocks.DefaultOptions())
	require.NoError(t, err)
	space, err := store.Space(0)
	require.NoError(t, err)
	instance := storage.Instance{Service: "S", Key: []byte("k")}
	tx := kv.NewTx(space)
	for _, drop := range []bool{false, true} {
		tx.Put(storage.StateKey(instance, []byte("a")), []byte("x"))
		for n := range 2 * maxDeleted {
			if key := storage.StateKey(instance, fmt.Appendf(nil, "b%d", n)); drop {
				tx.Delete(key)
			} else {
				tx.Put(key, nil)
			}
		}
		tx.Put(storage.StateKey(instance, []byte("c")), []byte("y"))
		require.NoError(t, tx.Commit())
	}
	snapshot := space.Snapshot()
	bounds := invoker.Bounds{State: 1 << 20, Use: func(int) error { return nil }}
	entries, partial, err := loadState(snapshot, instance, bounds)
	require.NoError(t, err)
	require.True(t, partial)
	require.Equal(t, []invoker.StateEntry{{Key: []byte("a"), Value: []byte("x")}}, entries)
	snapshot.Close()
	require.NoError(t, store.Close())
}
