package storage_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"
)

func newTx(t *testing.T) *kv.Tx {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	return kv.NewTx(space)
}

func TestAbsentRows(t *testing.T) {
	tx := newTx(t)
	invocation, err := storage.GetInvocation(tx, id)
	require.NoError(t, err)
	require.Nil(t, invocation)
	entry, err := storage.GetJournalEntry(tx, id, 0)
	require.NoError(t, err)
	require.Nil(t, entry)
	completion, err := storage.GetCompletion(tx, id, 0)
	require.NoError(t, err)
	require.Nil(t, completion)
	lock, err := storage.GetLock(tx, instance)
	require.NoError(t, err)
	require.Nil(t, lock)
	timer, err := storage.GetTimer(tx, storage.TimerID{}.Key())
	require.NoError(t, err)
	require.Nil(t, timer)
	row, err := storage.GetDeduplication(tx, "p")
	require.NoError(t, err)
	require.Nil(t, row)
	_, first, err := storage.FirstInInbox(tx, instance, 0)
	require.NoError(t, err)
	require.Nil(t, first)
	signal, err := storage.GetSignal(tx, id, 1, "")
	require.NoError(t, err)
	require.Nil(t, signal)
	promise, err := storage.GetPromise(tx, instance, "p")
	require.NoError(t, err)
	require.Nil(t, promise)
	meta, err := storage.GetMeta(tx)
	require.NoError(t, err)
	require.Zero(t, meta.GetAppliedSequence())
}

func TestRowsAreKept(t *testing.T) {
	tx := newTx(t)
	require.NoError(t, storage.PutInvocation(tx, id, &storagev1.Invocation{Run: 7}))
	require.NoError(t, storage.PutJournalEntry(tx, id, 3, &journalv1.Entry{AppendedAt: 7}))
	require.NoError(t, storage.PutCompletion(tx, id, 3, &storagev1.Completion{
		Completion: &storagev1.Completion_JournalIndex{JournalIndex: 7},
	}))
	require.NoError(t, storage.PutSignal(tx, id, 1, "", &storagev1.Signal{JournalIndex: 7}))
	require.NoError(t, storage.PutSignal(tx, id, 0, "s", &storagev1.Signal{JournalIndex: 8}))
	require.NoError(t, storage.PutPromise(tx, instance, "p", &storagev1.Promise{
		Waiters: []*storagev1.PromiseWaiter{{CompletionId: 7}},
	}))
	require.NoError(t, storage.PutLock(tx, instance, id))
	require.NoError(t, storage.PutDeduplication(tx, "p", &storagev1.Deduplication{Sequence: 7}))
	require.NoError(t, storage.PutMeta(tx, &storagev1.PartitionMeta{AppliedSequence: 7}))
	require.NoError(t, tx.Commit())

	invocation, err := storage.GetInvocation(tx, id)
	require.NoError(t, err)
	require.Equal(t, uint64(7), invocation.GetRun())
	entry, err := storage.GetJournalEntry(tx, id, 3)
	require.NoError(t, err)
	require.Equal(t, uint64(7), entry.GetAppendedAt())
	completion, err := storage.GetCompletion(tx, id, 3)
	require.NoError(t, err)
	require.Equal(t, uint32(7), completion.GetJournalIndex())
	signal, err := storage.GetSignal(tx, id, 1, "")
	require.NoError(t, err)
	require.Equal(t, uint32(7), signal.GetJournalIndex())
	signal, err = storage.GetSignal(tx, id, 0, "s")
	require.NoError(t, err)
	require.Equal(t, uint32(8), signal.GetJournalIndex())
	promise, err := storage.GetPromise(tx, instance, "p")
	require.NoError(t, err)
	require.Equal(t, uint32(7), promise.GetWaiters()[0].GetCompletionId())
	lock, err := storage.GetLock(tx, instance)
	require.NoError(t, err)
	require.Equal(t, id[:], lock.GetInvocationId())
	row, err := storage.GetDeduplication(tx, "p")
	require.NoError(t, err)
	require.Equal(t, uint64(7), row.GetSequence())
	meta, err := storage.GetMeta(tx)
	require.NoError(t, err)
	require.Equal(t, uint64(7), meta.GetAppliedSequence())
}

