package cmdlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/broker"
)

const (
	// overhead is what a batch needs beside its records.
	overhead = 65 << 10
	// maxBatchRecords is how many records an LSN can tell apart.
	maxBatchRecords = 1 << 15
	// defaultQueuedBytes bounds what waits to be published.
	defaultQueuedBytes = 32 << 20
	defaultAckTimeout  = 10 * time.Second
	firstPause         = 10 * time.Millisecond
	longestPause       = time.Second
)

// AppenderConfig configures an appender.
type AppenderConfig struct {
	Partition uint32
	// Producer names who appends. No two appenders of a partition may have the same at the same time, except that a
	// leader's are told apart by their epoch.
	Producer string
	// LeaderEpoch is set on what a leader proposes about its own work.
	LeaderEpoch uint64
	// Clock gives the time at which a batch is proposed. Default time.Now.
	Clock func() time.Time
	// MaxQueuedBytes bounds what waits to be published. Default 32 MiB.
	MaxQueuedBytes int
	// AckTimeout is how long the broker may take to acknowledge a batch before it is published again, unless the
	// connection is lost before. Default 10 seconds.
	AckTimeout time.Duration
	// Patience is for those who would rather tell somebody than wait: records that the broker refuses fail at once,
	// others after this time without an acknowledgement, and while that lasts new ones are refused. 0 tries each
	// record until the appender stops.
	Patience time.Duration
}

// Appender appends the records of one producer to one log, in order. While a batch is on its way to the disk, the
// records that arrive form the next one.
type Appender struct {
	cfg    AppenderConfig
	conn   *broker.Conn
	log    *slog.Logger
	header []byte
	// most is how many bytes the records of a batch may have.
	most int

	mu       sync.Mutex
	room     sync.Cond // signalled when the queue shrinks or the appender stops
	queue    []queued
	queuedB  int
	sequence uint64
	stopped  error
	stalled  time.Time // since when the broker refuses or does not answer; zero when it does
	reason   error
	wake     chan struct{}
}

type queued struct {
	encoded []byte
	done    func(lsn uint64, err error)
}

// Field numbers of restate.log.v1.Batch and Record.
const (
	batchProducer   = 1
	batchEpoch      = 2
	batchProposedAt = 3
	batchRecords    = 4
	recordSequence  = 1
	// sequenceSize is what a sequence takes at most.
	sequenceSize = 1 + 10
)

// NewAppender returns an appender; Run makes it work.
func NewAppender(conn *broker.Conn, cfg AppenderConfig, log *slog.Logger) *Appender {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.MaxQueuedBytes == 0 {
		cfg.MaxQueuedBytes = defaultQueuedBytes
	}
	if cfg.AckTimeout == 0 {
		cfg.AckTimeout = defaultAckTimeout
	}
	a := &Appender{
		cfg: cfg, conn: conn, log: log, wake: make(chan struct{}, 1), most: int(conn.NC.MaxPayload()) - overhead,
	}
	a.room.L = &a.mu
	a.header = protowire.AppendTag(nil, batchProducer, protowire.BytesType)
	a.header = protowire.AppendString(a.header, cfg.Producer)
	if cfg.LeaderEpoch != 0 {
		a.header = protowire.AppendTag(a.header, batchEpoch, protowire.VarintType)
		a.header = protowire.AppendVarint(a.header, cfg.LeaderEpoch)
	}
	return a
}

// errStopped is what records fail with that an appender had when it was stopped. They may be in the log or not.
var errStopped = errors.New("the appender was stopped")

// Append queues a record. It blocks only while the queue is full. A record without a sequence gets the next one. done
// is called once, from another goroutine, and must not block: with the LSN when the record is durable, or with an
// error. When Append itself fails, and after ErrRefused, the record is certainly not in the log; after any other error
// it may be.
func (a *Appender) Append(ctx context.Context, record *logv1.Record, done func(lsn uint64, err error)) error {
	// The sequence is encoded apart, in queue order; protobuf lets a field come at the end.
	given := record.GetSequence()
	record.Sequence = 0
	room := make([]byte, 0, proto.Size(record)+sequenceSize)
	encoded, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(room, record)
	record.Sequence = given
	if err != nil {
		return fmt.Errorf("encode a record: %w", err)
	}
	if len(encoded) > a.most {
		return fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLarge, len(encoded), a.most)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cfg.Patience > 0 && !a.stalled.IsZero() && time.Since(a.stalled) > a.cfg.Patience {
		return fmt.Errorf("%w: %w", ErrRefused, a.reason)
	}
	if err := a.waitForRoom(ctx, len(encoded)); err != nil {
		return err
	}
	if given == 0 {
		a.sequence++
		given = a.sequence
	}
	encoded = protowire.AppendTag(encoded, recordSequence, protowire.VarintType)
	encoded = protowire.AppendVarint(encoded, given)
	a.queue = append(a.queue, queued{encoded: encoded, done: done})
	a.queuedB += len(encoded)
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return nil
}

// waitForRoom returns with the lock held.
func (a *Appender) waitForRoom(ctx context.Context, size int) error {
	if a.stopped == nil && (a.queuedB == 0 || a.queuedB+size <= a.cfg.MaxQueuedBytes) {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.room.Broadcast()
	})
	defer stop()
	for {
		switch {
		case a.stopped != nil:
			return a.stopped
		case ctx.Err() != nil:
			if a.reason != nil {
				return fmt.Errorf("%w: the queue is full: %w", ErrRefused, a.reason)
			}
			return ctx.Err()
		case a.queuedB == 0 || a.queuedB+size <= a.cfg.MaxQueuedBytes:
			return nil
		}
		a.room.Wait()
	}
}

