package scan_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/storage-reader/internal/rowstest"
	"github.com/restate-go/restate/services/storage-reader/internal/scan"
)

// TestOrderOfTimers has many timers that are due at the same time, which only the rest of the key tells apart.
func TestOrderOfTimers(t *testing.T) {
	s := newSource(t)
	for n := range byte(60) {
		id := rowstest.Keyed(fmt.Sprintf("%c", 'z'-n%7), n)
		s.at(id.PartitionKey(), func(tx *kv.Tx) {
			rowstest.PutFresh(t, tx, id, storagev1.Invocation_STATE_INVOKED, rowstest.KeyedTarget([]string{"long name", "b", "a"}[n%3], "Do", "k"), "", nil)
			for sleep := range uint32(3) {
				at := 1000 + uint64(n/20)
				require.NoError(t, storage.PutTimer(tx,
					storage.TimerID{FireAt: at, Invocation: id, Kind: storage.TimerSleep, CompletionID: 300 - sleep}, &storagev1.Timer{}))
			}
		})
	}
	rows := s.scan(prefix(timersKey(&scanv1.Timers{})), scan.DefaultLimits())
	require.Equal(t, 180, len(rows)) //nolint:testifylint // it would print all rows
	order := func(a, b *scanv1.Pair) int {
		x, y := a.GetKey().GetTimers(), b.GetKey().GetTimers()
		for _, fields := range [][2]any{
			{proto.Uint32(uint32(x.GetPartitionId())), proto.Uint32(uint32(y.GetPartitionId()))},
			{proto.Uint32(uint32(x.GetTimestamp())), proto.Uint32(uint32(y.GetTimestamp()))},
			{x.ServiceName, y.ServiceName}, {x.ServiceKey, y.ServiceKey}, {x.InvocationId, y.InvocationId},
			{x.JournalIndex, y.JournalIndex},
		} {
			if c := compare(fields[0], fields[1]); c != 0 {
				return c
			}
		}
		return 0
	}
	require.True(t, slices.IsSortedFunc(rows, order))
	for _, limits := range []scan.Limits{small, tiny} {
		requireSame(t, rows, s.scan(prefix(timersKey(&scanv1.Timers{})), limits), "in passes")
	}
	from := timersKey(&scanv1.Timers{PartitionId: proto.Uint64(1), Timestamp: proto.Uint64(1001)})
	to := timersKey(&scanv1.Timers{PartitionId: proto.Uint64(2), Timestamp: proto.Uint64(1001)})
	requireSame(t, sieve(rows, func(k *scanv1.Key) bool {
		timer := k.GetTimers()
		return (timer.GetPartitionId() == 1 && timer.GetTimestamp() >= 1001) || (timer.GetPartitionId() == 2 && timer.GetTimestamp() <= 1001)
	}), s.scan(between(from, to), tiny), "a range over partitions")
	at := timersKey(&scanv1.Timers{Timestamp: proto.Uint64(1002)})
	requireSame(t, sieve(rows, func(k *scanv1.Key) bool { return k.GetTimers().GetTimestamp() == 1002 }),
		s.scan(between(at, at), small), "one time in all partitions")
}

// fillOutbox writes messages with the sequences 1 to n.
func fillOutbox(t *testing.T, s *source, partition uint32, n uint64) {
	t.Helper()
	s.write(partition, func(tx *kv.Tx) {
		for sequence := range n {
			require.NoError(t, storage.PutOutbox(tx, sequence+1, &storagev1.OutboxMessage{}))
		}
	})
}

// TestPassesOverOrderedTablesGoOnWhereTheLastOneEnded: else they would take quadratic time.
func TestPassesOverOrderedTablesGoOnWhereTheLastOneEnded(t *testing.T) {
	s := newSource(t)
	const n = 2000
	fillOutbox(t, s, 2, n)
	require.Equal(t, n, len(s.scan(prefix(outboxKey(&scanv1.Outbox{})), small))) //nolint:testifylint // it would print all rows
	require.Less(t, s.looked, 4*n)
	s.looked = 0
	last := outboxKey(&scanv1.Outbox{PartitionId: proto.Uint64(2), MessageIndex: proto.Uint64(n)})
	require.Equal(t, 1, len(s.scan(exactly(last), small))) //nolint:testifylint // as above
	require.LessOrEqual(t, s.looked, 2)
}

