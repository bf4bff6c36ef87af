package partition_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/partition"
	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// observer counts what it is told of, as a leader would do it.
type observer struct {
	mu      sync.Mutex
	applied uint64
	started []uint64
	lapsed  int
}

func (o *observer) Committed(applied uint64, actions []statemachine.Action) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.applied = applied
	for _, action := range actions {
		if start, ok := action.(statemachine.StartInvocation); ok {
			o.started = append(o.started, start.Run>>16)
		}
	}
}

func (o *observer) Lapsed(uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lapsed++
}

// runs returns the batches that started invocations, and how often others were committed unnoticed.
func (o *observer) runs() (batches []uint64, lapsed int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]uint64(nil), o.started...), o.lapsed
}

// fault is a way in which writing fails.
type fault int32

const (
	works fault = iota
	// refuses writes nothing; pretends writes, and says that it failed.
	refuses
	pretends
)

// store is the space of a partition whose disk may fail.
type store struct {
	kv.Space
	fault atomic.Int32
}

func (s *store) Write(b *kv.Batch) error {
	switch fault(s.fault.Load()) {
	case refuses:
		return errors.New("no space left on device")
	case pretends:
		return errors.Join(s.Space.Write(b), errors.New("it may have been written"))
	case works:
	}
	return s.Space.Write(b)
}

// Flush implements kv.Space.
func (s *store) Flush() error {
	if fault(s.fault.Load()) != works {
		return errors.New("no space left on device")
	}
	return s.Space.Flush()
}

// setting is a partition with its log.
type setting struct {
	conn     *broker.Conn
	store    *store
	observer *observer
	batches  uint64
	// figures are those of the last processor.
	figures *prometheus.Registry
	// trimAfter is how many bytes the log may hold.
	trimAfter uint64
}

func newSetting(t *testing.T) *setting {
	t.Helper()
	return settingWith(t, broker.ServerConfig{})
}

func settingWith(t *testing.T, cfg broker.ServerConfig) *setting {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg.Dir = t.TempDir()
	server, err := broker.StartServer(t.Context(), cfg, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	// The server removes the folder of all streams after the last of them is gone, beside making a new one in it: with
	// this one, tests may make one anew that they have deleted.
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, 1))
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, 0))
	return &setting{conn: conn, store: &store{Space: emptySpace(t)}, observer: &observer{}}
}

func emptySpace(t *testing.T) kv.Space {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	return space
}

// run runs a processor until the test or the function that is returned ends it.
func (s *setting) run(t *testing.T) (processor *partition.Processor, stop func()) {
	t.Helper()
	s.figures = prometheus.NewRegistry()
	processor = partition.New(partition.Config{
		Layout: keyspace.Layout{Partitions: 1}, TrimAfterBytes: s.trimAfter,
	}, partition.Deps{
		Conn: s.conn, Space: s.store, Observer: s.observer, Log: slog.New(slog.DiscardHandler),
		Metrics: partition.NewMetrics(s.figures),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- processor.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return processor, stop
}

// append appends a batch with the record, and returns its sequence.
func (s *setting) append(t *testing.T, record *logv1.Record) uint64 {
	t.Helper()
	s.batches++
	record.Sequence = s.batches
	batch, err := proto.Marshal(&logv1.Batch{Producer: "test", ProposedAt: 1, Records: []*logv1.Record{record}})
	require.NoError(t, err)
	return s.publish(t, batch)
}

func (s *setting) publish(t *testing.T, batch []byte) uint64 {
	t.Helper()
	ack, err := s.conn.JS.Publish(t.Context(), cmdlog.Subject(0), batch)
	require.NoError(t, err)
	return ack.Sequence
}

// invoke is a record that starts an invocation of its own.
func invoke(t *testing.T) *logv1.Record {
	t.Helper()
	id, err := ids.NewInvocationID(1)
	require.NoError(t, err)
	return &logv1.Record{Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{
		InvocationId: id[:],
		Target:       &journalv1.Target{Service: "s", Handler: "h", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED},
	}}}
}

func awaitApplied(t *testing.T, processor *partition.Processor, sequence uint64) {
	t.Helper()
	await.True(t, await.Deadline, func() bool { return processor.Applied() >= sequence && processor.Ready() == nil }, "the log to be applied")
}

// awaitParked waits until the partition has given up, and returns why.
func awaitParked(t *testing.T, processor *partition.Processor) error {
	t.Helper()
	await.True(t, await.Deadline, func() bool { return errcode.Of(processor.Ready(), "") == errcode.LogUnusable }, "the partition to park")
	return processor.Ready()
}

// remake replaces the log by an empty one that differs from it as told.
func (s *setting) remake(t *testing.T, change func(*jetstream.StreamConfig)) {
	t.Helper()
	stream, err := s.conn.JS.Stream(t.Context(), cmdlog.StreamName(0))
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	change(&cfg)
	require.NoError(t, s.conn.JS.DeleteStream(t.Context(), cmdlog.StreamName(0)))
	_, err = s.conn.JS.CreateStream(t.Context(), cfg)
	require.NoError(t, err)
}
