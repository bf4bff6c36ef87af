package ingress_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/embedded"
	"github.com/restate-go/restate/pkg/membership"
	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	"github.com/restate-go/restate/services/ingress"
)

// host stands in for the workers that host embedded handlers.
type host struct {
	restatev1.UnimplementedRemoteContextServer

	mu       sync.Mutex
	requests []proto.Message
	traces   []string
	waiting  int
}

func (h *host) got(ctx context.Context, request proto.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, request)
	h.traces = append(h.traces, metadata.ValueFromIncomingContext(ctx, "traceparent")...)
}

func (h *host) last() proto.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests[len(h.requests)-1]
}

func (h *host) Start(ctx context.Context, request *restatev1.StartRequest) (*restatev1.StartResponse, error) {
	h.got(ctx, request)
	return &restatev1.StartResponse{
		InvocationStatus: &restatev1.StartResponse_Executing{Executing: []byte("frames")}, StreamTimeoutSec: 60,
	}, nil
}

func (h *host) Send(ctx context.Context, request *restatev1.SendRequest) (*restatev1.SendResponse, error) {
	h.got(ctx, request)
	if string(request.GetMessages()) == "sleep" {
		return nil, status.Error(codes.Unimplemented, "an embedded handler cannot sleep")
	}
	return &restatev1.SendResponse{Response: &restatev1.SendResponse_Ok{Ok: &emptypb.Empty{}}}, nil
}

// Recv waits for ever.
func (h *host) Recv(ctx context.Context, request *restatev1.RecvRequest) (*restatev1.RecvResponse, error) {
	h.got(ctx, request)
	h.mu.Lock()
	h.waiting++
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.waiting--
	h.mu.Unlock()
	return nil, ctx.Err()
}

func (h *host) receivers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting
}

func (h *host) Ping(ctx context.Context, request *restatev1.PingRequest) (*restatev1.SendResponse, error) {
	h.got(ctx, request)
	return &restatev1.SendResponse{Response: &restatev1.SendResponse_InvalidStream{InvalidStream: &emptypb.Empty{}}}, nil
}

func (h *host) GetResult(ctx context.Context, request *restatev1.GetResultRequest) (*restatev1.GetResultResponse, error) {
	h.got(ctx, request)
	return &restatev1.GetResultResponse{
		Response: &restatev1.GetResultResponse_Failure{Failure: &restatev1.GetResultResponse_InvocationFailure{
			Code: 9, Message: "no",
		}},
		ExpiryTime: "2026-01-01T00:00:00Z",
	}, nil
}

func (h *host) Cleanup(ctx context.Context, request *restatev1.CleanupRequest) (*emptypb.Empty, error) {
	h.got(ctx, request)
	return &emptypb.Empty{}, nil
}

// startHost makes the host the leader of all partitions.
func startHost(t *testing.T, c *cluster) *host {
	t.Helper()
	h := &host{}
	server := grpc.NewServer()
	restatev1.RegisterRemoteContextServer(server, h)
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	running.Go(func() {
		_ = membership.Announce(ctx, c.conn, membership.Node{
			ID: "w", Role: membership.RoleWorker, GRPCAddr: listener.Addr().String(),
		}, log)
	})
	for partition := range uint32(partitions) {
		lease, err := membership.NewCandidate(c.conn, partition, "w", log).Campaign(ctx)
		require.NoError(t, err)
		t.Cleanup(lease.Release)
	}
	t.Cleanup(func() {
		cancel()
		server.Stop()
		running.Wait()
	})
	return h
}

func TestEmbeddedHandlersInJSON(t *testing.T) {
	c := newCluster(t)
	h := startHost(t, c)
	r := startIngress(t, c)
	const prefix = "/dev.restate.internal.RemoteContext/"
	for name, c := range map[string]struct {
		request, answer string
		relayed         proto.Message
	}{
		"Start": {
			`{"operation_id": "op", "streamId": "s", "retentionPeriodSec": 5, "argument": "aW4="}`,
			`{"executing":"ZnJhbWVz","streamTimeoutSec":60}`,
			&restatev1.StartRequest{OperationId: "op", StreamId: "s", RetentionPeriodSec: 5, Argument: []byte("in")},
		},
		"Send": {
			`{"operation_id": "op", "stream_id": "s", "messages": "eA=="}`, `{"ok":{}}`,
			&restatev1.SendRequest{OperationId: "op", StreamId: "s", Messages: []byte("x")},
		},
		"Ping": {
			`{"operationId": "op", "streamId": "s"}`, `{"invalidStream":{}}`, &restatev1.PingRequest{OperationId: "op", StreamId: "s"},
		},
		"GetResult": {
			`{"operationId": "op"}`, `{"failure":{"code":9,"message":"no"},"expiryTime":"2026-01-01T00:00:00Z"}`,
			&restatev1.GetResultRequest{OperationId: "op"},
		},
		"Cleanup": {`{"operationId": "op"}`, `{}`, &restatev1.CleanupRequest{OperationId: "op"}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := post(t, r, prefix+name, c.request)
			require.Equal(t, 200, answer.status, answer.body)
			require.Equal(t, c.answer, answer.body)
			require.True(t, proto.Equal(c.relayed, h.last()), "%v", h.last())
		})
	}
	for body, code := range map[string]int{
		`{"operationId": "op", "streamId": "s", "messages": "c2xlZXA="}`: http.StatusNotImplemented,
		`{"operationId": "op", "unknown": 1}`:                            http.StatusBadRequest,
		`{"operationId": "op"`:                                           http.StatusBadRequest,
		`[]`:                                                             http.StatusBadRequest,
	} {
		answer := post(t, r, prefix+"Send", body)
		require.Equal(t, code, answer.status, answer.body)
	}
	require.Equal(t, http.StatusNotFound, post(t, r, prefix+"Steal", `{}`).status)
}