// TestOneInstanceAmongManyIsFoundDirectly: the partition key follows from the service key, in two ways.
func TestOneInstanceAmongManyIsFoundDirectly(t *testing.T) {
	s := newSource(t)
	for n := range 1000 {
		key := []byte(fmt.Sprint(n))
		instance := storage.Instance{PartitionKey: keyspace.HashKey(key), Service: "S", Key: key}
		s.at(instance.PartitionKey, func(tx *kv.Tx) { tx.Put(storage.StateKey(instance, []byte("k")), key) })
		today := storage.Instance{PartitionKey: keyspace.HashText(string(key)), Service: "T", Key: key}
		s.at(today.PartitionKey, func(tx *kv.Tx) { tx.Put(storage.StateKey(today, []byte("k")), key) })
	}
	rows := s.scan(prefix(stateKey(&scanv1.State{ServiceKey: []byte("500")})), small)
	require.Equal(t, 2, len(rows)) //nolint:testifylint // it would print all rows
	keys := map[string]uint32{}
	for _, row := range rows {
		require.Equal(t, "500", string(row.GetValue()))
		keys[row.GetKey().GetState().GetServiceName()] = row.GetKey().GetState().GetPartitionKey()
	}
	require.Equal(t, map[string]uint32{"S": uint32(keyspace.HashKey([]byte("500"))), "T": uint32(keyspace.HashText("500"))}, keys)
	require.LessOrEqual(t, s.looked, 8)
}

// TestChangesDuringAScan writes between the chunks: what was there all the time comes once, in order.
func TestChangesDuringAScan(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	s := newSource(t)
	instance := func(n int) storage.Instance {
		key := []byte(fmt.Sprint(n))
		return storage.Instance{PartitionKey: keyspace.HashKey(key), Service: "S", Key: key}
	}
	const lasting = 200
	for n := range lasting {
		s.at(instance(n).PartitionKey, func(tx *kv.Tx) { tx.Put(storage.StateKey(instance(n), nil), []byte("old")) })
	}
	s.before = func(int) {
		for range 5 {
			coming, changing := lasting+random.IntN(lasting), random.IntN(lasting)
			s.at(instance(coming).PartitionKey, func(tx *kv.Tx) {
				if random.IntN(2) == 0 {
					tx.Put(storage.StateKey(instance(coming), nil), []byte("new"))
				} else {
					tx.Delete(storage.StateKey(instance(coming), nil))
				}
			})
			s.at(instance(changing).PartitionKey, func(tx *kv.Tx) { tx.Put(storage.StateKey(instance(changing), nil), []byte("new")) })
		}
	}
	rows := s.scan(prefix(stateKey(&scanv1.State{})), small)
	require.True(t, slices.IsSortedFunc(rows, func(a, b *scanv1.Pair) int { return compareKeys(a.GetKey(), b.GetKey()) }))
	seen := map[string]int{}
	for _, row := range rows {
		seen[string(row.GetKey().GetState().GetServiceKey())]++
	}
	for n := range lasting {
		require.Equal(t, 1, seen[fmt.Sprint(n)])
	}
}

