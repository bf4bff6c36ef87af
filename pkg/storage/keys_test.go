package storage_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

var (
	id       = ids.MakeInvocationID(0x0102030405060708, [16]byte{0xa0, 15: 0xaf})
	instance = storage.Instance{PartitionKey: 0x0102030405060708, Service: "svc", Key: []byte("k\x00y")}
)

// TestKeyFormat fixes the bytes of every kind of key. They are on disk: a line may be added, never changed.
func TestKeyFormat(t *testing.T) {
	const idHex, instanceHex = "0102030405060708a00000000000000000000000000000af", "010203040506070803737663036b0079"
	for _, c := range []struct {
		name string
		key  []byte
		want string
	}{
		{"invocation", storage.InvocationKey(id), "01" + idHex},
		{"journal", storage.JournalKey(id, 0x11223344), "02" + idHex + "11223344"},
		{"completion", storage.CompletionKey(id, 0x11223344), "03" + idHex + "11223344"},
		{"inbox", storage.InboxKey(instance, 0x1122334455667788), "04" + instanceHex + "1122334455667788"},
		{"lock", storage.LockKey(instance), "05" + instanceHex},
		{"state", storage.StateKey(instance, []byte("x\xff")), "06" + instanceHex + "78ff"},
		{"sleep", storage.TimerID{
			FireAt: 0x1122334455667788, Invocation: id, Kind: storage.TimerSleep, CompletionID: 9,
		}.Key(), "071122334455667788" + idHex + "0100000009"},
		{"start", storage.TimerID{FireAt: 1, Invocation: id, Kind: storage.TimerStart}.Key(), "070000000000000001" + idHex + "0200000000"},
		{"drop", storage.TimerID{FireAt: 1, Invocation: id, Kind: storage.TimerDrop}.Key(), "070000000000000001" + idHex + "0300000000"},
		{"drop journal", storage.TimerID{FireAt: 1, Invocation: id, Kind: storage.TimerDropJournal}.Key(), "070000000000000001" + idHex + "0400000000"},
		{"outbox", storage.OutboxKey(0x1122334455667788), "081122334455667788"},
		{"deduplication", storage.DeduplicationKey("i1"), "096931"},
		{"meta", storage.MetaKey(), "0a"},
		{"signal by index", storage.SignalKey(id, 0x11223344, ""), "0b" + idHex + "11223344"},
		{"signal by name", storage.SignalKey(id, 0, "s\xff"), "0b" + idHex + "0000000073ff"},
		{"promise", storage.PromiseKey(instance, "p\xff"), "0c" + instanceHex + "70ff"},
	} {
		require.Equal(t, c.want, hex.EncodeToString(c.key), c.name)
	}
}

func TestKeysRoundTrip(t *testing.T) {
	for _, i := range instances() {
		for _, n := range []uint64{0, 1, 255, 256, math.MaxUint64} {
			got, sequence, err := storage.ParseInboxKey(storage.InboxKey(i, n))
			require.NoError(t, err)
			require.Equal(t, n, sequence)
			requireInstance(t, i, got)

			outbox, err := storage.ParseOutboxKey(storage.OutboxKey(n))
			require.NoError(t, err)
			require.Equal(t, n, outbox)
		}
		got, err := storage.ParseLockKey(storage.LockKey(i))
		require.NoError(t, err)
		requireInstance(t, i, got)
		for _, key := range []string{"", "x", "\x00", "\xff\xff"} {
			got, stateKey, err := storage.ParseStateKey(storage.StateKey(i, []byte(key)))
			require.NoError(t, err)
			requireInstance(t, i, got)
			require.Equal(t, key, string(stateKey))
			got, promiseKey, err := storage.ParsePromiseKey(storage.PromiseKey(i, key))
			require.NoError(t, err)
			requireInstance(t, i, got)
			require.Equal(t, key, promiseKey)
		}
	}
	for _, n := range []uint32{0, 1, math.MaxUint32} {
		got, index, err := storage.ParseJournalKey(storage.JournalKey(id, n))
		require.NoError(t, err)
		require.Equal(t, id, got)
		require.Equal(t, n, index)
		got, index, err = storage.ParseCompletionKey(storage.CompletionKey(id, n))
		require.NoError(t, err)
		require.Equal(t, id, got)
		require.Equal(t, n, index)
		got, index, name, err := storage.ParseSignalKey(storage.SignalKey(id, n, ""))
		require.NoError(t, err)
		require.Equal(t, id, got)
		require.Equal(t, n, index)
		require.Empty(t, name)
	}
	for _, want := range []string{"x", "\x00", "\xff\xff"} {
		got, index, name, err := storage.ParseSignalKey(storage.SignalKey(id, 0, want))
		require.NoError(t, err)
		require.Equal(t, id, got)
		require.Zero(t, index)
		require.Equal(t, want, name)
	}
	got, err := storage.ParseInvocationKey(storage.InvocationKey(id))
	require.NoError(t, err)
	require.Equal(t, id, got)
	for _, producer := range []string{"", "partition/7", "\x00"} {
		got, err := storage.ParseDeduplicationKey(storage.DeduplicationKey(producer))
		require.NoError(t, err)
		require.Equal(t, producer, got)
	}
	timer := storage.TimerID{FireAt: math.MaxUint64, Invocation: id, Kind: storage.TimerSleep, CompletionID: math.MaxUint32}
	parsed, err := storage.ParseTimerKey(timer.Key())
	require.NoError(t, err)
	require.Equal(t, timer, parsed)
}