func TestEmbeddedHandlersInBinary(t *testing.T) {
	c := newCluster(t)
	h := startHost(t, c)
	r := startIngress(t, c)
	client := restatev1.NewRemoteContextClient(dial(t, r))
	for i := range 10 {
		// They are in different partitions.
		operation := fmt.Sprintf("op%d", i)
		started, err := client.Start(t.Context(), &restatev1.StartRequest{OperationId: operation, StreamId: "s"})
		require.NoError(t, err)
		require.Equal(t, "frames", string(started.GetExecuting()))
		require.True(t, proto.Equal(&restatev1.StartRequest{OperationId: operation, StreamId: "s"}, h.last()))
	}
	_, err := client.Send(t.Context(), &restatev1.SendRequest{OperationId: "op", StreamId: "s", Messages: []byte("sleep")})
	require.Equal(t, codes.Unimplemented, status.Code(err))

	// As the SDK sends it.
	body, err := proto.Marshal(&restatev1.PingRequest{OperationId: "op", StreamId: "s"})
	require.NoError(t, err)
	answer := do(t, h2c(t), http.MethodPost, r.url+"/dev.restate.internal.RemoteContext/Ping", "application/proto", string(body))
	require.Equal(t, 200, answer.status)
	response := &restatev1.SendResponse{}
	require.NoError(t, proto.Unmarshal([]byte(answer.body), response))
	require.NotNil(t, response.GetInvalidStream())
	answer = do(t, h2c(t), http.MethodPost, r.url+"/dev.restate.internal.RemoteContext/Ping", "application/proto", "\xff")
	require.Equal(t, http.StatusBadRequest, answer.status)
}

func TestEmbeddedHandlersRunInTheTraceOfTheirClient(t *testing.T) {
	c := newCluster(t)
	h := startHost(t, c)
	r := startIngress(t, c)
	answer := post(t, r, "/dev.restate.internal.RemoteContext/Start", `{"operationId": "op", "streamId": "s"}`, "Traceparent", callerParent)
	require.Equal(t, 200, answer.status, answer.body)
	require.Equal(t, []string{callerParent}, h.traces)

	recorder := tracetest.NewSpanRecorder()
	traced := startTraced(t, recorder)
	answer = post(t, traced, "/dev.restate.internal.RemoteContext/Start", `{"operationId": "op", "streamId": "s"}`, "Traceparent", callerParent)
	require.Equal(t, 200, answer.status, answer.body)
	await.True(t, await.Deadline, func() bool { return len(recorder.Ended()) == 1 }, "a span")
	span := recorder.Ended()[0]
	require.Equal(t, callerTrace, span.SpanContext().TraceID().String())
	require.Contains(t, span.Attributes(), attribute.String("restate.invocation.id", embedded.InvocationID("op").String()))
}

// startTraced starts an ingress, with a worker, whose spans the recorder gets.
func startTraced(t *testing.T, recorder *tracetest.SpanRecorder) *running {
	t.Helper()
	c := newCluster(t)
	startHost(t, c)
	return startIngress(t, c, withTracer(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")))
}

func TestRecvEndsWithItsCaller(t *testing.T) {
	c := newCluster(t)
	h := startHost(t, c)
	r := startIngress(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := send(ctx, h2c(t), http.MethodPost, r.url+"/dev.restate.internal.RemoteContext/Recv", "application/json", `{"operationId": "op", "streamId": "s"}`)
		done <- err
	}()
	await.True(t, await.Deadline, func() bool { return h.receivers() == 1 }, "Recv to wait")
	cancel()
	require.Error(t, <-done)
	await.True(t, await.Deadline, func() bool { return h.receivers() == 0 }, "the worker to learn of it")
}

// A client that waits for completions would otherwise hold the ingress up for as long as draining may take.
func TestRecvDoesNotHoldUpTheStop(t *testing.T) {
	c := newCluster(t)
	h := startHost(t, c)
	r := startIngress(t, c, withConfig(func(c *ingress.Config) { c.DrainTimeout = config.Duration(time.Hour) }))
	done := make(chan response, 1)
	go func() {
		answer, err := send(context.Background(), h2c(t), http.MethodPost, r.url+"/dev.restate.internal.RemoteContext/Recv",
			"application/json", `{"operationId": "op", "streamId": "s"}`)
		if err != nil {
			answer.body = err.Error()
		}
		done <- answer
	}()
	await.True(t, await.Deadline, func() bool { return h.receivers() == 1 }, "Recv to wait")
	require.NoError(t, r.stop())
	answer := <-done
	require.Equal(t, http.StatusServiceUnavailable, answer.status, answer.body)
}
