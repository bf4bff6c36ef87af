package leadership_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	restate "github.com/restate-go/restate/proto/gen/dev/restate"
	discovery "github.com/restate-go/restate/proto/gen/dev/restate/service"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
	"github.com/restate-go/restate/services/partition-worker/internal/leadership"
	"github.com/restate-go/restate/services/partition-worker/internal/partition"
)

func layout() keyspace.Layout { return keyspace.Layout{Partitions: 1} }

// cluster is a broker with the log of one partition and a registered service test.Counter, keyed, with a method Add.
type cluster struct {
	conn     *broker.Conn
	registry *schema.Registry
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.NoError(t, cmdlog.EnsureStream(t.Context(), conn, 0))
	register(t, conn)
	registry, err := schema.Watch(conn, log)
	require.NoError(t, err)
	background(t, registry.Run)
	await.True(t, await.Deadline, registry.Ready, "the registry to be read")
	return &cluster{conn: conn, registry: registry}
}

// background runs something until the test ends, or until the function that is returned ends it.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop
}

func register(t *testing.T, conn *broker.Conn) {
	t.Helper()
	key := &descriptorpb.FieldDescriptorProto{
		Name: proto.String("key"), Number: proto.Int32(1), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Options: &descriptorpb.FieldOptions{},
	}
	proto.SetExtension(key.GetOptions(), restate.E_Field, restate.FieldType_KEY)
	service := &descriptorpb.ServiceDescriptorProto{
		Name: proto.String("Counter"), Options: &descriptorpb.ServiceOptions{},
		Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Add"), InputType: proto.String(".test.Message"), OutputType: proto.String(".test.Message"),
		}},
	}
	proto.SetExtension(service.GetOptions(), restate.E_ServiceType, restate.ServiceType_KEYED)
	body, err := proto.Marshal(&discovery.ServiceDiscoveryResponse{
		Services: []string{"test.Counter"},
		Files: &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
			protodesc.ToFileDescriptorProto(restate.File_dev_restate_ext_proto.Imports().Get(0).FileDescriptor),
			protodesc.ToFileDescriptorProto(restate.File_dev_restate_ext_proto),
			{
				Name: proto.String("test.proto"), Package: proto.String("test"), Syntax: proto.String("proto3"),
				Dependency:  []string{restate.File_dev_restate_ext_proto.Path()},
				MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Message"), Field: []*descriptorpb.FieldDescriptorProto{key}}},
				Service:     []*descriptorpb.ServiceDescriptorProto{service},
			},
		}},
	})
	require.NoError(t, err)
	discovered, err := schema.ReadDescriptors(body)
	require.NoError(t, err)
	_, _, err = schema.NewWriter(conn).Register(t.Context(), schema.Registration{
		Endpoint: schema.Endpoint{URI: "http://endpoint/"}, Discovery: discovered,
	})
	require.NoError(t, err)
}

// invoke appends a call of Counter/Add whose result goes to the ingress, as request 1.
func (c *cluster) invoke(t *testing.T, ingress string) {
	t.Helper()
	c.invokeAt(t, ingress, time.Time{})
}

// invokeAt appends a call that begins at the time, at once if that is zero.
func (c *cluster) invokeAt(t *testing.T, ingress string, begin time.Time) {
	t.Helper()
	service, ok := c.registry.Current().Service("test.Counter")
	require.True(t, ok)
	argument := []byte{1<<3 | 2, 1, 'k'}
	resolved, err := service.Resolve(schema.Call{Method: "Add", Payload: argument})
	require.NoError(t, err)
	c.append(t, &logv1.Batch{Producer: ingress, ProposedAt: 1, Records: []*logv1.Record{{
		Sequence: 1, Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{
			InvocationId: resolved.ID[:], Target: resolved.Target, Argument: argument,
			ExecutionTime: uint64(max(begin.UnixMilli(), 0)),
			ResponseSink: &logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{
				Ingress: &logv1.IngressSink{IngressId: ingress, RequestId: 1},
			}},
		}},
	}}})
}

// append publishes a batch to the log.
func (c *cluster) append(t *testing.T, records *logv1.Batch) {
	t.Helper()
	batch, err := proto.Marshal(records)
	require.NoError(t, err)
	_, err = c.conn.JS.Publish(t.Context(), cmdlog.Subject(0), batch)
	require.NoError(t, err)
}

// lease is one that is never lost.
type lease struct{}

func (lease) Lost() <-chan struct{} { return nil }
func (lease) Release()              {}

// campaign gives the lease as often as told, to whoever asks.
func campaign(times int) func(context.Context) (leadership.Lease, error) {
	return func(ctx context.Context) (leadership.Lease, error) {
		if times == 0 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		times--
		return lease{}, nil
	}
}

