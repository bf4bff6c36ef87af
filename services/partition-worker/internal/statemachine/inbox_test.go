package statemachine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// footprints counts what a store has to walk over that keeps traces of deleted rows: those between the beginning of a
// scan of the inbox and the first row that is there.
type footprints struct {
	*kv.Tx
	deleted map[string]bool
	scans   int
	// passed are all that scans have walked over.
	passed int
}

func (f *footprints) Delete(key []byte) {
	if storage.Table(key[0]) == storage.TableInbox {
		f.deleted[string(key)] = true
	}
	f.Tx.Delete(key)
}

func (f *footprints) Scan(lower, upper []byte) kv.Iterator {
	if storage.Table(lower[0]) == storage.TableInbox {
		f.scans++
		end := string(upper)
		first := f.Tx.Scan(lower, upper)
		if first.Next() {
			end = string(first.Key())
		}
		first.Close()
		for key := range f.deleted {
			if key >= string(lower) && key < end {
				f.passed++
			}
		}
	}
	return f.Tx.Scan(lower, upper)
}

// queue is an object's inbox: invocations of one key.
type queue struct {
	*costs
	tx   *footprints // in place of that of the costs
	next uint64
	// runs are the invocations that have been asked for and neither ended nor canceled, in order.
	runs []ids.InvocationID
}

func newQueue(t *testing.T) *queue {
	t.Helper()
	c := newCosts(t)
	return &queue{costs: c, tx: &footprints{Tx: c.tx.Tx, deleted: map[string]bool{}}}
}

func (q *queue) apply(t *testing.T, record *logv1.Record) {
	t.Helper()
	q.position++
	record.Sequence = q.position
	batch := &logv1.Batch{Producer: "p", ProposedAt: 1000, Records: []*logv1.Record{record}}
	_, err := q.machine.Apply(q.tx, q.position, batch)
	require.NoError(t, err)
	require.NoError(t, q.tx.Commit())
	require.NoError(t, checkInvariants(q.space))
}

func (q *queue) call(t *testing.T) {
	t.Helper()
	q.next++
	id := ids.MakeInvocationID(1, [16]byte{byte(q.next >> 8), byte(q.next)})
	q.runs = append(q.runs, id)
	q.apply(t, &logv1.Record{Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{
		InvocationId: id[:],
		Target:       &journalv1.Target{Service: "C", Key: []byte("k"), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED},
	}}})
}

// end ends the invocation that holds the key, which has to be the one that came first.
func (q *queue) end(t *testing.T) {
	t.Helper()
	invocation, err := storage.GetInvocation(q.tx, q.runs[0])
	require.NoError(t, err)
	require.NotZero(t, invocation.GetRun(), "the first has to run")
	q.apply(t, report(q.runs[0], invocation.GetRun(), ended()))
	q.runs = q.runs[1:]
}

func (q *queue) cancel(t *testing.T, nth int) {
	t.Helper()
	q.apply(t, &logv1.Record{Command: &logv1.Record_Terminate{Terminate: &logv1.Terminate{
		InvocationId: q.runs[nth][:], Mode: logv1.TerminationMode_TERMINATION_MODE_CANCEL,
	}}})
	q.runs = append(q.runs[:nth], q.runs[nth+1:]...)
}

// TestWhatHasLeftAnInboxIsNotWalkedOver has many wait for one key, which is never free.
func TestWhatHasLeftAnInboxIsNotWalkedOver(t *testing.T) {
	const clients, calls = 8, 100
	q := newQueue(t)
	for range clients {
		q.call(t)
	}
	for range calls {
		q.end(t)
		q.call(t)
	}
	require.Equal(t, calls, q.tx.scans)
	require.Len(t, q.tx.deleted, calls)
	require.Zero(t, q.tx.passed)

	for len(q.runs) > 0 {
		q.end(t)
	}
	require.Zero(t, q.tx.passed)

	// The key has been free in between.
	scans := q.tx.scans
	q.call(t)
	q.end(t)
	require.Equal(t, scans, q.tx.scans, "nothing can wait where nothing has come since the key was taken")
	q.call(t)
	q.call(t)
	q.end(t)
	q.end(t)
	require.Zero(t, q.tx.passed)
}

// TestWhatIsCanceledInAnInboxIsWalkedOverOnce removes some from the middle.
func TestWhatIsCanceledInAnInboxIsWalkedOverOnce(t *testing.T) {
	q := newQueue(t)
	for range 61 {
		q.call(t)
	}
	for nth := 1; nth < len(q.runs); nth += 2 { // two of three stay, and the one that holds the key
		q.cancel(t, nth)
	}
	require.Len(t, q.runs, 41)
	for len(q.runs) > 0 {
		q.end(t)
	}
	require.Equal(t, 20, q.tx.passed)
}

// TestInvocationsOfTheReleaseBefore lets one hold the key whose record does not say where the inbox begins.
func TestInvocationsOfTheReleaseBefore(t *testing.T) {
	q := newQueue(t)
	for range 5 {
		q.call(t)
	}
	for range 2 {
		q.end(t)
	}
	holder, err := storage.GetInvocation(q.tx, q.runs[0])
	require.NoError(t, err)
	require.Equal(t, uint64(2), holder.GetInboxFrom())
	holder.InboxFrom = 0
	require.NoError(t, storage.PutInvocation(q.tx, q.runs[0], holder))
	require.NoError(t, q.tx.Commit())
	q.restart(t)
	for range 3 {
		q.end(t)
	}
	require.Equal(t, 2, q.tx.passed, "it begins at the beginning; those after it do not")
}
