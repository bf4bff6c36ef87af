package keyspace_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/keyspace"
)

// The two hashes are in ids of invocations that the tutorial of 2023 prints.
func TestHashKey(t *testing.T) {
	require.Equal(t, uint64(0x2b5a9ec79d823d89), keyspace.HashKey([]byte("\x03123")))
	require.Equal(t, uint64(0x230176bfb722dde5), keyspace.HashKey([]byte("\x03456")))
}

func TestPartitionsAreContiguousAndCoverTheKeySpace(t *testing.T) {
	for _, n := range []uint32{1, 2, 3, 8, 1000, keyspace.MaxPartitions} {
		layout := keyspace.Layout{Partitions: n}
		require.Equal(t, uint32(0), layout.PartitionOf(0))
		require.Equal(t, n-1, layout.PartitionOf(math.MaxUint64))
		previous := uint32(0)
		for i := range uint64(10_000) {
			p := layout.PartitionOf(i * (math.MaxUint64 / 10_000))
			require.GreaterOrEqual(t, p, previous)
			require.Less(t, p, n)
			previous = p
		}
	}
}
