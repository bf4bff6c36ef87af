package invoker

import (
	"container/heap"

	"github.com/restate-go/restate/pkg/fairshare"
)

// places are what attempts need to run. Within a service they are given in order of arrival. Among services, the next
// goes to the one that holds the fewest, and of those to the one whose turn was the longest ago. A service that does not
// answer can so neither keep others waiting nor hold all. It is not safe for concurrent use.
type places struct {
	limit, free int
	// lines are the services that hold places or wait.
	lines map[string]*line
	// next has the lines in which somebody waits.
	next turns
	// turn counts the turns, of which the first is that of who comes.
	turn uint64
}

// line is what one service has of the places. The tasks that wait are linked.
type line struct {
	service     string
	held        int
	first, last *task
	// turn is when the line was last given a place.
	turn uint64
	// index is the line's place in the heap, while somebody waits in it.
	index int
}

func newPlaces(limit int) *places {
	return &places{limit: limit, free: limit, lines: map[string]*line{}}
}

// wait puts a task at the end of its service's line.
func (p *places) wait(t *task) {
	service := t.invocation.Target.GetService()
	l, ok := p.lines[service]
	if !ok {
		p.turn++
		l = &line{service: service, turn: p.turn} // those that wait already come first
		p.lines[service] = l
	}
	t.line, t.waits, t.before = l, true, l.last
	if l.last != nil {
		l.last.after = t
		l.last = t
		return
	}
	l.first, l.last = t, t
	heap.Push(&p.next, l)
}

// leave takes a task that waits out of its line.
func (p *places) leave(t *task) {
	l := t.line
	if t.before != nil {
		t.before.after = t.after
	} else {
		l.first = t.after
	}
	if t.after != nil {
		t.after.before = t.before
	} else {
		l.last = t.before
	}
	t.before, t.after, t.waits = nil, nil, false
	if l.first == nil {
		heap.Remove(&p.next, l.index)
		p.forget(l)
	}
}

// take gives a place to the task whose turn it is; nil when none waits that may have one.
func (p *places) take() *task {
	if p.free == 0 || len(p.next) == 0 {
		return nil
	}
	l := p.next[0]
	if l.held > 0 && !fairshare.MayHold(l.held, p.free-1, p.limit) {
		return nil // nor may any other: they hold as many, or more
	}
	t := l.first
	p.free--
	p.turn++
	l.held++
	l.turn = p.turn
	p.leave(t)
	if l.first != nil {
		heap.Fix(&p.next, l.index)
	}
	return t
}

// release frees the place of a task.
func (p *places) release(t *task) {
	l := t.line
	p.free++
	l.held--
	if l.first != nil {
		heap.Fix(&p.next, l.index)
	}
	p.forget(l)
}

// forget drops a line that neither holds nor waits.
func (p *places) forget(l *line) {
	if l.held == 0 && l.first == nil {
		delete(p.lines, l.service)
	}
}

// turns is a heap of lines, the one whose turn it is first.
type turns []*line

func (h turns) Len() int { return len(h) }

func (h turns) Less(i, j int) bool {
	if h[i].held != h[j].held {
		return h[i].held < h[j].held
	}
	return h[i].turn < h[j].turn
}

func (h turns) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *turns) Push(x any) {
	l, _ := x.(*line)
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *turns) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
