// Package shuffle ships the outbox of a partition: invocations and results to other partitions' logs, results to the
// ingress processes that wait for them. What has arrived is truncated through the partition's own log.
package shuffle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// Destination takes the messages for one receiver, in order.
type Destination interface {
	// Send hands over one message. taken is false when there is no room before others have arrived: the message has to be
	// sent again. arrived is called once for one that was taken, from any goroutine, when it has arrived.
	Send(ctx context.Context, sequence uint64, message *storagev1.OutboxMessage, arrived func()) (taken bool, err error)
	// Run works until the context ends. ErrGone when the receiver is gone for good: what has not arrived is dropped.
	Run(ctx context.Context) error
}

// ErrGone is why a destination ends whose receiver does not come back.
var ErrGone = errors.New("the receiver is gone")

// Deps are the ways out. D names a destination.
type Deps[D comparable] struct {
	// State is the committed state.
	State kv.Reader
	// Route names the destination of a message.
	Route func(*storagev1.OutboxMessage) (D, error)
	// Open makes the destination with the name.
	Open func(to D) Destination
	// Truncate proposes to drop the messages up to and including the sequence.
	Truncate func(ctx context.Context, through uint64) error
	Log      *slog.Logger
}

const (
	// maxQueued bounds the messages in memory; what is beyond is read from the table in its turn.
	maxQueued = 4096
	// truncateEvery is after how many arrived messages the outbox is truncated, and truncateAfter how long fewer wait.
	truncateEvery = 512
	truncateAfter = time.Second
	// idleAfter is how long a destination is kept that has nothing to do.
	idleAfter = 5 * time.Minute
)

// Shuffle ships the outbox of one partition while this worker leads it.
type Shuffle[D comparable] struct {
	deps Deps[D]

	mu sync.Mutex
	// queue holds the messages [head, head+len(queue)); the table has more when behind is set.
	queue  []*storagev1.OutboxMessage
	head   uint64
	behind bool
	wake   chan struct{}

	lanes lanes[D]
}

// New returns a shuffle that begins with the given sequence, which it reads from the table.
func New[D comparable](first uint64, deps Deps[D]) *Shuffle[D] {
	if first == 0 {
		first = 1 // nothing has ever been in the outbox
	}
	wake := make(chan struct{}, 1)
	return &Shuffle[D]{deps: deps, head: first, behind: true, wake: wake, lanes: newLanes[D](first, wake)}
}

// Add tells of a message that has been committed to the table. Messages come in order.
func (s *Shuffle[D]) Add(sequence uint64, message *storagev1.OutboxMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.behind && sequence == s.head+uint64(len(s.queue)) && len(s.queue) < maxQueued {
		s.queue = append(s.queue, message)
	} else if sequence >= s.head+uint64(len(s.queue)) {
		s.behind = true
	}
	signal(s.wake)
}

// Run ships messages until the context ends.
func (s *Shuffle[D]) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return s.truncate(running) })
	group.Go(func() error { return s.ship(running, group) })
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (s *Shuffle[D]) ship(ctx context.Context, group *errgroup.Group) error {
	for {
		more, err := s.catchUp(ctx)
		if err != nil {
			return err
		}
		first, messages, err := s.take()
		if err != nil {
			return err
		}
		if len(messages) == 0 && !more {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.wake:
			}
			continue
		}
		for i, message := range messages {
			if err := s.send(ctx, group, first+uint64(i), message); err != nil {
				return err
			}
		}
	}
}

// send sends the next message, or leaves it in the table while there is no room for it: one receiver that takes nothing does
// not hold up the others.
func (s *Shuffle[D]) send(ctx context.Context, group *errgroup.Group, sequence uint64, message *storagev1.OutboxMessage) error {
	to, err := s.deps.Route(message)
	if err != nil {
		return err
	}
	lane, f := s.lanes.depart(to, sequence, func() *lane[D] { return s.open(ctx, group, to) })
	if f == nil {
		return nil
	}
	_, err = s.hand(ctx, lane, f, message, true)
	return err
}

// hand hands the message of a flight over; with again it is tried once more if there is no room.
func (s *Shuffle[D]) hand(ctx context.Context, to *lane[D], f *flight, message *storagev1.OutboxMessage, again bool) (bool, error) {
	taken, err := to.destination.Send(ctx, f.sequence, message, func() { s.lanes.arrived(to, f) })
	if err == nil && !taken {
		s.lanes.cancel(to, f, again)
	}
	return taken, err
}

