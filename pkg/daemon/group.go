// Package daemon runs the parts of a process: started one after the other, stopped in reverse, each within its share of a
// bound.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// ErrInterrupted is returned when a second signal cut the stopping short. The process has to exit at once: parts of it
// still run.
var ErrInterrupted = errors.New("interrupted before everything had stopped")

// Component is a part of the process that runs until it is told to stop.
type Component struct {
	// Name is for the log.
	Name string
	// Run works until its context ends, then refuses new work, drains within a bound of its own, releases what it holds
	// and returns nil. Returning before the context ends stops the whole process, with the error if there is one.
	Run func(ctx context.Context) error
}

// Config of a group.
type Config struct {
	// GracePeriod bounds the stopping of the whole process. What is not done by then is abandoned, and the log says what.
	GracePeriod time.Duration
	// Stopping is called first of all when the stopping begins, to make the process not ready. May be nil.
	Stopping func()
}

// Group is the components of one process. Its methods are called from one goroutine.
type Group struct {
	cfg  Config
	log  *slog.Logger
	ctx  context.Context //nolint:containedctx // it is the life of the group, which Context hands out
	stop context.CancelCauseFunc

	signals    chan os.Signal
	impatient  chan struct{}
	unregister func()
	listening  sync.WaitGroup

	stages [][]*running
}

type running struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// errSignal is the cause of a stop by a signal, which is no failure.
var errSignal = errors.New("signal")

// NewGroup returns a group without components. It stops when the parent context ends, when a component ends, and on
// SIGTERM or SIGINT, for which it listens from here on until Wait returns.
func NewGroup(parent context.Context, cfg Config, log *slog.Logger) *Group {
	g := &Group{cfg: cfg, log: log, signals: make(chan os.Signal, 2), impatient: make(chan struct{})}
	g.ctx, g.stop = context.WithCancelCause(parent)
	signal.Notify(g.signals, syscall.SIGTERM, syscall.SIGINT)
	released := make(chan struct{})
	g.unregister = sync.OnceFunc(func() {
		signal.Stop(g.signals)
		close(released)
	})
	g.listening.Go(func() {
		select {
		case received := <-g.signals:
			log.Info("stopping; a second signal exits at once", "signal", received.String())
			g.stop(errSignal)
		case <-released:
			return
		}
		select {
		case <-g.signals:
			close(g.impatient)
		case <-released:
		}
	})
	return g
}

// Context ends when the stopping begins. What is done to start the process, such as waiting for the broker, is done under
// it; components get contexts of their own.
func (g *Group) Context() context.Context { return g.ctx }

// Start starts components that may stop at the same time. They stop after everything that is started later has stopped.
func (g *Group) Start(components ...Component) {
	stage := make([]*running, 0, len(components))
	for _, component := range components {
		// Not a child of the group's context: a component goes on serving those that stop before it.
		ctx, cancel := context.WithCancel(context.WithoutCancel(g.ctx))
		r := &running{name: component.Name, cancel: cancel, done: make(chan struct{})}
		stage = append(stage, r)
		go func() {
			defer close(r.done)
			r.err = component.Run(ctx)
			if ctx.Err() == nil {
				g.stop(fmt.Errorf("%s: %w", r.name, orEnded(r.err)))
			}
		}()
	}
	g.stages = append(g.stages, stage)
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("ended by itself")
	}
	return err
}

// Fail stops the group because of an error in its start; Wait returns it.
func (g *Group) Fail(err error) { g.stop(err) }

// Wait waits until the stopping begins, stops all components, and returns why the group ended: nil after a signal or the
// end of the parent context, the error of the component that ended by itself, or ErrInterrupted.
func (g *Group) Wait() error {
	defer g.listening.Wait()
	defer g.unregister()
	<-g.ctx.Done()
	if g.cfg.Stopping != nil {
		g.cfg.Stopping()
	}
	deadline := time.Now().Add(g.cfg.GracePeriod)
	for _, stage := range slices.Backward(g.stages) {
		// Half of what is left, so that the last to stop gets its turn though others used up theirs.
		if err := g.stopStage(stage, time.Until(deadline)/2); err != nil {
			return err
		}
	}
	cause := context.Cause(g.ctx)
	if errors.Is(cause, errSignal) || errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}

func (g *Group) stopStage(stage []*running, within time.Duration) error {
	for _, r := range stage {
		r.cancel()
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	for _, r := range stage {
		select {
		case <-r.done:
			if r.err != nil && !errors.Is(r.err, context.Canceled) {
				g.log.Warn("did not stop cleanly", "component", r.name, "error", r.err)
			}
		case <-g.impatient:
			return ErrInterrupted
		case <-timer.C:
			g.log.Warn("abandoned: did not stop within its share of the grace period", "component", r.name, "share", within)
			return nil
		}
	}
	return nil
}