// TestInstanceThatChangesHandsDuringAScan: the next invocation takes the place of the one that was found.
func TestInstanceThatChangesHandsDuringAScan(t *testing.T) {
	for name, table := range map[string]*scanv1.Key{
		"status": {Key: &scanv1.Key_Status{Status: &scanv1.Status{ServiceName: proto.String("Counter")}}},
		"journal": {Key: &scanv1.Key_Journal{Journal: &scanv1.Journal{
			ServiceName: proto.String("Counter"), JournalIndex: proto.Uint32(0),
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fill(t)
			s.before = func(read int) {
				if read != 2 {
					return
				}
				s.at(rowstest.Holder().PartitionKey(), func(tx *kv.Tx) {
					target := rowstest.KeyedTarget("Counter", "Next", "\x01a")
					tx.Delete(storage.InvocationKey(rowstest.Holder()))
					tx.Delete(storage.InboxKey(storage.InstanceOf(rowstest.Waiting(), target), 7))
					require.NoError(t, storage.PutLock(tx, storage.InstanceOf(rowstest.Waiting(), target), rowstest.Waiting()))
					rowstest.PutFresh(t, tx, rowstest.Waiting(), storagev1.Invocation_STATE_INVOKED, target, "next", nil)
				})
			}
			rows := render(t, s.scan(prefix(table), scan.DefaultLimits()))
			require.Contains(t, rows, map[string]string{"status": "TmV4dA==", "journal": "cgRuZXh0"}[name])
		})
	}
	t.Run("nobody takes it", func(t *testing.T) {
		s := fill(t)
		s.before = func(read int) {
			if read == 2 {
				s.at(rowstest.Holder().PartitionKey(), func(tx *kv.Tx) {
					tx.Delete(storage.InvocationKey(rowstest.Holder()))
					tx.Delete(storage.LockKey(storage.InstanceOf(rowstest.Holder(), rowstest.KeyedTarget("Counter", "", "\x01a"))))
				})
			}
		}
		require.NotContains(t, render(t, s.scan(prefix(&scanv1.Key{Key: &scanv1.Key_Status{Status: &scanv1.Status{}}}), small)), "Counter")
	})
}

// TestInstanceHasOneRow, whoever else is in progress for its key.
func TestInstanceHasOneRow(t *testing.T) {
	s := fill(t)
	target := rowstest.KeyedTarget("Counter", "Add", "\x01a")
	s.at(rowstest.Waiting().PartitionKey(), func(tx *kv.Tx) {
		rowstest.PutFresh(t, tx, rowstest.Waiting(), storagev1.Invocation_STATE_INVOKED, target, "beside", nil)
	})
	rows := s.scan(prefix(&scanv1.Key{Key: &scanv1.Key_Status{Status: &scanv1.Status{ServiceName: proto.String("Counter")}}}), small)
	require.Len(t, rows, 1)
	require.Contains(t, render(t, rows), "suspended")
}

// TestRowsThatGoDuringAScan empties the partitions after the rows have been found, and before they are read.
func TestRowsThatGoDuringAScan(t *testing.T) {
	for _, table := range wholeTables() {
		s := fill(t)
		s.before = func(read int) {
			if read != 2 {
				return
			}
			for i := range uint32(partitions) {
				s.write(i, func(tx *kv.Tx) {
					it := s.space(i).Scan(nil, nil)
					defer it.Close()
					for it.Next() {
						tx.Delete(slices.Clone(it.Key()))
					}
				})
			}
		}
		require.Empty(t, s.scan(prefix(table), scan.DefaultLimits()))
	}
}

func TestErrorsOfSendAreReturnedAsTheyAre(t *testing.T) {
	s := fill(t)
	gone := errors.New("the client is gone")
	filter, err := scan.NewFilter(prefix(stateKey(&scanv1.State{})))
	require.NoError(t, err)
	sent := 0
	err = scan.Run(t.Context(), s, filter, tiny, func(*scanv1.Pair) error { sent++; return gone })
	require.Equal(t, gone, err)
	require.Equal(t, 1, sent)
}

func TestEndOfTheContextEndsAPass(t *testing.T) {
	s := newSource(t)
	fillOutbox(t, s, 0, 5000)
	filter, err := scan.NewFilter(prefix(outboxKey(&scanv1.Outbox{})))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, scan.Run(ctx, s, filter, scan.DefaultLimits(), func(*scanv1.Pair) error { return nil }), context.Canceled)
	require.Less(t, s.looked, 2000)
}

// TestDamagedRows puts keys and values that decode as nothing where rows are.
func TestDamagedRows(t *testing.T) {
	whole := wholeTables()
	for name, c := range map[string]struct {
		table *scanv1.Key
		key   []byte
	}{
		"short key of state":         {whole[5], []byte{byte(storage.TableState), 1}},
		"broken key of state":        {whole[5], append([]byte{byte(storage.TableState)}, make([]byte, 8)...)},
		"broken key of an inbox":     {whole[2], append([]byte{byte(storage.TableInbox)}, make([]byte, 8)...)},
		"inbox that names nobody":    {whole[2], storage.InboxKey(storage.Instance{}, 1)},
		"short key of an outbox":     {whole[4], []byte{byte(storage.TableOutbox), 1}},
		"outbox of nonsense":         {whole[4], storage.OutboxKey(1)},
		"broken key of a timer":      {whole[7], append([]byte{byte(storage.TableTimer)}, make([]byte, 8)...)},
		"invocation of nonsense":     {whole[6], storage.InvocationKey(ids.InvocationID{})},
		"journal's own invocation":   {whole[3], storage.InvocationKey(ids.InvocationID{})},
		"deduplication of nonsense":  {whole[0], storage.DeduplicationKey(storage.PartitionProducer(1))},
		"partition's row of nothing": {whole[1], storage.MetaKey()},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t)
			s.write(0, func(tx *kv.Tx) { tx.Put(c.key, []byte{0xff}) })
			filter, err := scan.NewFilter(prefix(c.table))
			require.NoError(t, err)
			err = scan.Run(t.Context(), s, filter, small, func(*scanv1.Pair) error { return nil })
			require.ErrorIs(t, err, storage.ErrCorrupt)
		})
	}
}
