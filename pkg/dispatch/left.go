package dispatch

import (
	"container/list"
	"sync"
	"sync/atomic"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
)

const (
	// maxLeft bounds how many requests are remembered whose callers have left. Where there are more, the one that was
	// noted first is forgotten: its answer may never come, as a worker gives up on a process that it does not reach.
	maxLeft = 1 << 14
	// maxTold bounds how many of them one record names.
	maxTold = 100
)

// left remembers requests whose callers have left before the result came. Each would take up a place among those who wait
// for the result, until it is there; the next request for the same result tells the partition otherwise. Who gives up and
// asks again, however often, so has one place.
type left struct {
	count atomic.Int64

	mu sync.Mutex
	// requests are by the id of the invocation that they wait for. Each has its place in noted.
	requests map[string]map[uint64]*list.Element
	// noted has a leaver for each of them, the oldest first.
	noted list.List
}

// leaver is a request whose caller has left.
type leaver struct {
	invocation string
	request    uint64
}

func newLeft() *left { return &left{requests: make(map[string]map[uint64]*list.Element)} }

// add remembers requests. Those that wait for no result, without an invocation, are not.
func (l *left) add(invocation []byte, requests ...uint64) {
	if invocation == nil || len(requests) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, request := range requests {
		if l.noted.Len() >= maxLeft {
			l.drop(l.noted.Front())
		}
		l.note(leaver{string(invocation), request})
	}
}

// remove forgets a request, which has its answer, or gets none.
func (l *left) remove(invocation []byte, request uint64) {
	if l.count.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if place, ok := l.requests[string(invocation)][request]; ok {
		l.drop(place)
	}
}

// take returns and forgets up to maxTold requests that wait for the invocation.
func (l *left) take(invocation []byte) []uint64 {
	if invocation == nil || l.count.Load() == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []uint64
	for request, place := range l.requests[string(invocation)] {
		if len(taken) == maxTold {
			break
		}
		taken = append(taken, request)
		l.drop(place)
	}
	return taken
}

func (l *left) note(who leaver) {
	of := l.requests[who.invocation]
	if of == nil {
		of = make(map[uint64]*list.Element)
		l.requests[who.invocation] = of
	}
	of[who.request] = l.noted.PushBack(who)
	l.count.Add(1)
}

func (l *left) drop(place *list.Element) {
	who, _ := l.noted.Remove(place).(leaver)
	of := l.requests[who.invocation]
	delete(of, who.request)
	l.count.Add(-1)
	if len(of) == 0 {
		delete(l.requests, who.invocation)
	}
}

// waitedFor returns the id of the invocation whose result a record asks to wait for; nil where it does not.
func waitedFor(record *logv1.Record) []byte {
	switch command := record.GetCommand().(type) {
	case *logv1.Record_Invoke:
		if !command.Invoke.GetResponseSink().GetIngress().GetAcceptance() {
			return command.Invoke.GetInvocationId()
		}
	case *logv1.Record_Attach:
		if command.Attach.GetWait() {
			return command.Attach.GetInvocationId()
		}
	}
	return nil
}