// instances that could be taken for each other if their parts were not told apart.
func instances() []storage.Instance {
	long := bytes.Repeat([]byte("k"), 200)
	return []storage.Instance{
		{PartitionKey: 0, Service: "", Key: nil},
		{PartitionKey: 0, Service: "a", Key: []byte("bc")},
		{PartitionKey: 0, Service: "ab", Key: []byte("c")},
		{PartitionKey: 0, Service: "abc", Key: nil},
		{PartitionKey: 1, Service: "a", Key: []byte("b")},
		{PartitionKey: 1, Service: "a", Key: []byte("b\x00")},
		{PartitionKey: 1, Service: "a", Key: []byte("b\xff")},
		{PartitionKey: 1, Service: "a", Key: long},
		{PartitionKey: 1, Service: "a", Key: append(bytes.Clone(long), 'x')},
		{PartitionKey: math.MaxUint64, Service: "\xff", Key: []byte("\xff\xff")},
	}
}

func requireInstance(t *testing.T, want, got storage.Instance) {
	t.Helper()
	require.Equal(t, want.PartitionKey, got.PartitionKey)
	require.Equal(t, want.Service, got.Service)
	require.Equal(t, string(want.Key), string(got.Key))
}

// TestRanges checks that the range of an instance holds its rows and those of no other.
func TestRanges(t *testing.T) {
	in := func(key, lower, upper []byte) bool {
		return bytes.Compare(key, lower) >= 0 && (upper == nil || bytes.Compare(key, upper) < 0)
	}
	for a, of := range instances() {
		for b, i := range instances() {
			lower, upper := storage.StateRange(of)
			for _, key := range []string{"", "\x00", "x", "\xff\xff\xff"} {
				require.Equal(t, a == b, in(storage.StateKey(i, []byte(key)), lower, upper), "%v, %v, %q", of, i, key)
			}
			lower, upper = storage.PromiseRange(of)
			for _, key := range []string{"", "\x00", "x", "\xff\xff\xff"} {
				require.Equal(t, a == b, in(storage.PromiseKey(i, key), lower, upper), "%v, %v, %q", of, i, key)
			}
			lower, upper = storage.InboxRange(of)
			for _, n := range []uint64{0, math.MaxUint64} {
				require.Equal(t, a == b, in(storage.InboxKey(i, n), lower, upper), "%v, %v, %d", of, i, n)
			}
		}
	}
	lower, upper := storage.JournalRange(id, 2, 4)
	for index, want := range []bool{false, false, true, true, false} {
		require.Equal(t, want, in(storage.JournalKey(id, uint32(index)), lower, upper), index)
	}
	for table := storage.TableInvocation; table <= storage.TablePromise; table++ {
		lower, upper := storage.TableRange(table)
		require.True(t, in([]byte{byte(table)}, lower, upper))
		require.True(t, in([]byte{byte(table), 0xff, 0xff}, lower, upper))
		require.False(t, in([]byte{byte(table) + 1}, lower, upper))
		require.False(t, in([]byte{byte(table) - 1, 0xff}, lower, upper))
	}
}

