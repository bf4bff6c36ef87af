package statemachine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// counter counts what is asked of a transaction, by table.
type counter struct {
	*kv.Tx
	gets, scans, puts, deletes map[storage.Table]int
}

func (c *counter) reset() {
	c.gets, c.scans, c.puts = map[storage.Table]int{}, map[storage.Table]int{}, map[storage.Table]int{}
	c.deletes = map[storage.Table]int{}
}

func (c *counter) Get(key []byte) ([]byte, bool, error) {
	c.gets[storage.Table(key[0])]++
	return c.Tx.Get(key)
}

func (c *counter) Scan(lower, upper []byte) kv.Iterator {
	c.scans[storage.Table(lower[0])]++
	return c.Tx.Scan(lower, upper)
}

func (c *counter) Put(key, value []byte) {
	c.puts[storage.Table(key[0])]++
	c.Tx.Put(key, value)
}

func (c *counter) Delete(key []byte) {
	c.deletes[storage.Table(key[0])]++
	c.Tx.Delete(key)
}

func (c *counter) DeleteRange(lower, upper []byte) {
	c.deletes[storage.Table(lower[0])]++
	c.Tx.DeleteRange(lower, upper)
}

// costs applies batches to a partition of its own.
type costs struct {
	space    kv.Space
	tx       *counter
	machine  *statemachine.Machine
	position uint64
}

func newCosts(t testing.TB) *costs {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	c := &costs{space: space, tx: &counter{Tx: kv.NewTx(space)}}
	c.tx.reset()
	c.restart(t)
	return c
}

// restart drops what is in memory.
func (c *costs) restart(t testing.TB) {
	t.Helper()
	var err error
	c.machine, err = statemachine.New(0, layout, c.space)
	require.NoError(t, err)
}

func (c *costs) apply(t testing.TB, records ...*logv1.Record) {
	t.Helper()
	c.position++
	for i, record := range records {
		record.Sequence = c.position<<16 + uint64(i)
	}
	_, err := c.machine.Apply(c.tx, c.position, &logv1.Batch{Producer: "p", ProposedAt: 1000, Records: records})
	require.NoError(t, err)
	require.NoError(t, c.tx.Commit())
}

func unkeyedCall(n, retention uint64) (ids.InvocationID, *logv1.Record) {
	id := ids.MakeInvocationID(n, [16]byte{})
	return id, &logv1.Record{Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{
		InvocationId: id[:],
		Target: &journalv1.Target{
			Service: "S", Handler: "h", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED,
		},
		ResponseSink: &logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{
			Ingress: &logv1.IngressSink{IngressId: "i", RequestId: n},
		}},
		CompletionRetention: retention, JournalRetention: retention,
	}}}
}

func report(id ids.InvocationID, run uint64, effect *logv1.InvokerEffect) *logv1.Record {
	effect.InvocationId, effect.Run = id[:], run
	return &logv1.Record{Command: &logv1.Record_InvokerEffect{InvokerEffect: effect}}
}

func ended() *logv1.InvokerEffect {
	return &logv1.InvokerEffect{Effect: &logv1.InvokerEffect_Ended{Ended: &logv1.Ended{
		Output: &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte("x")}},
	}}}
}

func appended(index uint32, command *journalv1.Command) *logv1.InvokerEffect {
	return &logv1.InvokerEffect{Effect: &logv1.InvokerEffect_AppendCommand{AppendCommand: &logv1.AppendCommand{
		CommandIndex: index, Command: command,
	}}}
}