// AppendWait appends a record and waits until it is durable. When the context ends first, the record may still become
// durable.
func (a *Appender) AppendWait(ctx context.Context, record *logv1.Record) (lsn uint64, err error) {
	type outcome struct {
		lsn uint64
		err error
	}
	durable := make(chan outcome, 1)
	if err := a.Append(ctx, record, func(lsn uint64, err error) { durable <- outcome{lsn, err} }); err != nil {
		return 0, err
	}
	select {
	case o := <-durable:
		return o.lsn, o.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Healthy returns what keeps the broker from taking records, and since when; nil when nothing does.
func (a *Appender) Healthy() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stalled.IsZero() {
		return nil
	}
	return fmt.Errorf("the log of partition %d has taken nothing since %s: %w",
		a.cfg.Partition, a.stalled.Format(time.RFC3339), a.reason)
}

// QueuedBytes returns the size of the records that wait to be published.
func (a *Appender) QueuedBytes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.queuedB
}

// Run publishes until the context ends. It is called once.
func (a *Appender) Run(ctx context.Context) error {
	defer a.stop()
	for ctx.Err() == nil {
		batch, records := a.take()
		if len(records) == 0 && !a.wait(ctx) {
			continue
		}
		sequence, err := a.publish(ctx, batch)
		for i, r := range records {
			if err != nil {
				r.done(0, err)
			} else {
				r.done(sequence<<16|uint64(i), nil)
			}
		}
	}
	return nil
}

// wait waits for records. It returns true when it is time to find out, with a batch of none, whether a broker that took
// no records does so again: others may send none before they have heard of that.
func (a *Appender) wait(ctx context.Context) (probe bool) {
	var again <-chan time.Time
	if a.Healthy() != nil {
		timer := time.NewTimer(longestPause)
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-a.wake:
		return false
	case <-again:
		return true
	}
}

func (a *Appender) stop() {
	a.mu.Lock()
	a.stopped = errStopped
	left := a.queue
	a.queue, a.queuedB = nil, 0
	a.room.Broadcast()
	a.mu.Unlock()
	for _, r := range left {
		r.done(0, errStopped)
	}
}

// take forms a batch from the front of the queue, which may be empty.
func (a *Appender) take() (batch []byte, records []queued) {
	a.mu.Lock()
	defer a.mu.Unlock()
	size, n := 0, 0
	for n < len(a.queue) && n < maxBatchRecords {
		next := len(a.queue[n].encoded) + 8
		if n > 0 && size+next > a.most {
			break
		}
		size += next
		n++
	}
	records = a.queue[:n:n]
	a.queue = a.queue[n:]
	batch = make([]byte, 0, len(a.header)+16+size)
	batch = append(batch, a.header...)
	batch = protowire.AppendTag(batch, batchProposedAt, protowire.VarintType)
	batch = protowire.AppendVarint(batch, uint64(max(a.cfg.Clock().UnixMilli(), 0)))
	for _, r := range records {
		batch = protowire.AppendTag(batch, batchRecords, protowire.BytesType)
		batch = protowire.AppendBytes(batch, r.encoded)
		a.queuedB -= len(r.encoded)
	}
	a.room.Broadcast()
	return batch, records
}

// publish repeats the batch until the broker has acknowledged it, or patience is at its end.
func (a *Appender) publish(ctx context.Context, batch []byte) (sequence uint64, err error) {
	began, pause, doubtful := time.Now(), firstPause, false
	for {
		sequence, refused, err := a.publishOnce(ctx, batch)
		if err == nil {
			a.recovered()
			return sequence, nil
		}
		if ctx.Err() != nil {
			return 0, errStopped
		}
		a.stall(err)
		// Whatever happens later, an attempt without an answer may have succeeded.
		doubtful = doubtful || !refused
		if a.cfg.Patience > 0 && (refused || time.Since(began) >= a.cfg.Patience) {
			if doubtful {
				return 0, fmt.Errorf("%w: %w", ErrUnconfirmed, err)
			}
			return 0, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if !a.conn.Pause(ctx, pause) {
			return 0, errStopped
		}
		pause = min(2*pause, longestPause)
	}
}

// publishOnce tells an answer of the broker, which is definite, from none.
func (a *Appender) publishOnce(ctx context.Context, batch []byte) (sequence uint64, refused bool, err error) {
	timeout := a.cfg.AckTimeout
	if a.cfg.Patience > 0 {
		timeout = min(timeout, a.cfg.Patience)
	}
	ctx, cancel := a.conn.Attached(ctx, timeout)
	defer cancel()
	ack, err := a.conn.JS.PublishMsg(ctx, &nats.Msg{Subject: Subject(a.cfg.Partition), Data: batch}, jetstream.WithRetryAttempts(0))
	if err == nil {
		return ack.Sequence, false, nil
	}
	err = broker.Explain(ctx, err)
	var answered *jetstream.APIError
	return 0, errors.As(err, &answered), err
}

func (a *Appender) stall(reason error) {
	a.mu.Lock()
	first := a.stalled.IsZero()
	if first {
		a.stalled = time.Now()
	}
	a.reason = reason
	a.mu.Unlock()
	if first {
		a.log.Warn("the log takes no records, trying again", "partition", a.cfg.Partition, "error", reason)
	}
}

func (a *Appender) recovered() {
	a.mu.Lock()
	since := a.stalled
	a.stalled, a.reason = time.Time{}, nil
	a.mu.Unlock()
	if !since.IsZero() {
		a.log.Info("the log takes records again", "partition", a.cfg.Partition, "after", time.Since(since).Round(time.Millisecond))
	}
}
