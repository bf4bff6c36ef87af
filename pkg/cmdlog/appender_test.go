package cmdlog_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker/brokertest"
	"github.com/restate-go/restate/pkg/cmdlog"
)

// Whoever appends at the same time shares batches; each learns its own place, and the order is that of the calls.
func TestRecordsAreBatchedInOrder(t *testing.T) {
	conn := start(t)
	now := time.UnixMilli(12345)
	appender, _ := run(t, conn, cmdlog.AppenderConfig{
		Producer: "someone", LeaderEpoch: 7, Clock: func() time.Time { return now },
	})
	const count = 500
	outcomes := make([]<-chan outcome, count)
	for i := range outcomes {
		outcomes[i] = enqueue(t, appender, record(i))
	}
	places := map[uint64]string{}
	var last uint64
	for i := range outcomes {
		o := receive(t, outcomes[i])
		require.NoError(t, o.err)
		require.Greater(t, o.lsn, last)
		last = o.lsn
		places[o.lsn] = fmt.Sprint(i)
	}
	messages := read(t, conn, last>>16)
	require.Less(t, len(messages), count/2, "records were not batched")
	var sequence uint64
	for _, message := range messages {
		require.Equal(t, "someone", message.Batch.GetProducer())
		require.EqualValues(t, 7, message.Batch.GetLeaderEpoch())
		require.EqualValues(t, 12345, message.Batch.GetProposedAt())
		for i, r := range message.Batch.GetRecords() {
			sequence++
			require.Equal(t, sequence, r.GetSequence(), "sequences are dense")
			lsn := message.Sequence<<16 | uint64(i)
			require.Equal(t, places[lsn], string(r.GetTerminate().GetInvocationId()))
			delete(places, lsn)
		}
	}
	require.Empty(t, places)
}

func TestGivenSequencesAreKept(t *testing.T) {
	conn := start(t)
	appender, _ := run(t, conn, cmdlog.AppenderConfig{})
	given := record(1)
	given.Sequence = 42
	require.NoError(t, receive(t, enqueue(t, appender, given)).err)
	require.EqualValues(t, 42, given.GetSequence(), "the caller's record is as it was")
	require.EqualValues(t, 42, read(t, conn, 1)[0].Batch.GetRecords()[0].GetSequence())
}

func TestLargeRecords(t *testing.T) {
	conn := start(t)
	appender, _ := run(t, conn, cmdlog.AppenderConfig{})
	large := func(size int) *logv1.Record {
		return &logv1.Record{Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{Argument: make([]byte, size)}}}
	}
	var outcomes []<-chan outcome
	for range 3 {
		outcomes = append(outcomes, enqueue(t, appender, large(7<<20)))
	}
	for _, o := range outcomes {
		require.NoError(t, receive(t, o).err)
	}
	require.ErrorIs(t, appender.Append(t.Context(), large(8<<20), nil), cmdlog.ErrTooLarge)
	require.NoError(t, receive(t, enqueue(t, appender, record(1))).err)
}

// The queue takes so many bytes, then callers wait, and no longer than they want to.
func TestQueueIsBounded(t *testing.T) {
	conn := start(t)
	limit(t, conn, 1)
	appender, stop := run(t, conn, cmdlog.AppenderConfig{MaxQueuedBytes: 1000})
	require.NoError(t, receive(t, enqueue(t, appender, record(0))).err)
	taken := 0
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var err error
	var told sync.WaitGroup
	for err == nil {
		told.Add(1)
		if err = appender.Append(ctx, record(taken), func(uint64, error) { told.Done() }); err == nil {
			taken++
		}
	}
	told.Done()
	require.ErrorIs(t, err, cmdlog.ErrRefused, "the reason is the log, not the impatience")
	require.Greater(t, taken, 20)
	require.Less(t, taken, 300, "one batch under way and a full queue")
	require.ErrorContains(t, appender.Healthy(), "partition 3")
	require.InDelta(t, 1000, appender.QueuedBytes(), 60, "full, but for less than a record, or over by its sequence")
	stop()
	require.Zero(t, appender.QueuedBytes())
	told.Wait() // everyone is told that it came to nothing
	require.Error(t, appender.Append(t.Context(), record(0), nil))
}

// Without patience a refusal is told at once, and that the record is not in the log is true. The appender finds out by
// itself that the log takes records again.
func TestRefusal(t *testing.T) {
	conn := start(t)
	limit(t, conn, 1)
	appender, _ := run(t, conn, cmdlog.AppenderConfig{Patience: time.Minute})
	require.NoError(t, receive(t, enqueue(t, appender, record(0))).err)
	require.ErrorIs(t, receive(t, enqueue(t, appender, record(1))).err, cmdlog.ErrRefused)
	require.Error(t, appender.Healthy())
	limit(t, conn, -1)
	await.True(t, await.Deadline, func() bool { return appender.Healthy() == nil }, "the appender to find that the log takes records")
	last := receive(t, enqueue(t, appender, record(2)))
	require.NoError(t, last.err)
	var found []string
	for _, message := range read(t, conn, last.lsn>>16) {
		for _, r := range message.Batch.GetRecords() {
			found = append(found, string(r.GetTerminate().GetInvocationId()))
		}
	}
	require.Equal(t, []string{"0", "2"}, found)
}