func (c *cluster) head(t *testing.T) uint64 {
	t.Helper()
	last, _, err := cmdlog.Head(t.Context(), c.conn, 0)
	require.NoError(t, err)
	return last
}

// worker is what one worker has of the partition.
type worker struct {
	space      *gate
	leadership *leadership.Leadership
	processor  *partition.Processor
	attempts   chan *attempt
	figures    *prometheus.Registry
	stop       func()
}

// gate is a space that lets nothing be committed while it is closed.
type gate struct {
	kv.Space
	mu sync.Mutex
	// lie has the next write succeed and say that it failed.
	lie atomic.Bool
}

func (g *gate) Write(b *kv.Batch) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.Space.Write(b)
	if g.lie.CompareAndSwap(true, false) {
		return errors.Join(err, errors.New("it may have been written"))
	}
	return err
}

// start starts a worker that gets the lease so many times.
func (c *cluster) start(t *testing.T, name string, terms int) *worker {
	t.Helper()
	return c.startCampaigning(t, name, campaign(terms))
}

func (c *cluster) startCampaigning(
	t *testing.T, name string, campaign func(context.Context) (leadership.Lease, error),
) *worker {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	w := &worker{space: &gate{Space: space}, attempts: make(chan *attempt, 8), figures: prometheus.NewRegistry()}
	w.leadership = leadership.New(leadership.Config{
		Layout: layout(), NodeID: name, TimerWindow: 8, Invoker: invoker.DefaultConfig(),
	}, leadership.Deps{
		Conn: c.conn, Space: w.space, Schema: c.registry.Current, Transport: func(*schema.Endpoint) http.RoundTripper { return w },
		InvokerMetrics: invoker.NewMetrics(w.figures), Tracer: noop.NewTracerProvider().Tracer(""),
		Log: log, Now: time.Now, Campaign: campaign,
	})
	w.processor = partition.New(partition.Config{Layout: layout()}, partition.Deps{
		Conn: c.conn, Space: w.space, Observer: w.leadership, Log: log, Metrics: partition.NewMetrics(w.figures),
	})
	require.NoError(t, w.leadership.Register(w.figures))
	stopProcessor := background(t, w.processor.Run)
	stopLeadership := background(t, func(ctx context.Context) error { return w.leadership.Run(ctx, w.processor) })
	w.stop = func() { stopLeadership(); stopProcessor() }
	return w
}

func (w *worker) awaitLeads(t *testing.T, leads bool) {
	t.Helper()
	await.True(t, await.Deadline, func() bool { return (w.leadership.Invoker() != nil) == leads }, "a change of the leader")
}

func (w *worker) awaitApplied(t *testing.T, sequence uint64) {
	t.Helper()
	await.True(t, await.Deadline, func() bool { return w.processor.Applied() >= sequence }, "the log to be applied")
}

// attempt is a call of the service. The test answers.
type attempt struct{ answer *io.PipeWriter }

// RoundTrip implements http.RoundTripper.
func (w *worker) RoundTrip(r *http.Request) (*http.Response, error) {
	body, answer := io.Pipe()
	context.AfterFunc(r.Context(), func() { _ = answer.CloseWithError(r.Context().Err()) })
	w.attempts <- &attempt{answer}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/restate"}}, Body: body, Request: r,
	}, r.Body.Close()
}

func (w *worker) nextAttempt(t *testing.T) *attempt {
	t.Helper()
	select {
	case a := <-w.attempts:
		return a
	case <-time.After(await.Deadline):
		t.Fatal("the service is not called")
		return nil
	}
}

// send sends entries: the state key x and the result, both with the value.
func (a *attempt) send(t *testing.T, value string) {
	t.Helper()
	text := append([]byte{byte(len(value))}, value...)
	state := frame.Frame{Type: v0.TypeSetState, Payload: append([]byte{1<<3 | 2, 1, 'x', 3<<3 | 2}, text...)}
	output := frame.Frame{Type: v0.TypeOutputStream, Payload: append([]byte{14<<3 | 2}, text...)}
	_, err := a.answer.Write(frame.Append(frame.Append(nil, state), output))
	if !errors.Is(err, context.Canceled) {
		require.NoError(t, err)
	}
	require.NoError(t, a.answer.Close())
}

// rows returns everything that the worker has committed.
func (w *worker) rows() map[string]string {
	rows := map[string]string{}
	iter := w.space.Scan(nil, nil)
	defer iter.Close()
	for iter.Next() {
		rows[string(bytes.Clone(iter.Key()))] = string(iter.Value())
	}
	return rows
}
