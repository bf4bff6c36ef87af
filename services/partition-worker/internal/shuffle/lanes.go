package shuffle

import (
	"context"
	"sync"
	"time"
)

// lane is the way to one destination.
type lane[D comparable] struct {
	to          D
	destination Destination
	stop        context.CancelFunc
	// underWay are the messages that were sent and have not arrived, in order. Of those after the first, some may have.
	underWay []*flight
	// behind is the first message that there was no room for, which waits in the table as do all after it; 0 for none.
	behind uint64
	// again says that there may be room for it now.
	again bool
	// idle is since when nothing has been under way.
	idle time.Time
}

type flight struct {
	sequence uint64
	arrived  bool
}

// lanes knows where the messages are that have been shipped, and so up to where all have arrived.
type lanes[D comparable] struct {
	mu  sync.Mutex
	all map[D]*lane[D]
	// next is the first message that is not shipped yet, and reported the last value that take returned, plus one.
	next, reported uint64
	// arrivals counts since take was called; many is signalled when they are a good number.
	arrivals int
	many     chan struct{}
	// wake is signalled when there may be room in a lane that is behind.
	wake chan struct{}
}

func newLanes[D comparable](first uint64, wake chan struct{}) lanes[D] {
	return lanes[D]{all: map[D]*lane[D]{}, next: first, reported: first, many: make(chan struct{}, 1), wake: wake}
}

// depart notes that the next message is sent to the destination, in a lane that is opened if there is none. It returns no
// flight when the message has to wait in the table, behind others.
func (l *lanes[D]) depart(to D, sequence uint64, open func() *lane[D]) (*lane[D], *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = sequence + 1
	lane, ok := l.all[to]
	if !ok {
		lane = open()
		l.all[to] = lane
	}
	if lane.behind != 0 {
		return lane, nil
	}
	f := lane.begin(sequence)
	return lane, f
}

func (l *lane[D]) begin(sequence uint64) *flight {
	f := &flight{sequence: sequence}
	l.underWay = append(l.underWay, f)
	return f
}

// cancel takes back the flight that was begun last: there was no room. again lets it be tried once more, for what made room
// meanwhile did not know that somebody waits for that.
func (l *lanes[D]) cancel(lane *lane[D], f *flight, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane.underWay = lane.underWay[:len(lane.underWay)-1]
	lane.behind = f.sequence
	lane.again = lane.again || again
}

func (l *lanes[D]) arrived(lane *lane[D], f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.arrived = true
	for len(lane.underWay) > 0 && lane.underWay[0].arrived {
		lane.underWay[0] = nil
		lane.underWay = lane.underWay[1:]
	}
	if len(lane.underWay) == 0 {
		lane.idle = time.Now()
	}
	if lane.behind != 0 {
		lane.again = true
		signal(l.wake)
	}
	l.arrivals++
	if l.arrivals >= truncateEvery {
		signal(l.many)
	}
}

// late returns the lanes that are behind and may have room, and the first message that is not shipped yet.
func (l *lanes[D]) late() (late []*lane[D], next uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lane := range l.all {
		if lane.behind != 0 && lane.again {
			lane.again = false
			late = append(late, lane)
		}
	}
	return late, l.next
}

// resume notes that a message is sent that has waited in the table.
func (l *lanes[D]) resume(lane *lane[D], sequence uint64) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	return lane.begin(sequence)
}

// passed notes that all before the sequence were sent that waited in the table: with more, others have still to be looked for
// there.
func (l *lanes[D]) passed(lane *lane[D], sequence uint64, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !more {
		sequence = 0
	}
	lane.behind, lane.again = sequence, more
}

// take returns the last sequence up to which all have arrived or were dropped; ok is false when nothing was added since the
// last call.
func (l *lanes[D]) take() (through uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrivals = 0
	next := l.next
	for _, lane := range l.all {
		switch {
		case len(lane.underWay) > 0:
			next = min(next, lane.underWay[0].sequence)
		case lane.behind != 0:
			next = min(next, lane.behind)
		}
	}
	if next == l.reported {
		return 0, false
	}
	l.reported = next
	return next - 1, true
}

// drop forgets a lane whose receiver is gone, with all that was for it.
func (l *lanes[D]) drop(lane *lane[D]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all[lane.to] == lane {
		delete(l.all, lane.to)
	}
}

// retire stops the lanes that have had nothing for long.
func (l *lanes[D]) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for to, lane := range l.all {
		if len(lane.underWay) == 0 && lane.behind == 0 && time.Since(lane.idle) > idleAfter {
			delete(l.all, to)
			lane.stop()
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
