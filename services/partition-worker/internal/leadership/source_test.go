package leadership

import (
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
		"all of it":           {bounds: invoker.Bounds{Entries: 3, Bytes: 400, State: 300}, state: 3},
		"too many entries":    {bounds: invoker.Bounds{Entries: 2, Bytes: 400, State: 300}, code: errcode.JournalTooLarge},
		"too many bytes":      {bounds: invoker.Bounds{Entries: 3, Bytes: 299, State: 300}, code: errcode.JournalTooLarge},
		"a part of the state": {bounds: invoker.Bounds{Entries: 3, Bytes: 400, State: 299}, state: 2, partial: true},
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
			require.Equal(t, journal.Size+100*c.state, used)
			c.bounds.Use = func(int) error { return io.ErrShortBuffer }
			_, err = source{space}.Load(t.Context(), invocation, c.bounds)
			require.ErrorIs(t, err, io.ErrShortBuffer)
		})
	}
	invocation.Run = 8
	_, err = source{space}.Load(t.Context(), invocation, invoker.Bounds{Entries: 3, Bytes: 400})
	require.ErrorIs(t, err, invoker.ErrRunOver)
}
