package storage_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"
)

// row has the one row of the table visited.
func row(t *testing.T, value []byte, visit func(storage.InvocationRow)) {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	batch := &kv.Batch{}
	batch.Put(storage.InvocationKey(id), value)
	require.NoError(t, space.Write(batch))
	require.NoError(t, storage.ScanInvocations(space, func(r storage.InvocationRow) error {
		visit(r)
		return nil
	}))
}

// The state that is read alone is that of the whole record, wherever it is in the row.
func TestStateOfARow(t *testing.T) {
	rest, err := proto.Marshal(&storagev1.Invocation{
		Target: &journalv1.Target{Service: "S", Handler: "h", Key: []byte("k")}, CreatedAt: 1 << 40,
		Result: &journalv1.Result{Result: &journalv1.Result_Value{Value: make([]byte, 1<<20)}}, RandomSeed: 1, ClientStream: "s",
	})
	require.NoError(t, err)
	states := []storagev1.Invocation_State{300, -1} // not known here
	for number := range storagev1.Invocation_State_name {
		states = append(states, storagev1.Invocation_State(number))
	}
	for _, state := range states {
		only, err := proto.Marshal(&storagev1.Invocation{State: state})
		require.NoError(t, err)
		for name, value := range map[string][]byte{
			"alone": only, "first": append(append([]byte{}, only...), rest...), "last": append(append([]byte{}, rest...), only...),
		} {
			row(t, value, func(r storage.InvocationRow) {
				_, decoded, err := r.Decode()
				require.NoError(t, err)
				got, err := r.State()
				require.NoError(t, err)
				require.Equal(t, decoded.GetState(), got, "%s, %s", state, name)
				require.Equal(t, state, got, name)
				require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = r.State() }), name)
			})
		}
	}
}

func TestDamagedState(t *testing.T) {
	for name, value := range map[string][]byte{
		"the tag breaks off":            {0xff},
		"the state breaks off":          {1 << 3, 0xff},
		"a field before it breaks off":  {2<<3 | 2, 9, 0},
		"a field before it has no type": protowire.AppendTag(nil, 2, 7),
	} {
		row(t, value, func(r storage.InvocationRow) {
			_, _, err := r.Decode()
			require.ErrorIs(t, err, storage.ErrCorrupt, name)
			_, err = r.State()
			require.ErrorIs(t, err, storage.ErrCorrupt, name)
		})
	}
}
