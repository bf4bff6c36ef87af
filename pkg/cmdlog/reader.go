package cmdlog

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/broker"
)

// Message is one batch of the log with its place.
type Message struct {
	Sequence uint64
	Batch    *logv1.Batch
	// Behind is how many messages followed in the log when this one was fetched.
	Behind uint64
}

const (
	// readAheadBytes bounds one fetch and what is decoded ahead, readAhead the messages that are fetched before they are asked
	// for. Two fetches may be under way. The library keeps a queue of readAhead places; without a bound of ours, a million.
	readAheadBytes = 16 << 20
	readAhead      = 4096
	// maxRun and maxRunBytes bound what Next returns at a time, but for the last message of a run.
	maxRun      = 256
	maxRunBytes = 8 << 20
	// heartbeat is how often the broker says that there is nothing. Without two of them it is taken for lost.
	heartbeat = 2 * time.Second
)

// Reader reads a log in order and without gaps, over one connection to the broker.
type Reader struct {
	partition uint32
	next      uint64
	iter      jetstream.MessagesContext
	// arrived is closed when nothing more comes, because of failed.
	arrived chan arrival
	failed  error
	// room is taken by what is in arrived, in bytes.
	room   *semaphore.Weighted
	cancel context.CancelFunc
}

type arrival struct {
	message Message
	size    int64
}

// OpenReader begins to read at the sequence. ErrTrimmed when the log no longer has it. The reader ends with the
// connection: the broker that is there next may have another log.
func OpenReader(ctx context.Context, conn *broker.Conn, partition uint32, from uint64) (*Reader, error) {
	running, cancel := conn.Attach(context.WithoutCancel(ctx))
	iter, err := openIterator(ctx, conn, partition, from)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("read the log of partition %d: %w", partition, err)
	}
	r := &Reader{
		partition: partition, next: from, iter: iter,
		arrived: make(chan arrival, maxRun), room: semaphore.NewWeighted(readAheadBytes),
		cancel: cancel,
	}
	go r.run(running)
	return r, nil
}

func openIterator(ctx context.Context, conn *broker.Conn, partition uint32, from uint64) (jetstream.MessagesContext, error) {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	stream, err := open(ctx, conn, partition)
	if err != nil {
		return nil, err
	}
	if first := stream.CachedInfo().State.FirstSeq; first > from {
		return nil, fmt.Errorf("%w: it begins at %d, %d is next", ErrTrimmed, first, from)
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   from,
		// Who reads is to know that there is trouble, and tries again; the library would do so without a word, for ever.
		MaxResetAttempts: 1,
	})
	if err != nil {
		return nil, broker.Explain(ctx, err)
	}
	return consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(readAhead, readAheadBytes), jetstream.PullHeartbeat(heartbeat))
}

// run decodes ahead of the one who reads.
func (r *Reader) run(ctx context.Context) {
	defer close(r.arrived)
	stop := context.AfterFunc(ctx, r.iter.Stop)
	defer stop()
	for {
		message, size, err := r.message()
		if err != nil {
			r.failed = broker.Explain(ctx, err)
			return
		}
		next := arrival{message, int64(min(size, readAheadBytes))}
		if err := r.room.Acquire(ctx, next.size); err != nil {
			r.failed = broker.Explain(ctx, err)
			return
		}
		select {
		case r.arrived <- next:
		case <-ctx.Done():
			r.failed = context.Cause(ctx)
			return
		}
	}
}

// message returns the next message and its size in bytes.
func (r *Reader) message() (Message, int, error) {
	for {
		raw, err := r.iter.Next()
		if err != nil {
			return Message{}, 0, fmt.Errorf("read the log of partition %d: %w", r.partition, err)
		}
		meta, err := raw.Metadata()
		if err != nil {
			return Message{}, 0, fmt.Errorf("read the log of partition %d: %w", r.partition, err)
		}
		sequence := meta.Sequence.Stream
		if sequence < r.next {
			continue // delivered again after a reconnect
		}
		if sequence > r.next {
			return Message{}, 0, fmt.Errorf("%w: %d follows %d", ErrGap, sequence, r.next-1)
		}
		batch := &logv1.Batch{}
		if err := proto.Unmarshal(raw.Data(), batch); err != nil {
			return Message{}, 0, fmt.Errorf("%w: batch %d: %w", ErrCorrupt, sequence, err)
		}
		r.next++
		return Message{sequence, batch, meta.NumPending}, len(raw.Data()), nil
	}
}

// Next waits for a message and returns it with what else has arrived. After an error the reader is of no more use.
func (r *Reader) Next(ctx context.Context) ([]Message, error) {
	var messages []Message
	var size int64
	take := func(a arrival) {
		messages = append(messages, a.message)
		size += a.size
		r.room.Release(a.size)
	}
	select {
	case a, ok := <-r.arrived:
		if !ok {
			return nil, r.failed
		}
		take(a)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(messages) < maxRun && size < maxRunBytes {
		select {
		case a, ok := <-r.arrived:
			if !ok {
				return messages, nil // the next call says why
			}
			take(a)
		default:
			return messages, nil
		}
	}
	return messages, nil
}

// Close stops reading and waits for it.
func (r *Reader) Close() {
	r.cancel()
	r.iter.Stop()
	for range r.arrived {
		// Nobody wants it any more.
		continue
	}
}
