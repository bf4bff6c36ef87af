package statemachine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
)

func TestWaitsAreBounded(t *testing.T) {
	w := newWaits()
	held := func() (leaves int) {
		for _, of := range w.of {
			leaves += len(of.leaves)
		}
		return leaves
	}
	put := func(n uint64, width int) {
		added := &wait{leaves: map[leaf][]*settlement{}}
		for i := range width {
			added.leaves[leaf{index: uint32(i)}] = nil
		}
		w.put(ids.MakeInvocationID(n, [16]byte{}), added)
	}
	for n := range uint64(100) {
		put(n, 1000)
		require.LessOrEqual(t, held(), maxLeaves)
		require.Equal(t, held(), w.leaves)
	}
	require.NotEmpty(t, w.of)
	put(99, 10)
	require.Equal(t, held(), w.leaves)
	// One alone may have more: it is no larger than its record.
	put(100, maxLeaves+1)
	require.Equal(t, maxLeaves+1, held())
	w.forget(ids.MakeInvocationID(100, [16]byte{}))
	w.forget(ids.MakeInvocationID(101, [16]byte{}))
	require.Zero(t, w.leaves)
	require.Empty(t, w.of)
}
