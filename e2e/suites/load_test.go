package suites

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/restate-go/restate/e2e/process"
)

// workload is what clients do with one kind of services.
type workload interface {
	// request makes a request of some kind, and returns whether it had the result that it has to have. The id is its own.
	request(t *testing.T, c *client, id string) bool
	// count returns the value of a counter.
	count(t *testing.T, s setting, counter string) int
	// items returns what was appended to a list.
	items(t *testing.T, s setting, list string) []any
}

// load is what clients do to the services, and what has to come of it.
type load struct {
	setting
	work workload
	// stop is closed when no new requests are to be made, late when there should have been answers to all.
	stop, late <-chan struct{}

	mu sync.Mutex
	// counters have the sum of what was added to each, lists the number of items appended to each.
	counters, lists map[string]int
	// requests counts those that got an answer, repeated those of them that were sent more than once.
	requests, repeated int
}

func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

func (l *load) add(counter string, amount int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters[counter] += amount
}

// counterCount is small, so that clients meet at the counters.
const counterCount = 8

// client makes one request after the other.
type client struct {
	*load
	name   string
	random *rand.Rand
	made   int
	items  int
}

func (c *client) run(t *testing.T) {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		c.made++
		if !c.work.request(t, c, fmt.Sprintf("%s-%d", c.name, c.made)) {
			return
		}
	}
}

func (c *client) counter() string { return "counter" + strconv.Itoa(c.random.IntN(counterCount)) }

// item returns the next one for the client's list, to be appended.
func (c *client) item() int {
	c.items++
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists[c.name] = c.items
	return c.items - 1
}

// expect sends the request until it is answered, as the same request each time, and compares the answer. The body is
// compared unless it is empty.
func (c *client) expect(t *testing.T, id, method, request string, status int, body string) bool {
	answer, ok := c.persist(t, id+" "+method, func() (process.Answer, error) {
		return c.Call(method, request, "Idempotency-Key", id)
	})
	return ok && assert.Equal(t, status, answer.Status, "%s %s: %s", id, method, answer.Body) &&
		(body == "" || assert.JSONEq(t, body, answer.Body, "%s %s", id, method))
}

// persist sends a request until it is answered.
func (c *client) persist(t *testing.T, what string, send func() (process.Answer, error)) (process.Answer, bool) {
	var answer process.Answer
	var err error
	attempts := 0
	answered := c.until(func() bool {
		attempts++
		answer, err = send()
		return err == nil && answer.Status != http.StatusServiceUnavailable
	})
	if !answered {
		return answer, assert.Fail(t, "no answer", "%s: %v %+v", what, err, answer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if attempts > 1 {
		c.repeated++
	}
	return answer, true
}

// until tries until it succeeds, and returns false when it is too late.
func (c *client) until(try func() bool) bool {
	for !try() {
		select {
		case <-c.late:
			return false
		case <-time.After(20 * time.Millisecond): // as clients wait before they try again
		}
	}
	return true
}

// did waits until a handler has done it for the id.
func (c *client) did(t *testing.T, what, id string) bool {
	return c.until(func() bool { return c.service.Count(what, id) > 0 }) || assert.Fail(t, "not done", "%s for %s", what, id)
}

// awakeable waits until a handler has made an awakeable for the id, and returns the awakeable's id.
func (c *client) awakeable(t *testing.T, id string) (string, bool) {
	if !c.did(t, "awakeable", id) {
		return "", false
	}
	return c.service.Awakeable(id), true
}

// check compares what the services hold with what was done to them.
func (l *load) check(t *testing.T) {
	for counter, want := range l.counters {
		assert.Equal(t, want, l.work.count(t, l.setting, counter), counter)
	}
	for list, n := range l.lists {
		var want []any
		for i := range n {
			want = append(want, strconv.Itoa(i))
		}
		assert.Equal(t, want, l.work.items(t, l.setting, list), list)
	}
	checkSteps(t, l.service.Executions())
}

// checkSteps checks that no step is done again once the next one of the same handler was: by then it is in the journal.
func checkSteps(t *testing.T, executions []process.Execution) {
	position := func(e process.Execution) (int, bool) {
		switch e.What {
		case "step":
			return e.Index, true
		case "taken":
			return 0, true
		case "given":
			return 1, true
		}
		return 0, false
	}
	reached := map[string]int{}
	for _, e := range executions {
		at, ok := position(e)
		if !ok {
			continue
		}
		assert.GreaterOrEqual(t, at, reached[e.ID], "%s did %s %d again", e.ID, e.What, at)
		reached[e.ID] = max(at, reached[e.ID])
	}
}
