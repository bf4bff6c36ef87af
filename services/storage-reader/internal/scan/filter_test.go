package scan_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/storage-reader/internal/rowstest"
	"github.com/restate-go/restate/services/storage-reader/internal/scan"
)

func TestFiltersThatCannotBeUsed(t *testing.T) {
	whole := stateKey(&scanv1.State{
		PartitionKey: new(uint32), ServiceName: proto.String(""), ServiceKey: []byte{}, StateKey: []byte{},
	})
	for name, c := range map[string]struct {
		request *scanv1.ScanRequest
		want    string
	}{
		"none":                   {&scanv1.ScanRequest{}, "set key, prefix or range"},
		"key without a table":    {exactly(&scanv1.Key{}), "key names no table"},
		"key that is missing":    {&scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Key{}}, "key names no table"},
		"prefix without a table": {prefix(&scanv1.Key{}), "prefix names no table"},
		"empty range":            {between(nil, nil), "the start of the range names no table"},
		"missing range":          {&scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Range{}}, "the start of the range names no table"},
		"range without an end":   {between(whole, nil), "the end of the range names no table"},
		"range without a start":  {between(&scanv1.Key{}, whole), "the start of the range names no table"},
		"range over two tables": {
			between(whole, &scanv1.Key{Key: &scanv1.Key_Status{Status: &scanv1.Status{}}}), "from the table state to the table status",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scan.NewFilter(c.request)
			require.ErrorIs(t, err, scan.ErrFilter)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := scan.NewFilter(exactly(whole))
	require.NoError(t, err, "fields that are set to nothing are set")
	_, err = scan.NewFilter(between(stateKey(&scanv1.State{}), stateKey(&scanv1.State{})))
	require.NoError(t, err)
}

// TestKeysNeedEveryField takes one field after the other away from a key of each table.
func TestKeysNeedEveryField(t *testing.T) {
	for _, key := range wholeTables() {
		m := key.ProtoReflect()
		table := m.WhichOneof(m.Descriptor().Oneofs().ByName("key"))
		fields := table.Message().Fields()
		for missing := range fields.Len() {
			values := m.Mutable(table).Message()
			for i := range fields.Len() {
				values.Set(fields.Get(i), values.NewField(fields.Get(i)))
			}
			_, err := scan.NewFilter(exactly(key))
			require.NoError(t, err, "%s", table.Name())
			values.Clear(fields.Get(missing))
			_, err = scan.NewFilter(exactly(key))
			require.ErrorIs(t, err, scan.ErrFilter)
			require.ErrorContains(t, err, fmt.Sprintf("lacks %s", fields.Get(missing).Name()))
		}
	}
}

// fillState writes state of a few instances that are close to each other in every respect.
func fillState(s *source, random *rand.Rand) {
	// The low halves coincide where the high ones differ, and are ordered otherwise.
	partitionKeys := []uint64{7, 7 | 1<<40, 7 | 1<<63, 3 | 1<<62, 0xffffffff, 1<<64 - 1, 5 << 32}
	services := []string{"", "a", "b", "aa", "\u00ff", strings.Repeat("long", 40)}
	keys := []string{"", "a", "aa", "b", "\xff", "\xff\xff", strings.Repeat("\xff", 200)}
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	for range 400 {
		instance := storage.Instance{Service: pick(services), Key: []byte(pick(keys))}
		instance.PartitionKey = keyspace.HashKey(instance.Key)
		if random.IntN(2) == 0 {
			// Only unkeyed invocations, whose keys are UUIDs, may have any partition key.
			n := random.IntN(len(partitionKeys))
			u := rowstest.UUID(byte(8*n + random.IntN(3)))
			instance.PartitionKey, instance.Key = partitionKeys[n], u[:]
		}
		s.at(instance.PartitionKey, func(tx *kv.Tx) {
			tx.Put(storage.StateKey(instance, []byte(pick(keys))), []byte(fmt.Sprint(random.IntN(1000))))
		})
	}
}

// fields returns what the key of a state row holds.
func fields(key *scanv1.Key) []any {
	k := key.GetState()
	return []any{k.PartitionKey, k.ServiceName, k.ServiceKey, k.StateKey}
}

// compare compares values of one field as the service orders them; nil is not set.
func compare(a, b any) int {
	switch a := a.(type) {
	case *uint32:
		return cmp.Compare(*a, *b.(*uint32))
	case *string:
		return compare([]byte(*a), []byte(*b.(*string)))
	default:
		x, y := a.([]byte), b.([]byte)
		return cmp.Or(cmp.Compare(len(x), len(y)), bytes.Compare(x, y))
	}
}

func set(field any) bool {
	switch field := field.(type) {
	case *uint32:
		return field != nil
	case *string:
		return field != nil
	default:
		return field.([]byte) != nil
	}
}

func compareKeys(a, b *scanv1.Key) int {
	for i, field := range fields(a) {
		if order := compare(field, fields(b)[i]); order != 0 {
			return order
		}
	}
	return 0
}

// compareTo compares a row with a bound, whose fields from the first missing one on are as the row's.
func compareTo(row, bound *scanv1.Key) int {
	for i, field := range fields(bound) {
		if !set(field) {
			return 0
		}
		if order := compare(fields(row)[i], field); order != 0 {
			return order
		}
	}
	return 0
}