// TestReads fixes what the simplest calls look up: who adds to it makes every call dearer.
func TestReads(t *testing.T) {
	type counts = map[storage.Table]int
	once := counts{storage.TableInvocation: 1, storage.TableDeduplication: 2}
	c := newCosts(t)

	id, invoke := unkeyedCall(1, 0)
	c.apply(t, invoke)
	c.apply(t, report(id, 1<<16, ended()))
	require.Equal(t, once, c.tx.gets, "an unkeyed call")
	require.Empty(t, c.tx.scans)

	c.tx.reset()
	id, invoke = unkeyedCall(2, 1000)
	c.apply(t, invoke)
	c.apply(t, report(id, 3<<16, ended()))
	require.Equal(t, once, c.tx.gets, "an unkeyed call whose result and journal are kept")
	require.Empty(t, c.tx.scans)

	c.tx.reset()
	id, invoke = unkeyedCall(3, 0)
	c.apply(t, invoke)
	c.apply(t, report(id, 5<<16, appended(1, &journalv1.Command{
		Command: &journalv1.Command_Run{Run: &journalv1.Run{CompletionId: 1}},
	})))
	c.apply(t, report(id, 5<<16, &logv1.InvokerEffect{Effect: &logv1.InvokerEffect_RunCompletion{
		RunCompletion: &logv1.RunCompletion{CompletionId: 1, Result: ended().GetEnded().GetOutput()},
	}}))
	c.apply(t, report(id, 5<<16, ended()))
	require.Equal(t, counts{storage.TableInvocation: 1, storage.TableCompletion: 1, storage.TableDeduplication: 4}, c.tx.gets,
		"a call with a run")
	require.Equal(t, counts{storage.TableCompletion: 1, storage.TableSignal: 1}, c.tx.scans)

	c.tx.reset()
	id, invoke = unkeyedCall(4, 0)
	invoke.GetInvoke().Target = &journalv1.Target{
		Service: "C", Key: []byte("k"), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED,
	}
	c.apply(t, invoke)
	c.apply(t, report(id, 9<<16, appended(1, &journalv1.Command{
		Command: &journalv1.Command_SetState{SetState: &journalv1.SetState{Key: []byte("x")}},
	})))
	c.apply(t, report(id, 9<<16, ended()))
	require.Equal(t, counts{storage.TableInvocation: 1, storage.TableLock: 1, storage.TableDeduplication: 3}, c.tx.gets,
		"a call to an object")
	require.Empty(t, c.tx.scans)
}

// TestMuchIsDroppedAtOnce has a handler leave many rows behind. One record drops them all, while everybody else waits.
func TestMuchIsDroppedAtOnce(t *testing.T) {
	const many = 2000
	c := newCosts(t)
	id, invoke := unkeyedCall(1, 0)
	c.apply(t, invoke)
	var records []*logv1.Record
	for n := range uint32(many) {
		records = append(records,
			report(id, 1<<16, appended(2*n+1, &journalv1.Command{
				Command: &journalv1.Command_SetState{SetState: &journalv1.SetState{Key: fmt.Append(nil, n)}},
			})),
			report(id, 1<<16, appended(2*n+2, &journalv1.Command{
				Command: &journalv1.Command_GetState{GetState: &journalv1.GetState{CompletionId: n + 1}},
			})))
	}
	c.apply(t, records...)
	c.tx.reset()
	c.apply(t, report(id, 1<<16, ended()))
	delete(c.tx.deletes, storage.TableInvocation)
	require.Equal(t, map[storage.Table]int{
		storage.TableState: 1, storage.TableJournal: 1, storage.TableCompletion: 1,
	}, c.tx.deletes)
	for _, table := range []storage.Table{storage.TableState, storage.TableJournal, storage.TableCompletion} {
		it := c.space.Scan(storage.TableRange(table))
		require.False(t, it.Next(), table)
		it.Close()
	}
}

// BenchmarkUnkeyedCall applies a call and its end.
func BenchmarkUnkeyedCall(b *testing.B) {
	for _, retention := range []uint64{0, 1000} {
		b.Run(fmt.Sprintf("retention=%d", retention), func(b *testing.B) {
			c := newCosts(b)
			b.ReportAllocs()
			for n := range b.N {
				id, invoke := unkeyedCall(uint64(n), retention)
				c.apply(b, invoke)
				c.apply(b, report(id, c.position<<16, ended()))
			}
		})
	}
}

// BenchmarkFanOut has the results of many runs wake a handler that waits for all of them.
func BenchmarkFanOut(b *testing.B) {
	const width = 1000
	for range b.N {
		c := newCosts(b)
		id, invoke := unkeyedCall(1, 0)
		c.apply(b, invoke)
		all := &journalv1.Future{Combinator: journalv1.Future_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED}
		for n := range uint32(width) {
			c.apply(b, report(id, 1<<16, appended(n+1, &journalv1.Command{
				Command: &journalv1.Command_Sleep{Sleep: &journalv1.Sleep{WakeUpTime: 2000 + uint64(n), CompletionId: n + 1}},
			})))
			all.Completions = append(all.Completions, n+1)
		}
		c.apply(b, report(id, 1<<16, &logv1.InvokerEffect{Effect: &logv1.InvokerEffect_Suspended{Suspended: all}}))
		for n := range uint32(width) {
			timer := storage.TimerID{FireAt: 2000 + uint64(n), Invocation: id, Kind: storage.TimerSleep, CompletionID: n + 1}
			c.apply(b, &logv1.Record{Command: &logv1.Record_TimerFired{TimerFired: &logv1.TimerFired{Key: timer.Key()}}})
		}
	}
}
