// Package statemachine is the heart of a partition: it applies the records of the log to the partition's state and
// says what has to be done as a consequence. It is pure. What it does depends on the record and the state alone, so
// every replay of a log gives the same state; it reads no clock, draws no random number and performs no I/O but on
// the transaction it is given.
package statemachine

import (
	"errors"
	"fmt"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// LeaderProducer is the producer name of batches in which a leader proposes effects of its own work. Their sequences
// begin anew with each epoch.
const LeaderProducer = "leader"

// Tx is the transaction that a batch is applied to. It reads its own writes.
type Tx interface {
	kv.Reader
	storage.Writer
}

// Machine applies the log of one partition. It keeps decoded rows in memory between batches, so after a transaction
// that was not committed the machine has to be dropped with it. Not safe for concurrent use.
type Machine struct {
	partition uint32
	layout    keyspace.Layout
	meta      *storagev1.PartitionMeta
	cache     cache
	waits     waits
}

// New returns the machine of a partition, whose committed state the reader reads.
func New(partition uint32, layout keyspace.Layout, state kv.Reader) (*Machine, error) {
	meta, err := storage.GetMeta(state)
	if err != nil {
		return nil, fmt.Errorf("read the partition's row: %w", err)
	}
	return &Machine{partition: partition, layout: layout, meta: meta, cache: newCache(), waits: newWaits()}, nil
}

// AppliedSequence is the stream sequence of the last batch applied, 0 before the first.
func (m *Machine) AppliedSequence() uint64 { return m.meta.GetAppliedSequence() }

// LeaderEpoch is the epoch of the last leader announced, 0 before the first.
func (m *Machine) LeaderEpoch() uint64 { return m.meta.GetLeaderEpoch() }

// LogID is the identity of the log that was applied, empty before Bind.
func (m *Machine) LogID() string { return m.meta.GetLogId() }

// OutboxHead is the sequence of the first outbox message that has not been truncated.
func (m *Machine) OutboxHead() uint64 { return m.meta.GetFirstOutboxSequence() }

// OutboxLen returns how many messages are in the outbox.
func (m *Machine) OutboxLen() uint64 {
	return m.meta.GetNextOutboxSequence() - m.meta.GetFirstOutboxSequence()
}

// Bind notes the identity of the log that is being applied.
func (m *Machine) Bind(tx Tx, logID string) error {
	m.meta.LogId = logID
	return storage.PutMeta(tx, m.meta)
}

// maxRecords is how many records of one batch an LSN can tell apart.
const maxRecords = 1 << 16

// Apply applies one batch, which is the message of the log with the given sequence. An error means that the state or
// the batch is damaged: nothing after it can be applied.
func (m *Machine) Apply(tx Tx, sequence uint64, batch *logv1.Batch) ([]Action, error) {
	if sequence <= m.meta.GetAppliedSequence() {
		return nil, fmt.Errorf("batch %d is not after %d, the last applied", sequence, m.meta.GetAppliedSequence())
	}
	if len(batch.GetRecords()) > maxRecords {
		return nil, fmt.Errorf("batch %d has %d records, more than %d", sequence, len(batch.GetRecords()), maxRecords)
	}
	m.meta.AppliedSequence = sequence
	s := &step{Machine: m, tx: tx, now: batch.GetProposedAt()}
	if err := s.applyBatch(sequence, batch); err != nil {
		return nil, err
	}
	if err := m.cache.flush(tx); err != nil {
		return nil, err
	}
	return s.actions, storage.PutMeta(tx, m.meta)
}

// step is the application of one batch.
type step struct {
	*Machine
	tx Tx
	// now is when the batch was proposed, in milliseconds since the epoch.
	now uint64
	// lsn is the position of the record being applied.
	lsn     uint64
	actions []Action
}

func (s *step) act(a Action) { s.actions = append(s.actions, a) }

func (s *step) applyBatch(sequence uint64, batch *logv1.Batch) error {
	// A leader that has been replaced goes on proposing until it learns of it. Nothing of that may have an effect.
	if epoch := batch.GetLeaderEpoch(); epoch != 0 && epoch != s.meta.GetLeaderEpoch() {
		return nil
	}
	seen, err := s.seen(batch.GetProducer())
	if err != nil {
		return err
	}
	for i, record := range batch.GetRecords() {
		if record.GetSequence() <= seen.GetSequence() {
			continue
		}
		seen.Sequence, seen.SeenAt = record.GetSequence(), s.now
		s.lsn = sequence<<16 | uint64(i)
		if err := s.applyRecord(record); err != nil {
			return fmt.Errorf("apply record %d of batch %d: %w", i, sequence, err)
		}
	}
	return storage.PutDeduplication(s.tx, batch.GetProducer(), seen)
}

func (s *step) seen(producer string) (*storagev1.Deduplication, error) {
	row, err := storage.GetDeduplication(s.tx, producer)
	if err != nil || row != nil {
		return row, err
	}
	return &storagev1.Deduplication{}, nil
}

func (s *step) applyRecord(record *logv1.Record) error {
	switch command := record.GetCommand().(type) {
	case *logv1.Record_Invoke:
		return s.invoke(command.Invoke)
	case *logv1.Record_InvokerEffect:
		return s.invokerEffect(command.InvokerEffect)
	case *logv1.Record_Notify:
		return s.notify(command.Notify)
	case *logv1.Record_TimerFired:
		return s.timerFired(command.TimerFired)
	case *logv1.Record_Terminate:
		return s.terminate(command.Terminate)
	case *logv1.Record_TruncateOutbox:
		return s.truncateOutbox(command.TruncateOutbox)
	case *logv1.Record_AnnounceLeader:
		return s.announceLeader(command.AnnounceLeader)
	case *logv1.Record_Attach:
		return s.attachTo(command.Attach)
	case *logv1.Record_Purge:
		return s.purge(command.Purge)
	case *logv1.Record_Pause:
		return s.pause(command.Pause)
	case *logv1.Record_Resume:
		return s.resume(command.Resume)
	case *logv1.Record_RestartAsNew:
		return s.restartAsNew(command.RestartAsNew)
	case *logv1.Record_PatchState:
		return s.patchState(command.PatchState)
	default:
		// A newer release wrote it; going on without it would make the state differ from that release's.
		return errors.New("record has no command that this release knows")
	}
}

// invocationID reads an id from a record. Ids in records were made by the runtime, so a wrong one is damage.
func invocationID(b []byte) (ids.InvocationID, error) { return ids.InvocationIDFromBytes(b) }
