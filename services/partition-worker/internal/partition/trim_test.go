package partition_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
)

// fillUp appends batches until the broker takes no more, and returns the sequence of the last.
func (s *setting) fillUp(t *testing.T) (last uint64) {
	t.Helper()
	for {
		record := invoke(t)
		record.GetInvoke().Argument = make([]byte, 16<<10)
		s.batches++
		record.Sequence = s.batches
		batch, err := proto.Marshal(&logv1.Batch{Producer: "test", ProposedAt: 1, Records: []*logv1.Record{record}})
		require.NoError(t, err)
		ack, err := s.conn.JS.Publish(t.Context(), cmdlog.Subject(0), batch)
		if err != nil {
			require.ErrorContains(t, err, "resource limits exceeded")
			return last
		}
		last = ack.Sequence
	}
}

func (s *setting) first(t *testing.T) uint64 {
	t.Helper()
	size, err := cmdlog.Size(t.Context(), s.conn, 0)
	require.NoError(t, err)
	return size.First
}

// A broker with little room is trimmed before the log holds as much as it may: else it were full for ever.
func TestTrimmingMakesRoom(t *testing.T) {
	s := settingWith(t, broker.ServerConfig{MaxStoreBytes: 1 << 20})
	s.trimAfter = 64 << 20
	processor, _ := s.run(t)
	last := s.fillUp(t)
	awaitApplied(t, processor, last)
	require.NoError(t, processor.Trim(t.Context()))
	require.Greater(t, s.first(t), last/2)
	awaitApplied(t, processor, s.append(t, invoke(t)))
}

// What the database has not got, or not on its disk, stays in the log.
func TestTrimmingKeepsWhatIsNotFlushed(t *testing.T) {
	s := settingWith(t, broker.ServerConfig{MaxStoreBytes: 1 << 20})
	s.trimAfter = 1 << 10
	processor, _ := s.run(t)
	awaitApplied(t, processor, s.append(t, invoke(t)))
	s.store.fault.Store(int32(refuses))
	last := s.fillUp(t)
	await.True(t, await.Deadline, func() bool { return processor.Ready() != nil }, "the database to fail")
	require.Error(t, processor.Trim(t.Context()))
	require.EqualValues(t, 1, s.first(t))

	s.store.fault.Store(int32(works))
	awaitApplied(t, processor, last)
	s.store.fault.Store(int32(refuses))
	require.ErrorContains(t, processor.Trim(t.Context()), "flush")
	require.EqualValues(t, 1, s.first(t))
	s.store.fault.Store(int32(works))
	require.NoError(t, processor.Trim(t.Context()))
	require.Greater(t, s.first(t), last/2)
}

// As long as there is room, the log is left as it is.
func TestNoTrimmingWithoutNeed(t *testing.T) {
	s := newSetting(t)
	s.trimAfter = 64 << 20
	processor, _ := s.run(t)
	awaitApplied(t, processor, s.append(t, invoke(t)))
	require.NoError(t, processor.Trim(t.Context()))
	require.EqualValues(t, 1, s.first(t))
}
