package scan_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/storage-reader/internal/rowstest"
	"github.com/restate-go/restate/services/storage-reader/internal/scan"
)

const partitions = 4 // as rowstest.Layout has

// source is partitions in memory.
type source struct {
	t      testing.TB
	layout keyspace.Layout
	store  *mem.Store
	// looked counts the stored rows that were looked at by iterators.
	looked int
	// reads counts the calls of Read; before each one, when it is set, is called with its number.
	reads  int
	before func(read int)
}

func newSource(t testing.TB) *source {
	t.Helper()
	return &source{t: t, layout: rowstest.Layout(), store: mem.New(partitions)}
}

func (s *source) Read(_ context.Context, read func(scan.View) error) error {
	s.reads++
	if s.before != nil {
		s.before(s.reads)
	}
	view := scan.View{Layout: s.layout}
	for i := range uint32(partitions) {
		view.Partitions = append(view.Partitions, counted{s.space(i), &s.looked})
	}
	return read(view)
}

// counted counts how far its iterators go.
type counted struct {
	kv.Reader
	rows *int
}

func (c counted) Scan(lower, upper []byte) kv.Iterator {
	return &countedIterator{c.Reader.Scan(lower, upper), c.rows}
}

type countedIterator struct {
	kv.Iterator
	rows *int
}

func (i *countedIterator) Next() bool {
	more := i.Iterator.Next()
	if more {
		*i.rows++
	}
	return more
}

func (s *source) space(partition uint32) kv.Space {
	space, err := s.store.Space(partition)
	require.NoError(s.t, err)
	return space
}

// write changes the rows of a partition.
func (s *source) write(partition uint32, change func(*kv.Tx)) {
	s.t.Helper()
	tx := kv.NewTx(s.space(partition))
	change(tx)
	require.NoError(s.t, tx.Commit())
}

// at changes the rows of the partition that the partition key is in.
func (s *source) at(partitionKey uint64, change func(*kv.Tx)) {
	s.t.Helper()
	s.write(s.layout.PartitionOf(partitionKey), change)
}

// scan returns the rows that pass, in the order in which they are sent.
func (s *source) scan(request *scanv1.ScanRequest, limits scan.Limits) []*scanv1.Pair {
	s.t.Helper()
	filter, err := scan.NewFilter(request)
	require.NoError(s.t, err)
	var pairs []*scanv1.Pair
	require.NoError(s.t, scan.Run(s.t.Context(), s, filter, limits, func(pair *scanv1.Pair) error {
		pairs = append(pairs, pair)
		return nil
	}))
	return pairs
}

// small makes some passes and many chunks, tiny as many as there can be.
var (
	small = scan.Limits{Keys: 4000, Chunk: 64}
	tiny  = scan.Limits{Keys: 1, Chunk: 1}
)

func prefix(key *scanv1.Key) *scanv1.ScanRequest {
	return &scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Prefix{Prefix: key}}
}

func exactly(key *scanv1.Key) *scanv1.ScanRequest {
	return &scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Key{Key: key}}
}

func between(start, end *scanv1.Key) *scanv1.ScanRequest {
	return &scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Range{Range: &scanv1.Range{Start: start, End: end}}}
}

func stateKey(k *scanv1.State) *scanv1.Key { return &scanv1.Key{Key: &scanv1.Key_State{State: k}} }

func timersKey(k *scanv1.Timers) *scanv1.Key { return &scanv1.Key{Key: &scanv1.Key_Timers{Timers: k}} }

func outboxKey(k *scanv1.Outbox) *scanv1.Key { return &scanv1.Key{Key: &scanv1.Key_Outbox{Outbox: k}} }

// wholeTables has a key without fields for every table.
func wholeTables() []*scanv1.Key {
	return []*scanv1.Key{
		{Key: &scanv1.Key_Deduplication{Deduplication: &scanv1.Deduplication{}}},
		{Key: &scanv1.Key_PartitionStateMachine{PartitionStateMachine: &scanv1.PartitionStateMachine{}}},
		{Key: &scanv1.Key_Inbox{Inbox: &scanv1.Inbox{}}},
		{Key: &scanv1.Key_Journal{Journal: &scanv1.Journal{}}},
		outboxKey(&scanv1.Outbox{}),
		stateKey(&scanv1.State{}),
		{Key: &scanv1.Key_Status{Status: &scanv1.Status{}}},
		timersKey(&scanv1.Timers{}),
	}
}

func requireSame(t *testing.T, want, got []*scanv1.Pair, what string) {
	t.Helper()
	require.Equal(t, len(want), len(got), what) //nolint:testifylint // it would print all rows
	for i := range want {
		require.True(t, proto.Equal(want[i], got[i]), "%s: row %d is %v, not %v", what, i, got[i], want[i])
	}
}