// gap says whether a field is set behind one that is not.
func gap(key *scanv1.Key) bool {
	missing := false
	for _, field := range fields(key) {
		if set(field) && missing {
			return true
		}
		missing = missing || !set(field)
	}
	return false
}

// partOf returns a key with some of the fields.
func partOf(key *scanv1.Key, random *rand.Rand) *scanv1.Key {
	k := proto.Clone(key).(*scanv1.Key).GetState()
	leading := random.IntN(5)
	if leading < 1 || random.IntN(8) == 0 {
		k.PartitionKey = nil
	}
	if leading < 2 || random.IntN(8) == 0 {
		k.ServiceName = nil
	}
	if leading < 3 || random.IntN(8) == 0 {
		k.ServiceKey = nil
	}
	if leading < 4 {
		k.StateKey = nil
	}
	return stateKey(k)
}

func sieve(rows []*scanv1.Pair, passes func(*scanv1.Key) bool) []*scanv1.Pair {
	return slices.DeleteFunc(slices.Clone(rows), func(p *scanv1.Pair) bool { return !passes(p.GetKey()) })
}

// TestFiltersAgainstASieve compares what scans find with what a simple reading of the rules picks out of all rows.
func TestFiltersAgainstASieve(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := newSource(t)
	fillState(s, random)
	all := s.scan(prefix(stateKey(&scanv1.State{})), scan.DefaultLimits())
	require.Greater(t, len(all), 200)
	require.True(t, slices.IsSortedFunc(all, func(a, b *scanv1.Pair) int { return compareKeys(a.GetKey(), b.GetKey()) }))
	requireSame(t, all, s.scan(prefix(stateKey(&scanv1.State{})), tiny), "a row in each pass")

	pick := func() *scanv1.Key { return all[random.IntN(len(all))].GetKey() }
	for range 60 {
		key := pick()
		requireSame(t, sieve(all, func(k *scanv1.Key) bool { return proto.Equal(k, key) }), s.scan(exactly(key), small), "key")

		part := partOf(pick(), random)
		requireSame(t, sieve(all, func(k *scanv1.Key) bool {
			for i, field := range fields(part) {
				if set(field) && compare(fields(k)[i], field) != 0 {
					return false
				}
			}
			return true
		}), s.scan(prefix(part), small), fmt.Sprintf("prefix %v", part))

		start, end := partOf(pick(), random), partOf(pick(), random)
		if gap(start) || gap(end) {
			continue
		}
		requireSame(t, sieve(all, func(k *scanv1.Key) bool { return compareTo(k, start) >= 0 && compareTo(k, end) <= 0 }),
			s.scan(between(start, end), small), fmt.Sprintf("range %v to %v", start, end))
	}
}

// TestRangesWithGaps has fields set on both sides behind one that is not, as clients do that make ranges of conditions.
func TestRangesWithGaps(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	s := newSource(t)
	fillState(s, random)
	all := s.scan(prefix(stateKey(&scanv1.State{})), small)
	service := stateKey(&scanv1.State{ServiceName: proto.String("a")})
	want := sieve(all, func(k *scanv1.Key) bool { return k.GetState().GetServiceName() == "a" })
	require.NotEmpty(t, want)
	requireSame(t, want, s.scan(between(service, service), small), "one service")

	// Nothing that passes the conditions may be missing; there may be more.
	start := stateKey(&scanv1.State{ServiceName: proto.String("a"), StateKey: []byte("a")})
	end := stateKey(&scanv1.State{ServiceName: proto.String("b"), StateKey: []byte("a")})
	got := s.scan(between(start, end), small)
	for _, row := range sieve(all, func(k *scanv1.Key) bool {
		return compare(k.GetState().ServiceName, start.GetState().ServiceName) >= 0 &&
			compare(k.GetState().ServiceName, end.GetState().ServiceName) <= 0 && string(k.GetState().GetStateKey()) == "a"
	}) {
		require.True(t, slices.ContainsFunc(got, func(p *scanv1.Pair) bool { return proto.Equal(p, row) }), "%v is missing", row)
	}

	// The sides differ in the partition key, so the services between them may be any.
	start = stateKey(&scanv1.State{PartitionKey: proto.Uint32(3), ServiceName: proto.String("b")})
	end = stateKey(&scanv1.State{PartitionKey: proto.Uint32(math.MaxUint32), ServiceName: proto.String("b")})
	requireSame(t, sieve(all, func(k *scanv1.Key) bool { return compareTo(k, start) >= 0 && compareTo(k, end) <= 0 }),
		s.scan(between(start, end), small), "from one service to the same one of another key")
}

func TestRangeFromBehindItsEndHasNoRows(t *testing.T) {
	s := newSource(t)
	fillState(s, rand.New(rand.NewPCG(5, 6)))
	start, end := stateKey(&scanv1.State{PartitionKey: proto.Uint32(8)}), stateKey(&scanv1.State{PartitionKey: proto.Uint32(7)})
	require.Empty(t, s.scan(between(start, end), small))
	require.Zero(t, s.reads, "nothing is read for it")
	require.NotEmpty(t, s.scan(between(end, start), small))
}
