package statemachine

import (
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// producerRetention is how long, in milliseconds, a process that appends nothing more is remembered: a day. It has to
// exceed the time for which an appender repeats a batch.
const producerRetention = 24 * 60 * 60 * 1000

// announceLeader makes the proposer of a higher epoch the leader; a lower or equal one came too late.
func (s *step) announceLeader(command *logv1.AnnounceLeader) error {
	if command.GetLeaderEpoch() <= s.meta.GetLeaderEpoch() {
		return nil
	}
	s.meta.LeaderEpoch = command.GetLeaderEpoch()
	s.meta.LeaderNodeId = command.GetNodeId()
	s.act(LeaderChanged{Epoch: command.GetLeaderEpoch(), NodeID: command.GetNodeId()})
	s.tx.Delete(storage.DeduplicationKey(LeaderProducer))
	return s.forgetSilentProducers()
}

// forgetSilentProducers keeps the deduplication table from growing with every ingress process that ever was. Partitions
// are never forgotten: after a long stop they repeat what they did not see arrive.
func (s *step) forgetSilentProducers() error {
	var silent []string
	if err := storage.ScanDeduplication(s.tx, func(producer string, row *storagev1.Deduplication) error {
		if _, ok := storage.ParsePartitionProducer(producer); ok {
			return nil
		}
		if row.GetSeenAt()+producerRetention < s.now {
			silent = append(silent, producer)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, producer := range silent {
		s.tx.Delete(storage.DeduplicationKey(producer))
	}
	return nil
}

// PendingRuns calls visit for every invocation that is running according to the committed state: what a new leader
// has to start. Timers and outbox are read from their own tables.
func PendingRuns(state kv.Sweeper, visit func(StartInvocation)) error {
	return storage.ScanInvocations(state, func(row storage.InvocationRow) error {
		if is, err := row.State(); err != nil || is != storagev1.Invocation_STATE_INVOKED {
			return err
		}
		id, invocation, err := row.Decode()
		if err != nil {
			return err
		}
		visit(startOf(id, invocation, nil))
		return nil
	})
}