// A leader's records are tried until they are in.
func TestRefusedRecordsAreTriedAgain(t *testing.T) {
	conn := start(t)
	limit(t, conn, 1)
	appender, _ := run(t, conn, cmdlog.AppenderConfig{})
	require.NoError(t, receive(t, enqueue(t, appender, record(0))).err)
	waiting := []<-chan outcome{enqueue(t, appender, record(1)), enqueue(t, appender, record(2))}
	await.True(t, await.Deadline, func() bool { return appender.Healthy() != nil }, "the log to refuse")
	limit(t, conn, -1)
	for _, w := range waiting {
		require.NoError(t, receive(t, w).err)
	}
	require.NoError(t, appender.Healthy())
}

// A record without an answer may be in the log, even if a later attempt is refused. Others are refused while that lasts.
func TestNoAnswer(t *testing.T) {
	const patience = 300 * time.Millisecond
	conn := start(t)
	require.NoError(t, conn.JS.DeleteStream(t.Context(), cmdlog.StreamName(partition)))
	swallowed, err := conn.NC.SubscribeSync(cmdlog.Subject(partition))
	require.NoError(t, err)
	appender, _ := run(t, conn, cmdlog.AppenderConfig{Patience: patience})
	first := enqueue(t, appender, record(0))
	_, err = swallowed.NextMsg(await.Deadline)
	require.NoError(t, err)

	o := receive(t, first)
	require.ErrorIs(t, o.err, cmdlog.ErrUnconfirmed)
	require.NotErrorIs(t, o.err, cmdlog.ErrRefused)
	await.True(t, await.Deadline, func() bool {
		return appender.Append(t.Context(), record(1), func(uint64, error) {}) != nil
	}, "records to be refused")
	require.ErrorIs(t, appender.Append(t.Context(), record(1), nil), cmdlog.ErrRefused)

	require.NoError(t, swallowed.Unsubscribe())
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, partition))
	await.True(t, await.Deadline, func() bool { return appender.Healthy() == nil }, "the appender to get an answer")
	await.True(t, await.Deadline, func() bool {
		outcomes := make(chan error, 1)
		done := func(_ uint64, err error) { outcomes <- err }
		return appender.Append(t.Context(), record(2), done) == nil && <-outcomes == nil
	}, "records to be taken again")
}

// A refusal after an attempt without a proper answer proves nothing about that attempt.
func TestRefusalAfterNoAnswer(t *testing.T) {
	conn := start(t)
	require.NoError(t, conn.JS.DeleteStream(t.Context(), cmdlog.StreamName(partition)))
	answers := []string{"garbage", `{"error": {"code": 503, "err_code": 10077, "description": "maximum messages exceeded"}}`}
	subscription, err := conn.NC.Subscribe(cmdlog.Subject(partition), func(m *nats.Msg) {
		if err := m.Respond([]byte(answers[0])); err == nil && len(answers) > 1 {
			answers = answers[1:]
		}
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, subscription.Unsubscribe()) }()
	appender, _ := run(t, conn, cmdlog.AppenderConfig{Patience: time.Minute})
	o := receive(t, enqueue(t, appender, record(0)))
	require.ErrorIs(t, o.err, cmdlog.ErrUnconfirmed)
	require.NotErrorIs(t, o.err, cmdlog.ErrRefused)
	require.ErrorContains(t, o.err, "maximum messages exceeded")
	require.ErrorIs(t, receive(t, enqueue(t, appender, record(1))).err, cmdlog.ErrRefused)
}

// The broker goes away and comes back while records are appended: each is in the log, in order, and nothing waits for
// answers that cannot come any more.
func TestBrokerThatRestarts(t *testing.T) {
	server := brokertest.Start(t)
	conn := server.Connect()
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, partition))
	appender, _ := run(t, conn, cmdlog.AppenderConfig{AckTimeout: time.Hour})

	stop := make(chan struct{})
	var group sync.WaitGroup
	var outcomes []<-chan outcome
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				outcomes = append(outcomes, enqueue(t, appender, record(len(outcomes))))
			}
		}
	})
	for range 3 {
		<-time.After(50 * time.Millisecond) // some records
		server.Restart()
	}
	close(stop)
	group.Wait()
	var last outcome
	for _, o := range outcomes {
		last = receive(t, o)
		require.NoError(t, last.err)
	}

	var sequence uint64
	for _, message := range read(t, conn, last.lsn>>16) {
		for _, r := range message.Batch.GetRecords() {
			if r.GetSequence() <= sequence {
				continue // repeated; partitions drop it
			}
			require.Equal(t, sequence+1, r.GetSequence())
			require.Equal(t, strconv.FormatUint(sequence, 10), string(r.GetTerminate().GetInvocationId()))
			sequence++
		}
	}
	require.Len(t, outcomes, int(sequence))
}
