package broker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a full disk cannot be had without the right to mount a small one: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// fill takes the disk but for so many bytes, and returns how to give it back.
func fill(t *testing.T, dir string, leave int64) (free func()) {
	t.Helper()
	var disk syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &disk))
	path := filepath.Join(dir, "filler")
	require.NoError(t, os.WriteFile(path, make([]byte, int64(disk.Bavail)*disk.Bsize-leave), 0o600))
	return func() { require.NoError(t, os.Remove(path)) }
}

// log is a stream on a small disk, and what it has acknowledged.
type log struct {
	server *broker.Server
	conn   *broker.Conn
	stream jetstream.Stream
	next   uint64
	acked  map[uint64]bool
}

func newLog(t *testing.T, cfg broker.ServerConfig) *log {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), cfg, quiet)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", quiet)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	stream, err := conn.JS.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "log", Subjects: []string{"log"}, Storage: jetstream.FileStorage,
	})
	require.NoError(t, err)
	return &log{server: server, conn: conn, stream: stream, acked: map[uint64]bool{}}
}

const messageSize = 64 << 10

// publish publishes the next message.
func (l *log) publish(t *testing.T) error {
	t.Helper()
	l.next++
	message := make([]byte, messageSize)
	binary.BigEndian.PutUint64(message, l.next)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := l.conn.JS.Publish(ctx, "log", message, jetstream.WithRetryAttempts(0))
	if err == nil {
		l.acked[l.next] = true
	}
	return err
}

// check reads the log and finds all that was acknowledged, in order.
func (l *log) check(t *testing.T) {
	t.Helper()
	stream, err := l.conn.JS.Stream(t.Context(), "log")
	require.NoError(t, err)
	var last uint64
	for sequence := range stream.CachedInfo().State.LastSeq {
		message, err := stream.GetMsg(t.Context(), sequence+1)
		require.NoError(t, err)
		number := binary.BigEndian.Uint64(message.Data)
		require.Greater(t, number, last)
		last = number
		delete(l.acked, number)
	}
	require.Empty(t, l.acked, "acknowledged and lost")
}

func refused(err error) bool {
	var answer *jetstream.APIError
	return errors.As(err, &answer)
}

// The server stops taking messages while there is room left on the disk, tells publishers so, and goes on by itself.
func TestTheDiskIsNotFilled(t *testing.T) {
	const reserve = 16 << 20
	dir := smallDisk(t, "96m")
	l := newLog(t, broker.ServerConfig{Dir: dir, MinFreeBytes: reserve})
	registry := prometheus.NewRegistry()
	require.NoError(t, l.server.Register(registry))
	require.NoError(t, l.publish(t))
	require.NoError(t, l.server.Ready())

	free := fill(t, dir, reserve/2)
	await.True(t, await.Deadline, func() bool { return l.server.Ready() != nil }, "the server to see that the disk is full")
	require.ErrorContains(t, l.server.Ready(), "broker.min_free_bytes")
	require.True(t, refused(l.publish(t)), "publishers are refused")
	count, err := testutil.GatherAndCount(registry)
	require.NoError(t, err)
	require.Equal(t, 3, count)

	free()
	await.True(t, await.Deadline, func() bool { return l.server.Ready() == nil }, "the server to see that there is room")
	require.NoError(t, l.publish(t))
	l.check(t)
}

// A disk that others filled to the last byte makes writing fail. Once there is room the same connections work again.
func TestServerIsStartedAgainAfterAFailedWrite(t *testing.T) {
	dir := smallDisk(t, "48m")
	l := newLog(t, broker.ServerConfig{Dir: dir})
	for range 20 {
		require.NoError(t, l.publish(t))
	}
	const room = 2 // messages
	see := l.server.Blind()
	free := fill(t, dir, room*messageSize)
	failed := 0
	for range room + 3 {
		if err := l.publish(t); err != nil {
			require.False(t, refused(err), "the server does not know yet that its disk is full")
			failed++
		}
	}
	see()
	require.GreaterOrEqual(t, failed, 3)
	await.True(t, await.Deadline, func() bool { return l.server.Ready() != nil }, "the server to see that writing failed")

	free()
	await.True(t, await.Deadline, func() bool { return l.publish(t) == nil }, "the log to take messages again")
	await.True(t, await.Deadline, func() bool { return l.server.Ready() == nil }, "the server to see that it takes messages")
	l.check(t)
	require.Positive(t, l.server.Restarts())
}

// Clients can see the bound on all streams, and trim in time.
func TestBoundOfAllStreams(t *testing.T) {
	const bound = 1 << 20
	l := newLog(t, broker.ServerConfig{Dir: t.TempDir(), MaxStoreBytes: bound})
	info, err := l.conn.JS.AccountInfo(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, bound, info.Limits.MaxStore)
	for err == nil {
		err = l.publish(t)
	}
	require.True(t, refused(err), err)
	require.GreaterOrEqual(t, len(l.acked), bound/messageSize-1)
	require.NoError(t, l.stream.Purge(t.Context()))
	require.NoError(t, l.publish(t))
}
