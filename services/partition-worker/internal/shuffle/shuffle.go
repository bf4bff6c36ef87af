// Package shuffle ships the outbox of a partition: invocations and results to other partitions' logs, results to the
// ingress processes that wait for them. What has arrived is truncated through the partition's own log.
package shuffle

import (
	"context"
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
	// Send hands over one message. It blocks while the receiver is behind. arrived is called once, from any goroutine,
	// when the message has arrived or its receiver is gone for good.
	Send(ctx context.Context, sequence uint64, message *storagev1.OutboxMessage, arrived func()) error
	// Run works until the context ends.
	Run(ctx context.Context) error
}

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

	arrivals     arrivals
	destinations map[D]Destination
}

// New returns a shuffle that begins with the given sequence, which it reads from the table.
func New[D comparable](first uint64, deps Deps[D]) *Shuffle[D] {
	if first == 0 {
		first = 1 // nothing has ever been in the outbox
	}
	return &Shuffle[D]{
		deps: deps, head: first, behind: true, wake: make(chan struct{}, 1),
		arrivals: newArrivals(first), destinations: map[D]Destination{},
	}
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
	select {
	case s.wake <- struct{}{}:
	default:
	}
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
		first, messages, err := s.take()
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.wake:
			}
			continue
		}
		for i, message := range messages {
			sequence := first + uint64(i)
			destination, err := s.destination(ctx, group, message)
			if err != nil {
				return err
			}
			if err := destination.Send(ctx, sequence, message, func() { s.arrivals.arrived(sequence) }); err != nil {
				return err
			}
		}
	}
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

func (s *Shuffle[D]) destination(ctx context.Context, group *errgroup.Group, message *storagev1.OutboxMessage) (Destination, error) {
	name, err := s.deps.Route(message)
	if err != nil {
		return nil, err
	}
	if destination, ok := s.destinations[name]; ok {
		return destination, nil
	}
	destination := s.deps.Open(name)
	s.destinations[name] = destination
	group.Go(func() error { return destination.Run(ctx) })
	return destination, nil
}

// truncate proposes, now and then, to drop what has arrived.
func (s *Shuffle[D]) truncate(ctx context.Context) error {
	ticker := time.NewTicker(truncateAfter)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-s.arrivals.many:
		}
		through, ok := s.arrivals.take()
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
