package shuffle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// lanesOf has lanes for the messages from first on, all to one destination, and the lane with their flights.
func lanesOf(first, count uint64) (*lanes[string], *lane[string], []*flight) {
	l := newLanes[string](first, make(chan struct{}, 1))
	var to *lane[string]
	var flights []*flight
	for sequence := first; sequence < first+count; sequence++ {
		var f *flight
		to, f = l.depart("a", sequence, func() *lane[string] { return &lane[string]{to: "a"} })
		flights = append(flights, f)
	}
	return &l, to, flights
}

func requireThrough(t *testing.T, want uint64, l *lanes[string]) {
	t.Helper()
	through, ok := l.take()
	require.True(t, ok)
	require.Equal(t, want, through)
	_, ok = l.take()
	require.False(t, ok, "it is told once")
}

func TestArrivals(t *testing.T) {
	l, to, flights := lanesOf(5, 4)
	_, ok := l.take()
	require.False(t, ok, "nothing has arrived")
	l.arrived(to, flights[1])
	l.arrived(to, flights[3])
	_, ok = l.take()
	require.False(t, ok, "5 has not arrived")
	l.arrived(to, flights[0])
	requireThrough(t, 6, l)
	l.arrived(to, flights[2])
	requireThrough(t, 8, l)
	require.Empty(t, to.underWay)
}

// TestWhatWaitsHasNotArrived has all arrive that was sent, before what waits in the table is.
func TestWhatWaitsHasNotArrived(t *testing.T) {
	l, to, flights := lanesOf(1, 3)
	l.cancel(to, flights[2], true)
	_, f := l.depart("a", 4, nil)
	require.Nil(t, f, "it waits behind the third")
	l.arrived(to, flights[0])
	l.arrived(to, flights[1])
	requireThrough(t, 2, l)

	late, next := l.late()
	require.Equal(t, []*lane[string]{to}, late)
	require.Equal(t, uint64(5), next)
	l.arrived(to, l.resume(to, 3))
	_, ok := l.take()
	require.False(t, ok, "it is not known yet that it was the only one")
	l.passed(to, 4, true)
	requireThrough(t, 3, l)
	l.arrived(to, l.resume(to, 4))
	l.passed(to, 5, false)
	requireThrough(t, 4, l)
}

func TestManyArrivalsAreSignalled(t *testing.T) {
	l, to, flights := lanesOf(1, 2*truncateEvery)
	for _, f := range flights[:truncateEvery-1] {
		l.arrived(to, f)
	}
	require.Empty(t, l.many)
	l.arrived(to, flights[truncateEvery-1])
	require.Len(t, l.many, 1)
	<-l.many
	requireThrough(t, truncateEvery, l)
	l.arrived(to, flights[truncateEvery])
	require.Empty(t, l.many, "a single one can wait")
}
