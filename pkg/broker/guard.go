package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/restate-go/restate/pkg/config"
)

// guard keeps the server from running its disk full, and has it started again when it failed to write all the same:
// the server itself takes nothing more for a stream that it could not write to once, and leaves publishers without an
// answer, until it is restarted.
type guard struct {
	mu sync.Mutex
	// trouble is why nothing is taken at present, nil when there is no reason.
	trouble error
	free    uint64
	// limit is how many bytes all streams of the running server may have; noLimit at its start.
	limit int64
	// restarted counts; next is the earliest time of the next, and pause what is added to it then.
	restarted uint64
	next      time.Time
	pause     time.Duration
}

const (
	// guardEvery is short: a disk takes some 100 MB within it.
	guardEvery = 250 * time.Millisecond
	// reopenShare of the bytes that have to be free is how many more there have to be to take records again, so that
	// the server does not go back and forth.
	reopenShare = 8
	// leastFree is what a server that failed to write needs to be worth starting again.
	leastFree     = 1 << 20
	firstRestart  = time.Second
	longestPause  = time.Minute
	restartQuiets = 10 * time.Minute

	noLimit int64 = -1
	closed  int64 = 0
)

func (s *Server) watch(ctx context.Context) {
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.check(ctx)
		}
	}
}

// check looks at the disk and the server once, and does what is to be done.
func (s *Server) check(ctx context.Context) {
	full := s.lookAtDisk()
	failed := s.failure(ctx)
	trouble := full
	if full == nil && failed != nil {
		trouble = failed
		if s.mayRestart() {
			s.restart(ctx, failed)
		}
	}
	if s.server.Running() {
		s.limit(full != nil)
	}
	s.report(trouble)
}

// lookAtDisk returns an error while the disk has too little room.
func (s *Server) lookAtDisk() error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.cfg.Dir, &disk); err != nil {
		return nil // what cannot be looked at shows when it is written to
	}
	free := disk.Bavail * uint64(disk.Bsize) //nolint:gosec // a block size is positive
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	s.guard.free = free
	need := max(s.cfg.MinFreeBytes.Uint64(), leastFree)
	if s.guard.limit == closed {
		need += need / reopenShare
	}
	if free >= need {
		return nil
	}
	return fmt.Errorf("the disk of %s has %d MiB free, and at least %s have to be (broker.min_free_bytes): nothing more is taken",
		s.cfg.Dir, free>>20, config.Size(need)) //nolint:gosec // a size of the configuration
}

// failure returns what keeps the server from taking messages until it is started again.
func (s *Server) failure(ctx context.Context) error {
	switch {
	case !s.server.Running():
		return errors.New("the broker does not run")
	case !s.server.JetStreamEnabled():
		return errors.New("the broker has given up its streams; its log says why")
	}
	answer := httptest.NewRecorder()
	s.server.HandleHealthz(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "/healthz", http.NoBody))
	var status server.HealthStatus
	// Other things that the server calls unhealthy pass, or do not by a restart.
	if err := json.Unmarshal(answer.Body.Bytes(), &status); err != nil || !strings.Contains(status.Error, "write error") {
		return nil //nolint:nilerr // no word of a failed write
	}
	return errors.New("the broker takes nothing more for a stream that it could not write to: " + status.Error)
}

// mayRestart spaces restarts out.
func (s *Server) mayRestart() bool {
	g := &s.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Before(g.next) {
		return false
	}
	if now.Sub(g.next) > restartQuiets {
		g.pause = firstRestart
	}
	g.next = now.Add(g.pause)
	g.pause = min(2*g.pause, longestPause)
	g.restarted++
	return true
}

// restart starts the server again. Publishers repeat what was not acknowledged; clients connect again by themselves.
func (s *Server) restart(ctx context.Context, reason error) {
	s.log.Warn("starting the broker again", "reason", reason)
	s.mu.Lock()
	defer s.mu.Unlock()
	halt(s.server)
	if err := s.start(ctx); err != nil {
		s.log.Error("the broker did not start again", "error", err)
	}
	s.guard.mu.Lock()
	s.guard.limit = noLimit
	s.guard.mu.Unlock()
}

// limit bounds what the streams may grow to, which clients can see. Beyond it the server refuses publishers in so many
// words, and goes on to deliver.
func (s *Server) limit(full bool) {
	limit := noLimit
	switch {
	case full:
		limit = closed
	case s.cfg.MaxStoreBytes > 0:
		limit = int64(s.cfg.MaxStoreBytes)
	}
	g := &s.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit == limit {
		return
	}
	if err := s.server.GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: limit, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1,
		MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}}); err != nil {
		s.log.Error("cannot limit the disk space of streams", "error", err)
		return
	}
	g.limit = limit
}

// report notes and logs what has changed.
func (s *Server) report(trouble error) {
	g := &s.guard
	g.mu.Lock()
	before := g.trouble
	g.trouble = trouble
	g.mu.Unlock()
	switch {
	case trouble != nil && before == nil:
		s.log.Error("the broker takes no records", "error", trouble)
	case trouble == nil && before != nil:
		s.log.Info("the broker takes records again")
	}
}

// Ready returns why the server takes no messages at present, nil when it does.
func (s *Server) Ready() error {
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	return s.guard.trouble
}

// Register adds the figures of the server.
func (s *Server) Register(registerer prometheus.Registerer) error {
	figure := func(name, help string, value func(*guard) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s.guard.mu.Lock()
			defer s.guard.mu.Unlock()
			return value(&s.guard)
		})
	}
	return errors.Join(
		registerer.Register(figure("restate_broker_disk_free_bytes", "Free space of the disk with the streams.",
			func(g *guard) float64 { return float64(g.free) })),
		registerer.Register(figure("restate_broker_refusing", "1 while the broker takes no records: the disk is full, or failed.",
			func(g *guard) float64 {
				if g.trouble != nil {
					return 1
				}
				return 0
			})),
		registerer.Register(figure("restate_broker_restarts", "How often the broker was started again after it had failed to write.",
			func(g *guard) float64 { return float64(g.restarted) })),
	)
}