func TestInboxIsInOrder(t *testing.T) {
	tx := newTx(t)
	other := storage.Instance{PartitionKey: instance.PartitionKey, Service: "svc", Key: []byte("k")}
	second := ids.MakeInvocationID(1, [16]byte{1})
	put := func(i storage.Instance, sequence uint64, waiting ids.InvocationID) {
		require.NoError(t, storage.PutInbox(tx, i, sequence, &storagev1.InboxEntry{InvocationId: waiting[:]}))
	}
	put(instance, 300, second)
	put(instance, 20, id)
	put(other, 1, second)
	sequence, first, err := storage.FirstInInbox(tx, instance, 0)
	require.NoError(t, err)
	require.Equal(t, uint64(20), sequence)
	require.Equal(t, id[:], first.GetInvocationId())
	sequence, first, err = storage.FirstInInbox(tx, instance, 20)
	require.NoError(t, err)
	require.Equal(t, uint64(20), sequence)
	require.Equal(t, id[:], first.GetInvocationId())
	sequence, first, err = storage.FirstInInbox(tx, instance, 21)
	require.NoError(t, err)
	require.Equal(t, uint64(300), sequence)
	require.Equal(t, second[:], first.GetInvocationId())
	_, first, err = storage.FirstInInbox(tx, instance, 301)
	require.NoError(t, err)
	require.Nil(t, first)
}

func TestScansStopAtTheirLimit(t *testing.T) {
	tx := newTx(t)
	for n := range uint64(5) {
		require.NoError(t, storage.PutTimer(tx, storage.TimerID{FireAt: n, Invocation: id}, &storagev1.Timer{}))
		require.NoError(t, storage.PutOutbox(tx, n+1, &storagev1.OutboxMessage{}))
	}
	times := func(from []byte, limit int) (found []uint64) {
		require.NoError(t, storage.ScanTimers(tx, from, limit, func(timer storage.TimerID) error {
			found = append(found, timer.FireAt)
			return nil
		}))
		return found
	}
	require.Equal(t, []uint64{0, 1, 2, 3, 4}, times(nil, 10))
	require.Equal(t, []uint64{0, 1}, times(nil, 2))
	require.Empty(t, times(nil, 0))
	require.Equal(t, []uint64{3, 4}, times(storage.TimerID{FireAt: 3}.Key(), 10))
	var sequences []uint64
	require.NoError(t, storage.ScanOutbox(tx, 3, 2, func(sequence uint64, _ *storagev1.OutboxMessage) error {
		sequences = append(sequences, sequence)
		return nil
	}))
	require.Equal(t, []uint64{3, 4}, sequences)
}

func TestDeletingLeavesNeighbours(t *testing.T) {
	tx := newTx(t)
	other := storage.Instance{PartitionKey: instance.PartitionKey, Service: "svc", Key: []byte("k\x00y2")}
	neighbour := ids.MakeInvocationID(0x0102030405060708, [16]byte{0xa0, 15: 0xb0})
	for _, key := range []string{"", "a", "\xff"} {
		for _, i := range []storage.Instance{instance, other} {
			tx.Put(storage.StateKey(i, []byte(key)), nil)
			require.NoError(t, storage.PutPromise(tx, i, key, &storagev1.Promise{}))
		}
	}
	for _, of := range []ids.InvocationID{id, neighbour} {
		for _, n := range []uint32{0, 1<<32 - 1} {
			require.NoError(t, storage.PutCompletion(tx, of, n, &storagev1.Completion{}))
			require.NoError(t, storage.PutSignal(tx, of, n, "", &storagev1.Signal{}))
		}
		require.NoError(t, storage.PutSignal(tx, of, 0, "\xff", &storagev1.Signal{}))
	}
	require.NoError(t, storage.DeleteState(tx, tx, instance))
	require.NoError(t, storage.DeletePromises(tx, tx, instance))
	require.NoError(t, storage.DeleteNotifications(tx, tx, id))
	counts := func(i storage.Instance, of ids.InvocationID) (n [4]int) {
		for table, bounds := range [4][2][]byte{
			pair(storage.StateRange(i)), pair(storage.PromiseRange(i)),
			{storage.CompletionKey(of, 0), storage.PrefixEnd(storage.CompletionKey(of, 1<<32-1))},
			{storage.SignalKey(of, 0, ""), storage.PrefixEnd(storage.SignalKey(of, 1<<32-1, ""))},
		} {
			it := tx.Scan(bounds[0], bounds[1])
			for it.Next() {
				n[table]++
			}
			require.NoError(t, it.Err())
			it.Close()
		}
		return n
	}
	require.Equal(t, [4]int{}, counts(instance, id))
	require.Equal(t, [4]int{3, 3, 2, 3}, counts(other, neighbour))
}

// changes counts what is written.
type changes struct {
	*kv.Tx
	count int
}

func (c *changes) Delete(key []byte) {
	c.count++
	c.Tx.Delete(key)
}

func (c *changes) DeleteRange(lower, upper []byte) {
	c.count++
	c.Tx.DeleteRange(lower, upper)
}

