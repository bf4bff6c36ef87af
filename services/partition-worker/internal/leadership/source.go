package leadership

import (
	"context"
	"errors"
	"fmt"

	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
)

// source reads for the invoker what the partition has committed.
type source struct{ space kv.Space }

// Load implements invoker.Source.
func (s source) Load(_ context.Context, inv invoker.Invocation, bounds invoker.Bounds) (*invoker.Journal, error) {
	snapshot := s.space.Snapshot()
	defer snapshot.Close()
	record, err := storage.GetInvocation(snapshot, inv.ID)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", inv.ID, err)
	}
	if record.GetRun() != inv.Run {
		return nil, fmt.Errorf("load %s: %w", inv.ID, invoker.ErrRunOver)
	}
	if int(record.GetJournalLength()) > bounds.Entries {
		return nil, bounds.Exceeded()
	}
	journal := &invoker.Journal{CommandCount: record.GetCommandCount(), Pin: record.GetPin()}
	journal.Entries, err = storage.LoadJournal(snapshot, inv.ID, record.GetJournalLength(), func(size int) error {
		if journal.Size += size; journal.Size > bounds.Bytes {
			return bounds.Exceeded()
		}
		return bounds.Use(size)
	})
	if err != nil {
		return nil, err
	}
	instance := storage.InstanceOf(inv.ID, record.GetTarget())
	if journal.State, journal.PartialState, err = loadState(snapshot, instance, bounds); err != nil {
		return nil, fmt.Errorf("load the state for %s: %w", inv.ID, err)
	}
	return journal, nil
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

const (
	// entryMin is what an entry of the state takes in memory beside its key and value: without it, a million short ones would
	// count as little.
	entryMin = 64
	// maxDeleted is how many deleted entries of the state are stepped over to find the next one. They leave traces in the
	// database for a while, which every attempt would walk over again.
	maxDeleted = 10_000
)

// loadState returns the state up to the bound, and whether some was left out.
func loadState(snapshot kv.Snapshot, instance storage.Instance, bounds invoker.Bounds) (entries []invoker.StateEntry, partial bool, err error) {
	left := bounds.State
	err = storage.ScanState(snapshot.Brief(maxDeleted), instance, func(key, value []byte) error {
		size := entryMin + len(key) + len(value)
		if left -= size; left < 0 {
			return errEnough
		}
		if err := bounds.Use(size); err != nil {
			return err
		}
		entries = append(entries, invoker.StateEntry{
			Key:   append([]byte(nil), key...),
			Value: append([]byte(nil), value...),
		})
		return nil
	})
	if errors.Is(err, errEnough) || errors.Is(err, kv.ErrSparse) {
		return entries, true, nil
	}
	return entries, false, err
}