// open makes a destination work.
func (s *Shuffle[D]) open(ctx context.Context, group *errgroup.Group, to D) *lane[D] {
	running, stop := context.WithCancel(ctx)
	opened := &lane[D]{to: to, destination: s.deps.Open(to), stop: stop, idle: time.Now()}
	group.Go(func() error {
		defer stop()
		err := opened.destination.Run(running)
		switch {
		case errors.Is(err, ErrGone):
			s.lanes.drop(opened)
			return nil
		case running.Err() != nil && ctx.Err() == nil:
			return nil // it had nothing to do
		}
		return err
	})
	return opened
}

// catchUp sends what has waited in the table and has room now, a part for each destination; more says that there is more.
func (s *Shuffle[D]) catchUp(ctx context.Context) (more bool, err error) {
	late, next := s.lanes.late()
	for _, lane := range late {
		again, err := s.catchUpWith(ctx, lane, next)
		if err != nil {
			return false, err
		}
		more = more || again
	}
	return more, nil
}

var errEnough = errors.New("no more of the table is needed")

// catchUpWith sends what has waited for one destination, up to the first message that is not shipped yet.
func (s *Shuffle[D]) catchUpWith(ctx context.Context, to *lane[D], next uint64) (more bool, err error) {
	at, full := to.behind, false // only this goroutine changes it
	err = storage.ScanOutbox(s.deps.State, at, maxQueued, func(sequence uint64, message *storagev1.OutboxMessage) error {
		if sequence >= next {
			return errEnough
		}
		if name, err := s.deps.Route(message); err != nil {
			return err
		} else if name == to.to {
			taken, err := s.hand(ctx, to, s.lanes.resume(to, sequence), message, false)
			if err != nil {
				return err
			}
			if full = !taken; full {
				return errEnough
			}
		}
		at = sequence + 1
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return false, fmt.Errorf("read the outbox: %w", err)
	}
	if full {
		return false, nil
	}
	more = at < next
	s.lanes.passed(to, at, more)
	return more, nil
}

// take returns what is to be shipped next, reading the table when the queue does not have it.
func (s *Shuffle[D]) take() (first uint64, messages []*storagev1.OutboxMessage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = s.head
	if len(s.queue) == 0 && s.behind {
		if err := storage.ScanOutbox(s.deps.State, s.head, maxQueued,
			func(sequence uint64, message *storagev1.OutboxMessage) error {
				if want := first + uint64(len(messages)); sequence != want {
					return fmt.Errorf("%w: outbox message %d is missing", storage.ErrCorrupt, want)
				}
				messages = append(messages, message)
				return nil
			}); err != nil {
			return 0, nil, fmt.Errorf("read the outbox: %w", err)
		}
		s.behind = len(messages) == maxQueued
	} else {
		messages, s.queue = s.queue, nil
	}
	s.head += uint64(len(messages))
	return first, messages, nil
}

// truncate proposes, now and then, to drop what has arrived, and lets destinations go that have nothing to do.
func (s *Shuffle[D]) truncate(ctx context.Context) error {
	ticker := time.NewTicker(truncateAfter)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			s.lanes.retire()
		case <-s.lanes.many:
		}
		through, ok := s.lanes.take()
		if !ok {
			continue
		}
		if err := s.deps.Truncate(ctx, through); err != nil {
			return fmt.Errorf("propose to truncate the outbox: %w", err)
		}
	}
}

// RecordOf turns an outbox message for another partition into a record of its log.
func RecordOf(sequence uint64, message *storagev1.OutboxMessage) *logv1.Record {
	record := &logv1.Record{Sequence: sequence}
	switch m := message.GetMessage().(type) {
	case *storagev1.OutboxMessage_Invoke:
		record.Command = &logv1.Record_Invoke{Invoke: m.Invoke}
	case *storagev1.OutboxMessage_Notify:
		record.Command = &logv1.Record_Notify{Notify: m.Notify}
	case *storagev1.OutboxMessage_Terminate:
		record.Command = &logv1.Record_Terminate{Terminate: m.Terminate}
	case *storagev1.OutboxMessage_Attach:
		record.Command = &logv1.Record_Attach{Attach: m.Attach}
	}
	return record
}
