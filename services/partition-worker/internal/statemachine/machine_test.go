package statemachine_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

func TestMachineKnowsItsPlace(t *testing.T) {
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	tx := kv.NewTx(space)
	machine, err := statemachine.New(0, layout, space)
	require.NoError(t, err)
	require.Zero(t, machine.AppliedSequence())
	require.Zero(t, machine.LeaderEpoch())
	require.Empty(t, machine.LogID())
	require.NoError(t, machine.Bind(tx, "log"))

	_, err = machine.Apply(tx, 7, &logv1.Batch{Producer: "p", Records: []*logv1.Record{{
		Sequence: 1, Command: &logv1.Record_AnnounceLeader{AnnounceLeader: &logv1.AnnounceLeader{LeaderEpoch: 3}},
	}}})
	require.NoError(t, err)
	for _, applied := range []uint64{0, 6, 7} {
		_, err = machine.Apply(tx, applied, &logv1.Batch{})
		require.ErrorContains(t, err, "not after 7")
	}
	_, err = machine.Apply(tx, 8, &logv1.Batch{Records: make([]*logv1.Record, 1<<16+1)})
	require.ErrorContains(t, err, "records")
	require.NoError(t, tx.Commit())

	again, err := statemachine.New(0, layout, space)
	require.NoError(t, err)
	require.Equal(t, uint64(7), again.AppliedSequence())
	require.Equal(t, uint64(3), again.LeaderEpoch())
	require.Equal(t, "log", again.LogID())
}

func TestDamagedRowIsReported(t *testing.T) {
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	batch := kv.NewBatch(0)
	batch.Put(storage.MetaKey(), []byte{0xff})
	require.NoError(t, space.Write(batch))
	_, err = statemachine.New(0, layout, space)
	require.ErrorIs(t, err, storage.ErrCorrupt)
}

// TestPendingRuns compares what a new leader starts with what its predecessor has been told to start.
func TestPendingRuns(t *testing.T) {
	s := newScript(t, false)
	for _, line := range []string{
		"invoke id=done", "ended id=done value=x",
		"invoke id=suspended", "effect id=suspended awakeable", "suspended id=suspended completions=1",
		"invoke id=scheduled at=9000",
		"invoke id=completed retention=1000", "ended id=completed value=x",
		"invoke id=first service=Counter key=k", "invoke id=second service=Counter key=k",
		"invoke id=running", "effect id=running pin=ep sleep until=0", "suspended id=running completions=1",
	} {
		command, a, err := parseRecord(line)
		require.NoError(t, err)
		_, err = s.batch(a, []string{command})
		require.NoError(t, err, line)
	}
	// Of what does not run, no more than the state is read: a row that breaks off behind it is as good as any other.
	completed, err := proto.Marshal(&storagev1.Invocation{State: storagev1.Invocation_STATE_COMPLETED})
	require.NoError(t, err)
	tx := kv.NewTx(s.space)
	tx.Put(storage.InvocationKey(ids.InvocationID{0xff}), append(completed, 0xff))
	require.NoError(t, tx.Commit())
	var runs []string
	require.NoError(t, statemachine.PendingRuns(s.space, func(start statemachine.StartInvocation) {
		runs = append(runs, s.action(start))
	}))
	require.Equal(t, []string{
		"start first run=9.0",
		"start running run=13.0 pin={endpoint_id=ep service_protocol_version=1}",
	}, runs)
}
