package shuffle

import "sync"

// arrivals tracks which messages have arrived, to know up to where all have.
type arrivals struct {
	mu sync.Mutex
	// next is the first that has not arrived; ahead holds those after it that have.
	next  uint64
	ahead map[uint64]struct{}
	// reported is the last value of next that take returned.
	reported uint64
	// many is signalled when a good number has arrived.
	many chan struct{}
}

func newArrivals(first uint64) arrivals {
	return arrivals{next: first, reported: first, ahead: map[uint64]struct{}{}, many: make(chan struct{}, 1)}
}

func (a *arrivals) arrived(sequence uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if sequence < a.next {
		return
	}
	a.ahead[sequence] = struct{}{}
	for {
		if _, ok := a.ahead[a.next]; !ok {
			break
		}
		delete(a.ahead, a.next)
		a.next++
	}
	if a.next-a.reported >= truncateEvery {
		select {
		case a.many <- struct{}{}:
		default:
		}
	}
}

// take returns the last sequence up to which all have arrived; ok is false when nothing was added since the last call.
func (a *arrivals) take() (through uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == a.reported {
		return 0, false
	}
	a.reported = a.next
	return a.next - 1, true
}
