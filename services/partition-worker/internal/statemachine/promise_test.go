package statemachine_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// asker is a handler of a workflow with one key, which asks for one promise.
type asker struct {
	id    ids.InvocationID
	run   uint64
	asked uint32
}

// askers begins handlers, the first of which is the run.
func askers(t *testing.T, c *costs, count int) []*asker {
	t.Helper()
	all := make([]*asker, count)
	invokes := make([]*logv1.Record, count)
	for i := range all {
		var unique [16]byte
		binary.BigEndian.PutUint64(unique[:], uint64(i))
		all[i] = &asker{id: ids.MakeInvocationID(1, unique), run: (c.position+1)<<16 + uint64(i)}
		invokes[i] = &logv1.Record{Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{
			InvocationId: all[i].id[:],
			Target: &journalv1.Target{
				Service: "W", Handler: "h", Key: []byte("k"), Kind: journalv1.ServiceKind_SERVICE_KIND_WORKFLOW, Shared: i > 0,
			},
		}}}
	}
	c.apply(t, invokes...)
	return all
}

func (a *asker) ask() *logv1.Record {
	a.asked++
	return report(a.id, a.run, appended(a.asked, &journalv1.Command{Command: &journalv1.Command_GetPromise{
		GetPromise: &journalv1.GetPromise{Key: "p", CompletionId: a.asked},
	}}))
}

// got returns what the last command has got, nil while it waits.
func (a *asker) got(t *testing.T, c *costs) *journalv1.Result {
	t.Helper()
	completion, err := storage.GetCompletion(c.space, a.id, a.asked)
	require.NoError(t, err)
	if completion == nil {
		return nil
	}
	entry, err := storage.GetJournalEntry(c.space, a.id, completion.GetJournalIndex())
	require.NoError(t, err)
	return entry.GetNotification().GetResult()
}

// TestAllThatMayWaitForAPromiseGetIt has more handlers wait for a promise than may: nothing changes for the others. The run
// of the workflow has places of its own, and those who are over make room.
func TestAllThatMayWaitForAPromiseGetIt(t *testing.T) {
	const may, ofRun, more = 1000, 24, 5
	c := newCosts(t)
	all := askers(t, c, 1+may+more)
	run, waiting, refused := all[0], all[1:1+may], all[1+may:]
	turnedAway := func(a *asker) {
		t.Helper()
		require.Equal(t, uint32(429), a.got(t, c).GetFailure().GetCode())
		require.Contains(t, a.got(t, c).GetFailure().GetMessage(), `[RT0113] 1000 wait for the promise "p" already`)
	}

	var asks []*logv1.Record
	for _, a := range all[1:] {
		asks = append(asks, a.ask())
	}
	c.apply(t, asks...)
	require.NoError(t, checkInvariants(c.space))
	for _, a := range waiting {
		require.Nil(t, a.got(t, c))
	}
	for _, a := range refused {
		turnedAway(a)
	}

	c.restart(t) // who is turned away depends on the tables alone
	c.apply(t, report(waiting[0].id, waiting[0].run, ended()))
	c.apply(t, refused[0].ask(), refused[1].ask())
	require.Nil(t, refused[0].got(t, c), "it has the place of the one that is over")
	turnedAway(refused[1])

	asks = nil
	for range ofRun {
		asks = append(asks, run.ask())
	}
	c.apply(t, asks...)
	require.Nil(t, run.got(t, c))
	last := run.asked
	c.apply(t, run.ask())
	require.Contains(t, run.got(t, c).GetFailure().GetMessage(), "1024 wait")
	run.asked = last
	require.NoError(t, checkInvariants(c.space))

	c.apply(t, report(refused[1].id, refused[1].run, appended(refused[1].asked+1, &journalv1.Command{
		Command: &journalv1.Command_CompletePromise{CompletePromise: &journalv1.CompletePromise{
			Key: "p", CompletionId: refused[1].asked + 1,
			Result: &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte("x")}},
		}},
	})))
	for _, a := range append([]*asker{run, refused[0]}, waiting[1:]...) {
		require.Equal(t, []byte("x"), a.got(t, c).GetValue())
	}
	c.apply(t, refused[2].ask())
	require.Equal(t, []byte("x"), refused[2].got(t, c).GetValue(), "it is turned away no longer")
}
