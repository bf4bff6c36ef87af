package embedded_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"

	"github.com/restate-go/restate/pkg/embedded"
	"github.com/restate-go/restate/pkg/keyspace"

	host "github.com/restate-go/restate/services/partition-worker/internal/embedded"
)

type led struct{ host *host.Host }

func (l led) Embedded() *host.Host { return l.host }

func TestServiceFindsTheHost(t *testing.T) {
	layout := keyspace.Layout{Partitions: 2}
	p := newPartition(t)
	partitions := []host.Partition{led{}, led{}}
	partitions[layout.PartitionOf(embedded.PartitionKey("op"))] = led{p.host}
	other := "other"
	for layout.PartitionOf(embedded.PartitionKey(other)) == layout.PartitionOf(embedded.PartitionKey("op")) {
		other += "x"
	}
	service := host.NewService(layout, partitions)
	for name, request := range map[string]func(operation, stream string) error{
		"Start": func(operation, stream string) error {
			_, err := service.Start(t.Context(), &restatev1.StartRequest{OperationId: operation, StreamId: stream})
			return err
		},
		"Send": func(operation, stream string) error {
			_, err := service.Send(t.Context(), &restatev1.SendRequest{OperationId: operation, StreamId: stream})
			return err
		},
		"Recv": func(operation, stream string) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := service.Recv(ctx, &restatev1.RecvRequest{OperationId: operation, StreamId: stream})
			if status.Code(err) == codes.Unavailable {
				return nil // it was about to wait
			}
			return err
		},
		"Ping": func(operation, stream string) error {
			_, err := service.Ping(t.Context(), &restatev1.PingRequest{OperationId: operation, StreamId: stream})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, request("op", "s"))
			for _, id := range []string{"", strings.Repeat("x", embedded.MaxIDBytes+1)} {
				require.Equal(t, codes.InvalidArgument, status.Code(request(id, "s")))
				require.Equal(t, codes.InvalidArgument, status.Code(request("op", id)))
			}
			require.Equal(t, codes.FailedPrecondition, status.Code(request(other, "s")))
		})
	}
	for name, request := range map[string]func(operation string) error{
		"GetResult": func(operation string) error {
			_, err := service.GetResult(t.Context(), &restatev1.GetResultRequest{OperationId: operation})
			return err
		},
		"Cleanup": func(operation string) error {
			answer, err := service.Cleanup(t.Context(), &restatev1.CleanupRequest{OperationId: operation})
			if err == nil {
				require.IsType(t, &emptypb.Empty{}, answer)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			unknown := "unknown"
			for layout.PartitionOf(embedded.PartitionKey(unknown)) != layout.PartitionOf(embedded.PartitionKey("op")) {
				unknown += "x"
			}
			require.NoError(t, request(unknown))
			require.Equal(t, codes.InvalidArgument, status.Code(request("")))
			require.Equal(t, codes.FailedPrecondition, status.Code(request(other)))
		})
	}
}

func TestOperationsRunInTheTraceOfTheirClient(t *testing.T) {
	p := newPartition(t)
	service := host.NewService(keyspace.Layout{Partitions: 1}, []host.Partition{led{p.host}})
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", parent, "tracestate", "a=b"))
	_, err := service.Start(ctx, &restatev1.StartRequest{OperationId: "op", StreamId: "s"})
	require.NoError(t, err)
	require.Equal(t, parent, p.record("op").GetSpanContext().GetTraceparent())
	require.Equal(t, "a=b", p.record("op").GetSpanContext().GetTracestate())
}

// FuzzSend sends anything: it is refused with a code, or stored in full and replayed.
func FuzzSend(f *testing.F) {
	f.Add(encode(sideEffect("1"), setState("k", "v"), getState("k"), awakeable()))
	f.Add(encode(call("dev.restate.Ingress"), output("out")))
	f.Add([]byte("\x08\x01\x00\x00\x00\x00\x00\x03\x0a\x01k"))
	f.Add([]byte("\xfc\x01\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, messages []byte) {
		p := newPartition(t)
		p.start("op", "s1")
		response, err := p.trySend("op", "s1", messages)
		switch status.Code(err) {
		case codes.OK:
			require.Equal(t, "ok", nameOf(response))
		case codes.InvalidArgument, codes.NotFound, codes.Unimplemented:
			require.Equal(t, uint32(1), p.record("op").GetCommandCount())
			require.Equal(t, "ok", p.ping("op", "s1"))
			return
		default:
			t.Fatalf("an unexpected code: %v", err)
		}
		sent, err := decodeAll(messages)
		require.NoError(t, err)
		again, err := p.host.Start(t.Context(), &restatev1.StartRequest{OperationId: "op", StreamId: "s2"}, nil)
		require.NoError(t, err)
		if again.GetCompleted() == nil {
			replayed := parse(t, again.GetExecuting())
			stored := len(replayed) - 2
			require.LessOrEqual(t, stored, len(sent))
			for i, frame := range replayed[2:] {
				require.Equal(t, sent[i].Type, frame.Type)
			}
		}
	})
}