func TestOrder(t *testing.T) {
	later := ids.MakeInvocationID(0, [16]byte{})
	for name, keys := range map[string][][]byte{
		"timers, by time first": {
			storage.TimerID{FireAt: 1, Invocation: id, Kind: storage.TimerDrop, CompletionID: 7}.Key(),
			storage.TimerID{FireAt: 255, Invocation: id, Kind: storage.TimerSleep}.Key(),
			storage.TimerID{FireAt: 256, Invocation: later, Kind: storage.TimerSleep}.Key(),
			storage.TimerID{FireAt: 1 << 40, Invocation: later, Kind: storage.TimerSleep}.Key(),
		},
		"outbox": {storage.OutboxKey(1), storage.OutboxKey(255), storage.OutboxKey(256), storage.OutboxKey(1 << 40)},
		"inbox": {
			storage.InboxKey(instance, 0), storage.InboxKey(instance, 255), storage.InboxKey(instance, 256),
		},
		"journal": {storage.JournalKey(id, 0), storage.JournalKey(id, 255), storage.JournalKey(id, 256)},
	} {
		require.True(t, slices.IsSortedFunc(keys, bytes.Compare), name)
	}
}

func TestPrefixEnd(t *testing.T) {
	for _, c := range []struct{ prefix, end []byte }{
		{nil, nil},
		{[]byte{1}, []byte{2}},
		{[]byte{1, 0xff}, []byte{2}},
		{[]byte{1, 0xfe, 0xff, 0xff}, []byte{1, 0xff}},
		{[]byte{0xff, 0xff}, nil},
	} {
		given := bytes.Clone(c.prefix)
		require.Equal(t, c.end, storage.PrefixEnd(c.prefix))
		require.Equal(t, given, c.prefix, "the argument is the caller's")
	}
}

// FuzzParse reads arbitrary bytes as keys of every table: no panic, an error that says so, or a key that means the same
// when it is written again.
func FuzzParse(f *testing.F) {
	for _, key := range [][]byte{
		storage.InvocationKey(id), storage.JournalKey(id, 1), storage.CompletionKey(id, 1), storage.InboxKey(instance, 1),
		storage.LockKey(instance), storage.StateKey(instance, []byte("x")), storage.TimerID{FireAt: 1, Invocation: id}.Key(),
		storage.OutboxKey(1), storage.DeduplicationKey("p"), storage.MetaKey(), nil,
		{0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		for _, parse := range parsers {
			again, err := parse(key)
			if err != nil {
				require.ErrorIs(t, err, storage.ErrCorrupt)
				continue
			}
			require.Equal(t, key[0], again[0], "the table")
			twice, err := parse(again)
			require.NoError(t, err)
			require.Equal(t, again, twice)
		}
	})
}

// parsers read a key of one table and write it again.
var parsers = []func([]byte) ([]byte, error){
	func(key []byte) ([]byte, error) {
		id, err := storage.ParseInvocationKey(key)
		return storage.InvocationKey(id), err
	},
	func(key []byte) ([]byte, error) {
		id, index, err := storage.ParseJournalKey(key)
		return storage.JournalKey(id, index), err
	},
	func(key []byte) ([]byte, error) {
		id, index, err := storage.ParseCompletionKey(key)
		return storage.CompletionKey(id, index), err
	},
	func(key []byte) ([]byte, error) {
		instance, sequence, err := storage.ParseInboxKey(key)
		return storage.InboxKey(instance, sequence), err
	},
	func(key []byte) ([]byte, error) {
		instance, err := storage.ParseLockKey(key)
		return storage.LockKey(instance), err
	},
	func(key []byte) ([]byte, error) {
		instance, stateKey, err := storage.ParseStateKey(key)
		return storage.StateKey(instance, stateKey), err
	},
	func(key []byte) ([]byte, error) {
		timer, err := storage.ParseTimerKey(key)
		return timer.Key(), err
	},
	func(key []byte) ([]byte, error) {
		sequence, err := storage.ParseOutboxKey(key)
		return storage.OutboxKey(sequence), err
	},
	func(key []byte) ([]byte, error) {
		producer, err := storage.ParseDeduplicationKey(key)
		return storage.DeduplicationKey(producer), err
	},
	func(key []byte) ([]byte, error) {
		id, index, name, err := storage.ParseSignalKey(key)
		return storage.SignalKey(id, index, name), err
	},
	func(key []byte) ([]byte, error) {
		instance, promise, err := storage.ParsePromiseKey(key)
		return storage.PromiseKey(instance, promise), err
	},
}