// However much there is, to delete it takes little, and leaves what is beside it.
func TestDeletingMuch(t *testing.T) {
	const many = 3000
	tx := &changes{Tx: newTx(t)}
	other := storage.Instance{PartitionKey: instance.PartitionKey, Service: "svc", Key: []byte("k\x00y2")}
	neighbour := ids.MakeInvocationID(0x0102030405060708, [16]byte{0xa0, 15: 0xb0})
	for n := range uint32(many) {
		for _, i := range []storage.Instance{instance, other} {
			tx.Put(storage.StateKey(i, fmt.Append(nil, n)), nil)
			require.NoError(t, storage.PutPromise(tx, i, fmt.Sprint(n), &storagev1.Promise{}))
		}
		for _, of := range []ids.InvocationID{id, neighbour} {
			require.NoError(t, storage.PutJournalEntry(tx, of, n, &journalv1.Entry{}))
			require.NoError(t, storage.PutCompletion(tx, of, n, &storagev1.Completion{}))
			require.NoError(t, storage.PutSignal(tx, of, n, "", &storagev1.Signal{}))
		}
	}
	require.NoError(t, tx.Commit())
	require.NoError(t, storage.DeleteState(tx, tx, instance))
	require.NoError(t, storage.DeletePromises(tx, tx, instance))
	require.NoError(t, storage.DeleteNotifications(tx, tx, id))
	storage.DeleteJournal(tx, id, many-1)
	require.Equal(t, 5, tx.count)
	require.NoError(t, tx.Commit())
	counts := map[byte]int{}
	it := tx.Scan(nil, nil)
	for it.Next() {
		counts[it.Key()[0]]++
	}
	require.NoError(t, it.Err())
	it.Close()
	require.Equal(t, map[byte]int{
		byte(storage.TableState): many, byte(storage.TablePromise): many, byte(storage.TableCompletion): many,
		byte(storage.TableSignal): many, byte(storage.TableJournal): many + 1,
	}, counts)
	last, err := storage.GetJournalEntry(tx, id, many-1)
	require.NoError(t, err)
	require.NotNil(t, last)
}

func pair(lower, upper []byte) [2][]byte { return [2][]byte{lower, upper} }

// TestDamagedRows puts bytes that decode as nothing into each table.
func TestDamagedRows(t *testing.T) {
	tx := newTx(t)
	damaged := []byte{0xff}
	for _, key := range [][]byte{
		storage.InvocationKey(id), storage.JournalKey(id, 0), storage.CompletionKey(id, 0), storage.LockKey(instance),
		storage.InboxKey(instance, 1), storage.OutboxKey(1), storage.DeduplicationKey("p"), storage.MetaKey(),
		storage.TimerID{Invocation: id}.Key(), storage.SignalKey(id, 1, ""), storage.PromiseKey(instance, "p"),
	} {
		tx.Put(key, damaged)
	}
	_, err := storage.GetInvocation(tx, id)
	require.ErrorIs(t, err, storage.ErrCorrupt)
	_, err = storage.GetJournalEntry(tx, id, 0)
	require.ErrorIs(t, err, storage.ErrCorrupt)
	_, err = storage.GetCompletion(tx, id, 0)
	require.ErrorIs(t, err, storage.ErrCorrupt)
	_, err = storage.GetLock(tx, instance)
	require.ErrorIs(t, err, storage.ErrCorrupt)
	_, _, err = storage.FirstInInbox(tx, instance, 0)
	require.ErrorIs(t, err, storage.ErrCorrupt)
	_, err = storage.GetSignal(tx, id, 1, "")
	require.ErrorIs(t, err, storage.ErrCorrupt)
	_, err = storage.GetPromise(tx, instance, "p")
	require.ErrorIs(t, err, storage.ErrCorrupt)
	_, err = storage.GetTimer(tx, storage.TimerID{Invocation: id}.Key())
	require.ErrorIs(t, err, storage.ErrCorrupt)
	_, err = storage.GetMeta(tx)
	require.ErrorIs(t, err, storage.ErrCorrupt)
	require.ErrorIs(t, storage.ScanOutbox(tx, 0, 1, func(uint64, *storagev1.OutboxMessage) error { return nil }),
		storage.ErrCorrupt)
	require.ErrorIs(t, storage.ScanJournal(tx, id, 0, 1, func(uint32, *journalv1.Entry) error { return nil }),
		storage.ErrCorrupt)
	require.ErrorIs(t, storage.ScanDeduplication(tx, func(string, *storagev1.Deduplication) error { return nil }),
		storage.ErrCorrupt)

	// Keys of no table, where a table is scanned.
	tx.Put([]byte{byte(storage.TableTimer), 1}, nil)
	require.ErrorIs(t, storage.ScanTimers(tx, nil, 9, func(storage.TimerID) error { return nil }), storage.ErrCorrupt)
	tx.Put([]byte{byte(storage.TableOutbox), 1}, nil)
	require.ErrorIs(t, storage.ScanOutbox(tx, 2, 9, func(uint64, *storagev1.OutboxMessage) error { return nil }),
		storage.ErrCorrupt)
}
