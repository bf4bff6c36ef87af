package cmdlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
)

const partition = 3

// start starts a broker with the log of a partition.
func start(t *testing.T) *broker.Conn {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	// The server removes the folder of all streams after the last of them is gone, beside making a new one in it: with
	// this one, tests may make one anew that they have deleted.
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, partition+1))
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, partition))
	return conn
}

// run runs a new appender until the test or the function that is returned ends it.
func run(t *testing.T, conn *broker.Conn, cfg cmdlog.AppenderConfig) (appender *cmdlog.Appender, stop func()) {
	t.Helper()
	cfg.Partition = partition
	if cfg.Producer == "" {
		cfg.Producer = "test"
	}
	appender = cmdlog.NewAppender(conn, cfg, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- appender.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return appender, stop
}

// record is one whose content tells it from others.
func record(i int) *logv1.Record {
	return &logv1.Record{Command: &logv1.Record_Terminate{Terminate: &logv1.Terminate{
		InvocationId: fmt.Appendf(nil, "%d", i),
	}}}
}

// outcome is what became of a record.
type outcome struct {
	lsn uint64
	err error
}

// enqueue appends a record and returns where its outcome will be.
func enqueue(t *testing.T, appender *cmdlog.Appender, record *logv1.Record) <-chan outcome {
	t.Helper()
	outcomes := make(chan outcome, 1)
	require.NoError(t, appender.Append(t.Context(), record, func(lsn uint64, err error) { outcomes <- outcome{lsn, err} }))
	return outcomes
}

func receive(t *testing.T, outcomes <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-outcomes:
		return o
	case <-time.After(await.Deadline):
		t.Fatal("the outcome of a record is not told")
		return outcome{}
	}
}

// read returns the messages of the log up to and including the sequence.
func read(t *testing.T, conn *broker.Conn, through uint64) []cmdlog.Message {
	t.Helper()
	reader, err := cmdlog.OpenReader(t.Context(), conn, partition, 1)
	require.NoError(t, err)
	defer reader.Close()
	var messages []cmdlog.Message
	for uint64(len(messages)) < through {
		more, err := reader.Next(t.Context())
		require.NoError(t, err)
		messages = append(messages, more...)
	}
	return messages
}

// stream returns the stream of the log.
func stream(t *testing.T, conn *broker.Conn) jetstream.Stream {
	t.Helper()
	s, err := conn.JS.Stream(t.Context(), cmdlog.StreamName(partition))
	require.NoError(t, err)
	return s
}

// limit bounds how many messages the log takes; -1 is no bound.
func limit(t *testing.T, conn *broker.Conn, messages int64) {
	t.Helper()
	cfg := stream(t, conn).CachedInfo().Config
	cfg.MaxMsgs = messages
	_, err := conn.JS.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
}
