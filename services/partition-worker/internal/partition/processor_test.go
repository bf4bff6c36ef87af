package partition_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/storage"
)

// Whenever it is stopped, a processor goes on after the last batch that it has committed: each batch has its effect once.
func TestGoesOnWhereItStopped(t *testing.T) {
	s := newSetting(t)
	for i := range 20 {
		processor, stop := s.run(t)
		last := s.append(t, invoke(t))
		if i%3 > 0 {
			awaitApplied(t, processor, last)
		}
		stop()
	}
	processor, _ := s.run(t)
	awaitApplied(t, processor, s.batches)
	started, _ := s.observer.runs()
	require.Len(t, started, int(s.batches))
	count := 0
	require.NoError(t, storage.ScanInvocations(s.store, func(storage.InvocationRow) error {
		count++
		return nil
	}))
	require.Equal(t, int(s.batches), count)
}

// outbox returns how many messages the figures tell of.
func (s *setting) outbox(t *testing.T) int {
	t.Helper()
	families, err := s.figures.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "restate_partition_outbox_messages" {
			return int(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	require.Fail(t, "the figure is missing")
	return 0
}

func TestFigureOfTheOutbox(t *testing.T) {
	s := newSetting(t)
	processor, stop := s.run(t)
	killed := &logv1.Terminate{
		InvocationId: invoke(t).GetInvoke().GetInvocationId(), Mode: logv1.TerminationMode_TERMINATION_MODE_KILL,
		ResponseSink: &logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{Ingress: &logv1.IngressSink{IngressId: "i", RequestId: 1}}},
	}
	for want := range 3 {
		require.Equal(t, want, s.outbox(t))
		awaitApplied(t, processor, s.append(t, &logv1.Record{Command: &logv1.Record_Terminate{Terminate: killed}}))
	}
	stop()
	processor, _ = s.run(t)
	await.True(t, await.Deadline, func() bool { return processor.Ready() == nil }, "the partition to be read")
	require.Equal(t, 3, s.outbox(t), "known before anything is applied")
	awaitApplied(t, processor, s.append(t, &logv1.Record{Command: &logv1.Record_TruncateOutbox{
		TruncateOutbox: &logv1.TruncateOutbox{Through: 2},
	}}))
	require.Equal(t, 1, s.outbox(t))
}

// A database that cannot be written makes the partition unready. It goes on by itself when it can; nothing is lost, and
// nothing done before it is committed.
func TestDatabaseThatIsFull(t *testing.T) {
	s := newSetting(t)
	processor, _ := s.run(t)
	awaitApplied(t, processor, s.append(t, invoke(t)))
	s.store.fault.Store(int32(refuses))
	last := s.append(t, invoke(t))
	await.True(t, await.Deadline, func() bool { return processor.Ready() != nil }, "the partition to be unready")
	require.ErrorContains(t, processor.Ready(), "no space left")
	started, _ := s.observer.runs()
	require.Equal(t, []uint64{1}, started)

	s.store.fault.Store(int32(works))
	awaitApplied(t, processor, last)
	started, lapsed := s.observer.runs()
	require.Equal(t, []uint64{1, 2}, started)
	require.Zero(t, lapsed)
}

// What was written although the database said otherwise is not done again; the leader hears of it in another way.
func TestDatabaseThatFailsAfterWriting(t *testing.T) {
	s := newSetting(t)
	processor, _ := s.run(t)
	awaitApplied(t, processor, s.append(t, invoke(t)))
	s.store.fault.Store(int32(pretends))
	last := s.append(t, invoke(t))
	await.True(t, await.Deadline, func() bool { _, lapsed := s.observer.runs(); return lapsed > 0 }, "the observer to be told")
	s.store.fault.Store(int32(works))
	awaitApplied(t, processor, last)
	next := s.append(t, invoke(t))
	awaitApplied(t, processor, next)
	started, _ := s.observer.runs()
	require.Equal(t, []uint64{1, next}, started, "the batches that the leader was told of")
}

// Each of these makes it impossible to go on, or unsafe. The partition parks with a published code and says why.
func TestParks(t *testing.T) {
	unknown := &logv1.Record{}
	for name, c := range map[string]struct {
		because error
		spoil   func(t *testing.T, s *setting)
	}{
		"a batch that cannot be decoded": {cmdlog.ErrCorrupt, func(t *testing.T, s *setting) {
			t.Helper()
			s.publish(t, []byte("\xff\xff"))
		}},
		"a record of a newer release": {nil, func(t *testing.T, s *setting) {
			t.Helper()
			s.append(t, unknown)
		}},
		"a log that was deleted": {cmdlog.ErrMissing, func(t *testing.T, s *setting) {
			t.Helper()
			require.NoError(t, s.conn.JS.DeleteStream(t.Context(), cmdlog.StreamName(0)))
		}},
		"another log": {cmdlog.ErrIdentity, func(t *testing.T, s *setting) {
			t.Helper()
			s.remake(t, func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"restate-log-id": "another"} })
			s.append(t, invoke(t))
		}},
		"a log that was set back": {cmdlog.ErrIdentity, func(t *testing.T, s *setting) {
			t.Helper()
			s.remake(t, func(*jetstream.StreamConfig) {})
		}},
		"a log that was trimmed too far": {cmdlog.ErrTrimmed, func(t *testing.T, s *setting) {
			t.Helper()
			last := s.append(t, invoke(t))
			s.append(t, invoke(t))
			require.NoError(t, cmdlog.Trim(t.Context(), s.conn, 0, last))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetting(t)
			processor, stop := s.run(t)
			awaitApplied(t, processor, s.append(t, invoke(t)))
			stop()
			c.spoil(t, s)
			processor, _ = s.run(t)
			because := awaitParked(t, processor)
			require.ErrorContains(t, because, "RT0100")
			if c.because != nil {
				require.ErrorIs(t, because, c.because)
			}
			require.EqualValues(t, 1, processor.Applied(), "nothing after that is applied")
		})
	}
}

// A log may also be lost while it is read.
func TestParksWhileReading(t *testing.T) {
	s := newSetting(t)
	processor, _ := s.run(t)
	awaitApplied(t, processor, s.append(t, invoke(t)))
	require.NoError(t, s.conn.JS.DeleteStream(t.Context(), cmdlog.StreamName(0)))
	require.ErrorIs(t, awaitParked(t, processor), cmdlog.ErrMissing)
}
