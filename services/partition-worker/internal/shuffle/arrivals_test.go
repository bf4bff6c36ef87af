package shuffle

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArrivals(t *testing.T) {
	a := newArrivals(5)
	_, ok := a.take()
	require.False(t, ok, "nothing has arrived")

	a.arrived(6)
	a.arrived(8)
	_, ok = a.take()
	require.False(t, ok, "5 has not arrived")

	a.arrived(5)
	through, ok := a.take()
	require.True(t, ok)
	require.Equal(t, uint64(6), through)
	_, ok = a.take()
	require.False(t, ok, "it is told once")

	// What has arrived before is of no interest, and a repetition changes nothing.
	a.arrived(4)
	a.arrived(6)
	a.arrived(8)
	a.arrived(7)
	through, ok = a.take()
	require.True(t, ok)
	require.Equal(t, uint64(8), through)
	require.Empty(t, a.ahead)
}

func TestManyArrivalsAreSignalled(t *testing.T) {
	a := newArrivals(1)
	signalled := func() bool {
		select {
		case <-a.many:
			return true
		default:
			return false
		}
	}
	for sequence := uint64(2); sequence < 2*truncateEvery; sequence++ {
		a.arrived(sequence)
	}
	require.False(t, signalled(), "the first is missing")
	a.arrived(1)
	require.True(t, signalled())
	through, ok := a.take()
	require.True(t, ok)
	require.Equal(t, uint64(2*truncateEvery-1), through)
	a.arrived(2 * truncateEvery)
	require.False(t, signalled(), "a single one can wait")
}

func TestArrivalsInAnyOrder(t *testing.T) {
	const count = 1000
	random := rand.New(rand.NewPCG(1, 2))
	a := newArrivals(1)
	arrived := map[uint64]bool{}
	for _, n := range random.Perm(count) {
		a.arrived(uint64(n) + 1)
		arrived[uint64(n)+1] = true
		if through, ok := a.take(); ok {
			require.False(t, arrived[through+1])
			for sequence := range through {
				require.True(t, arrived[sequence+1], "%d is not to be dropped", sequence+1)
			}
		}
	}
	require.Equal(t, uint64(count), a.next-1)
	require.Empty(t, a.ahead)
}
