package cmdlog_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/broker/brokertest"
	"github.com/restate-go/restate/pkg/cmdlog"
)

// fillLog appends so many batches of one record each.
func fillLog(t *testing.T, conn *broker.Conn, batches int) {
	t.Helper()
	appender, stop := run(t, conn, cmdlog.AppenderConfig{})
	defer stop()
	for i := range batches {
		_, err := appender.AppendWait(t.Context(), record(i))
		require.NoError(t, err)
	}
}

// next reads until there is an error, and returns the sequences of what came before it.
func next(t *testing.T, reader *cmdlog.Reader) (sequences []uint64, err error) {
	t.Helper()
	for {
		messages, err := reader.Next(t.Context())
		if err != nil {
			return sequences, err
		}
		for _, m := range messages {
			sequences = append(sequences, m.Sequence)
		}
	}
}

func TestReaderBeginsWhereItIsTold(t *testing.T) {
	conn := start(t)
	fillLog(t, conn, 5)
	reader, err := cmdlog.OpenReader(t.Context(), conn, partition, 4)
	require.NoError(t, err)
	defer reader.Close()
	first, err := reader.Next(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 4, first[0].Sequence)
	// It goes on with what comes later, and does not wait for ever for what does not come.
	for len(first) < 2 {
		more, err := reader.Next(t.Context())
		require.NoError(t, err)
		first = append(first, more...)
	}
	fillLog(t, conn, 1)
	more, err := reader.Next(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 6, more[0].Sequence)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = reader.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A reader ends with its connection: which log the broker has that comes next, who reads has to look at.
func TestReaderEndsWithTheConnection(t *testing.T) {
	server := brokertest.Start(t)
	conn := server.Connect()
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, partition))
	fillLog(t, conn, 3)
	reader, err := cmdlog.OpenReader(t.Context(), conn, partition, 1)
	require.NoError(t, err)
	defer reader.Close()
	var read []uint64
	for len(read) < 2 {
		messages, err := reader.Next(t.Context())
		require.NoError(t, err)
		for _, m := range messages {
			read = append(read, m.Sequence)
		}
	}
	server.Restart()
	rest, err := next(t, reader)
	require.ErrorIs(t, err, broker.ErrDetached)
	_, err = reader.Next(t.Context())
	require.ErrorIs(t, err, broker.ErrDetached)
	read = append(read, rest...)
	require.Equal(t, []uint64{1, 2, 3}[:len(read)], read)

	await.True(t, await.Deadline, conn.NC.IsConnected, "the connection to be there again")
	again, err := cmdlog.OpenReader(t.Context(), conn, partition, uint64(len(read)+1))
	require.NoError(t, err)
	defer again.Close()
	fillLog(t, conn, 1)
	messages, err := again.Next(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, len(read)+1, messages[0].Sequence)
}

// A message that is missing from the middle is never passed over.
func TestGap(t *testing.T) {
	conn := start(t)
	require.NoError(t, conn.JS.DeleteStream(t.Context(), cmdlog.StreamName(partition)))
	_, err := conn.JS.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: cmdlog.StreamName(partition), Subjects: []string{cmdlog.Subject(partition)},
	})
	require.NoError(t, err)
	fillLog(t, conn, 5)
	require.NoError(t, stream(t, conn).DeleteMsg(t.Context(), 3))
	reader, err := cmdlog.OpenReader(t.Context(), conn, partition, 1)
	require.NoError(t, err)
	defer reader.Close()
	sequences, err := next(t, reader)
	require.Equal(t, []uint64{1, 2}, sequences)
	require.ErrorIs(t, err, cmdlog.ErrGap)
}

func TestTrim(t *testing.T) {
	conn := start(t)
	fillLog(t, conn, 5)
	require.NoError(t, cmdlog.Trim(t.Context(), conn, partition, 3))
	size, err := cmdlog.Size(t.Context(), conn, partition)
	require.NoError(t, err)
	require.EqualValues(t, 2, size.Messages)
	require.EqualValues(t, 4, size.First)
	_, err = cmdlog.OpenReader(t.Context(), conn, partition, 3)
	require.ErrorIs(t, err, cmdlog.ErrTrimmed)
	reader, err := cmdlog.OpenReader(t.Context(), conn, partition, 4)
	require.NoError(t, err)
	reader.Close()
	last, _, err := cmdlog.Head(t.Context(), conn, partition)
	require.NoError(t, err)
	require.EqualValues(t, 5, last)
}

func TestDamagedBatch(t *testing.T) {
	conn := start(t)
	fillLog(t, conn, 1)
	_, err := conn.JS.Publish(t.Context(), cmdlog.Subject(partition), []byte("\xff\xff"))
	require.NoError(t, err)
	reader, err := cmdlog.OpenReader(t.Context(), conn, partition, 1)
	require.NoError(t, err)
	defer reader.Close()
	sequences, err := next(t, reader)
	require.Equal(t, []uint64{1}, sequences)
	require.ErrorIs(t, err, cmdlog.ErrCorrupt)
}

// A log that was deleted and made anew is another one, and a missing one is told from trouble on the way.
func TestIdentity(t *testing.T) {
	conn := start(t)
	_, before, err := cmdlog.Head(t.Context(), conn, partition)
	require.NoError(t, err)
	require.NotEmpty(t, before)
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, partition))
	_, same, err := cmdlog.Head(t.Context(), conn, partition)
	require.NoError(t, err)
	require.Equal(t, before, same)
	require.NoError(t, conn.JS.DeleteStream(t.Context(), cmdlog.StreamName(partition)))
	_, _, err = cmdlog.Head(t.Context(), conn, partition)
	require.ErrorIs(t, err, cmdlog.ErrMissing)
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, partition))
	_, after, err := cmdlog.Head(t.Context(), conn, partition)
	require.NoError(t, err)
	require.NotEqual(t, before, after)
}

// What is returned at a time is bounded in bytes, not in messages only.
func TestRunsAreBounded(t *testing.T) {
	conn := start(t)
	appender, stop := run(t, conn, cmdlog.AppenderConfig{})
	const large = 4 << 20
	for range 8 {
		_, err := appender.AppendWait(t.Context(), &logv1.Record{Command: &logv1.Record_Invoke{
			Invoke: &logv1.Invoke{Argument: make([]byte, large)},
		}})
		require.NoError(t, err)
	}
	stop()
	reader, err := cmdlog.OpenReader(t.Context(), conn, partition, 1)
	require.NoError(t, err)
	defer reader.Close()
	for read := 0; read < 8; {
		messages, err := reader.Next(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, len(messages), 2, "a run of large messages is short")
		read += len(messages)
	}
}
