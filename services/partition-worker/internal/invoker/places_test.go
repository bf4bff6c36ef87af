package invoker

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

func waitFor(p *places, service string) *task {
	t := &task{invocation: Invocation{Target: &journalv1.Target{Service: service}}}
	p.wait(t)
	return t
}

// takeAll gives places until nobody gets one, and returns to how many of each service.
func takeAll(p *places) (taken []*task, of map[string]int) {
	of = map[string]int{}
	for t := p.take(); t != nil; t = p.take() {
		taken = append(taken, t)
		of[t.invocation.Target.GetService()]++
	}
	return taken, of
}

// However few places there are, a service gets one, and none gets all where there are several.
func TestPlacesOfOneService(t *testing.T) {
	for limit, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 3, 8: 5, 16: 11, 1000: 703} {
		p := newPlaces(limit)
		for range limit + 1 {
			waitFor(p, "a")
		}
		_, of := takeAll(p)
		require.Equal(t, want, of["a"], "of %d places", limit)
		waitFor(p, "b")
		_, of = takeAll(p)
		require.Equal(t, min(limit-want, 1), of["b"], "of %d places", limit)
	}
}

func TestPlacesAreLeftByManyServices(t *testing.T) {
	p := newPlaces(1000)
	for service := range 24 {
		for range 1000 {
			waitFor(p, fmt.Sprint("hangs", service))
		}
		takeAll(p)
		require.Positive(t, p.free, "after %d services", service+1)
	}
	waitFor(p, "answers")
	_, of := takeAll(p)
	require.Equal(t, map[string]int{"answers": 1}, of)
}

func TestPlacesInTurn(t *testing.T) {
	p := newPlaces(1)
	var want []*task
	holder := waitFor(p, "a")
	require.Same(t, holder, p.take())
	a1, a2 := waitFor(p, "a"), waitFor(p, "a")
	b1, b2 := waitFor(p, "b"), waitFor(p, "b")
	c1 := waitFor(p, "c")
	want = append(want, a1, b1, c1, a2, b2) // the turn of a was before the others came
	require.Nil(t, p.take())
	p.release(holder)
	for _, expected := range want {
		got := p.take()
		require.Same(t, expected, got)
		p.release(got)
	}
	require.Empty(t, p.lines)
	require.Empty(t, p.next)
	require.Equal(t, 1, p.free)
}

// Services that come anew again and again do not keep one waiting that came before.
func TestPlacesOfNewcomers(t *testing.T) {
	p := newPlaces(1)
	holder := waitFor(p, "first")
	p.take()
	patient := waitFor(p, "patient")
	for i := range 3 {
		waitFor(p, fmt.Sprint("newcomer", i))
	}
	p.release(holder)
	require.Same(t, patient, p.take())
}

// Whatever happens in whatever order, places and lines add up, and within a service the first is the first.
func TestPlacesAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := newPlaces(10)
	var waiting, running []*task
	remove := func(from []*task, i int) []*task { return append(from[:i:i], from[i+1:]...) }
	for range 20000 {
		switch random.IntN(4) {
		case 0, 1:
			waiting = append(waiting, waitFor(p, fmt.Sprint("s", random.IntN(5))))
		case 2:
			if len(waiting) > 0 {
				i := random.IntN(len(waiting))
				p.leave(waiting[i])
				waiting = remove(waiting, i)
			}
		case 3:
			if len(running) > 0 {
				i := random.IntN(len(running))
				p.release(running[i])
				running = remove(running, i)
			}
		}
		if random.IntN(3) == 0 {
			if got := p.take(); got != nil {
				for i, w := range waiting {
					if w.invocation.Target.GetService() == got.invocation.Target.GetService() {
						require.Same(t, w, got, "the first of its service")
						waiting = remove(waiting, i)
						break
					}
				}
				running = append(running, got)
			}
		}
		require.Equal(t, 10, p.free+len(running))
		inLines := 0
		for service, l := range p.lines {
			require.True(t, l.held > 0 || l.first != nil, service)
			for w := l.first; w != nil; w = w.after {
				require.True(t, w.waits)
				inLines++
			}
		}
		require.Len(t, waiting, inLines)
	}
}
