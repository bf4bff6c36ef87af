// Package load has clients call a server one call after the other, each on a connection of its own, and measures the calls.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is who calls for how long.
type Plan struct {
	Clients int
	// Warmup is how long calls are made before they are measured, Duration how long they are measured; longer if no call has
	// ended by then.
	Warmup, Duration time.Duration
	// Began and Ended are called when the measuring begins and ends, while the calls go on.
	Began, Ended func() error
}

// Client makes calls.
type Client interface {
	// Call makes one call and checks the answer. An error ends the run.
	Call() error
	Close() error
}

// Result is what was measured.
type Result struct {
	// Elapsed is the time in which the measured calls ended.
	Elapsed time.Duration
	// Latencies of the measured calls, ascending.
	Latencies []time.Duration
}

// PerSecond returns the calls per second.
func (r Result) PerSecond() float64 { return float64(len(r.Latencies)) / r.Elapsed.Seconds() }

// Quantile returns the latency that the share of all calls, 0 to 1, does not exceed; 0 when there was no call.
func (r Result) Quantile(share float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	rank := int(math.Ceil(share * float64(len(r.Latencies))))
	return r.Latencies[max(rank, 1)-1]
}

// run is a plan being carried out.
type run struct {
	measuring, stopped atomic.Bool

	mu        sync.Mutex
	latencies []time.Duration
	// err is the first error of a call.
	err    error
	failed chan struct{}
	// measured is closed when the first call is measured.
	measured     chan struct{}
	measuredOnce sync.Once
}

// Run connects all clients and has them call until the plan is fulfilled, a call fails or the context ends. Every call that
// was begun is waited for, and so are the clients, which are closed.
func Run(ctx context.Context, plan Plan, connect func(client int) (Client, error)) (Result, error) {
	clients := make([]Client, 0, plan.Clients)
	r := &run{failed: make(chan struct{}), measured: make(chan struct{})}
	var calling sync.WaitGroup
	defer func() {
		for _, client := range clients {
			_ = client.Close() // all its calls are over
		}
	}()
	for i := range plan.Clients {
		client, err := connect(i)
		if err != nil {
			return Result{}, fmt.Errorf("client %d: %w", i, err)
		}
		clients = append(clients, client)
	}
	for _, client := range clients {
		calling.Go(func() { r.call(client) })
	}
	elapsed, err := r.measure(ctx, plan)
	r.stopped.Store(true)
	calling.Wait()
	if err := errors.Join(r.err, err); err != nil {
		return Result{}, err
	}
	slices.Sort(r.latencies)
	return Result{Elapsed: elapsed, Latencies: r.latencies}, nil
}

// measure waits while the clients call, and returns how long the measured part took.
func (r *run) measure(ctx context.Context, plan Plan) (time.Duration, error) {
	if err := r.wait(ctx, plan.Warmup); err != nil {
		return 0, err
	}
	if err := plan.Began(); err != nil {
		return 0, err
	}
	began := time.Now()
	r.measuring.Store(true)
	err := r.wait(ctx, plan.Duration)
	if err == nil {
		err = r.waitForOne(ctx)
	}
	r.measuring.Store(false)
	elapsed := time.Since(began)
	return elapsed, errors.Join(err, plan.Ended())
}

func (r *run) wait(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.failed:
		return nil // the client keeps its error
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitForOne waits until a call has been measured.
func (r *run) waitForOne(ctx context.Context) error {
	select {
	case <-r.measured:
		return nil
	case <-r.failed:
		return nil // the client keeps its error
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call has one client call until the run stops. A call counts when it ends while the measuring goes on.
func (r *run) call(client Client) {
	var latencies []time.Duration
	var err error
	for err == nil && !r.stopped.Load() {
		began := time.Now()
		err = client.Call()
		if took := time.Since(began); r.measuring.Load() {
			latencies = append(latencies, took)
			r.measuredOnce.Do(func() { close(r.measured) })
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latencies = append(r.latencies, latencies...)
	if err != nil && r.err == nil {
		r.err = err
		close(r.failed)
	}
}
