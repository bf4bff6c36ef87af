package statemachine_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// FuzzApply applies whatever decodes as a batch to a partition in the middle of its work. It may be refused; it may not
// panic, and what it does may depend on nothing but the batch and the tables.
func FuzzApply(f *testing.F) {
	c := newCluster(f, 1)
	for range 300 {
		c.step()
	}
	m := c.members[0]
	for range 200 {
		record := c.leaderRecord(m)
		if c.chance(30) {
			record = c.request(m)
		}
		encoded, err := proto.Marshal(&logv1.Batch{ProposedAt: c.now, Records: []*logv1.Record{record}})
		require.NoError(f, err)
		f.Add(encoded)
	}
	for _, encoded := range m.log {
		f.Add(encoded)
	}
	state := m.raw()
	f.Fuzz(func(t *testing.T, encoded []byte) {
		rows, failed := applyBytes(t, state, encoded)
		again, failedAgain := applyBytes(t, state, encoded)
		require.Equal(t, failed, failedAgain)
		require.Equal(t, rows, again)
	})
}

// applyBytes returns the rows after the batch, or that it was refused.
func applyBytes(t *testing.T, state map[string]string, encoded []byte) (rows map[string]string, refused bool) {
	t.Helper()
	batch := &logv1.Batch{}
	if proto.Unmarshal(encoded, batch) != nil {
		return nil, true
	}
	// Nothing is dropped as seen before, or as that of another leader.
	batch.Producer, batch.LeaderEpoch = "fuzz", 0
	for i, record := range batch.GetRecords() {
		record.Sequence = uint64(i) + 1
	}
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	initial := kv.NewBatch(0)
	for key, value := range state {
		initial.Put([]byte(key), []byte(value))
	}
	require.NoError(t, space.Write(initial))
	tx := kv.NewTx(space)
	machine, err := statemachine.New(0, layout, space)
	require.NoError(t, err)
	if _, err := machine.Apply(tx, machine.AppliedSequence()+1, batch); err != nil {
		return nil, true
	}
	require.NoError(t, tx.Commit())
	return (&partition{space: space}).raw(), false
}
