package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/restate-go/restate/e2e/load"
)

// workload is what clients do, and what has to come of it.
type workload interface {
	// client returns what the client does with each call on its connection. It checks the answer.
	client(number int, conn *load.Conn) (call func() error)
	// verify checks the whole after all calls have ended.
	verify(ctx context.Context, conn *load.Conn) error
}

// scenario is a workload by a number of clients.
type scenario struct {
	name    string
	clients int
	// workload returns a new workload that calls methods so; nil where nothing is to happen.
	workload func(invoke invoke) workload
}

// manyKeys is how many keys stand for many: clients seldom meet at one.
const manyKeys = 1000

// The names of what happens while nothing happens.
const (
	idle      = "idle"
	idleAfter = "idle-after"
)

// scenarios returns all scenarios in the order in which they are measured.
func scenarios() []scenario {
	answer := func(called method, want func(string) string) func(invoke) workload {
		return func(invoke invoke) workload { return answering{invoke, called, want} }
	}
	greeting := func(value string) string { return "Hello " + value }
	hello, chain := answer(hello, greeting), answer(chain, greeting)
	steps := answer(steps, func(string) string { return "012" })
	keys := func(invoke invoke) workload { return newCounting(invoke, manyKeys) }
	hot := func(invoke invoke) workload { return newCounting(invoke, 1) }
	return []scenario{
		{idle, 0, nil},
		{"hello", 1, hello}, {"hello", 64, hello}, {"hello", 256, hello},
		{"steps", 1, steps}, {"steps", 64, steps},
		{"chain", 1, chain}, {"chain", 64, chain},
		{"counter", 1, keys}, {"counter", 64, keys}, {"hot-counter", 64, hot},
		{idleAfter, 0, nil},
	}
}

// id is the name of the scenario together with its clients.
func (s scenario) id() string {
	if s.workload == nil {
		return s.name
	}
	return s.name + "-" + strconv.Itoa(s.clients)
}

// answering calls a method whose answer follows from the value alone.
type answering struct {
	invoke invoke
	method method
	want   func(value string) string
}

func (a answering) client(number int, conn *load.Conn) func() error {
	// A key of its own for each client, where the method has one.
	key := "client-" + strconv.Itoa(number)
	value := "client " + strconv.Itoa(number)
	want := a.want(value)
	return func() error {
		got, err := a.invoke(conn, a.method, key, value)
		if err == nil && got != want {
			err = fmt.Errorf("%s answers %q, not %q", a.method.name, got, want)
		}
		return err
	}
}

func (answering) verify(context.Context, *load.Conn) error { return nil }

// counting adds to counters, at random.
type counting struct {
	invoke invoke
	// prefix of the keys, which no other run has.
	prefix string

	mu sync.Mutex
	// counts are the additions to each counter by all clients.
	counts []int
}

func newCounting(invoke invoke, keys int) *counting {
	return &counting{
		invoke: invoke, prefix: strconv.FormatInt(time.Now().UnixNano(), 36) + "-", counts: make([]int, keys),
	}
}

func (c *counting) key(i int) string { return c.prefix + strconv.Itoa(i) }

func (c *counting) client(number int, conn *load.Conn) func() error {
	random := rand.New(rand.NewPCG(uint64(number), 0)) //nolint:gosec // the same calls in each run
	return func() error {
		i := random.IntN(len(c.counts))
		if _, err := c.invoke(conn, add, c.key(i), ""); err != nil {
			return err
		}
		c.mu.Lock()
		c.counts[i]++
		c.mu.Unlock()
		return nil
	}
}

func (c *counting) verify(ctx context.Context, conn *load.Conn) error {
	for i, want := range c.counts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		got, err := c.invoke(conn, get, c.key(i), "")
		if err != nil {
			return err
		}
		if got != strconv.Itoa(want) {
			return errors.New("the counter " + c.key(i) + " is " + got + " after " + strconv.Itoa(want) + " additions")
		}
	}
	return nil
}
