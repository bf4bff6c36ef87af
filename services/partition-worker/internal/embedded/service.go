package embedded

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/embedded"
	"github.com/restate-go/restate/pkg/keyspace"
)

// Partition is what the service asks of one partition.
type Partition interface {
	// Embedded returns nil when this worker does not lead the partition.
	Embedded() *Host
}

// Service implements dev.restate.internal.RemoteContext for the ingresses, which relay the requests of clients to the
// worker that leads. It answers FAILED_PRECONDITION, and has done nothing, where this worker does not.
type Service struct {
	restatev1.UnimplementedRemoteContextServer
	layout     keyspace.Layout
	partitions []Partition
}

// NewService returns the service over the partitions, in order.
func NewService(layout keyspace.Layout, partitions []Partition) *Service {
	return &Service{layout: layout, partitions: partitions}
}

// host returns who hosts the operation.
func (s *Service) host(operation string) (*Host, error) {
	if err := embedded.CheckID("operation_id", operation); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	partition := s.layout.PartitionOf(embedded.PartitionKey(operation))
	host := s.partitions[partition].Embedded()
	if host == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "this worker does not lead partition %d", partition)
	}
	return host, nil
}

// hostOf returns who hosts the operation of a stream.
func (s *Service) hostOf(operation, stream string) (*Host, error) {
	if err := embedded.CheckID("stream_id", stream); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return s.host(operation)
}

// Start implements RemoteContextServer.
func (s *Service) Start(ctx context.Context, request *restatev1.StartRequest) (*restatev1.StartResponse, error) {
	host, err := s.hostOf(request.GetOperationId(), request.GetStreamId())
	if err != nil {
		return nil, err
	}
	return host.Start(ctx, request, spanContext(ctx))
}

// Send implements RemoteContextServer.
func (s *Service) Send(ctx context.Context, request *restatev1.SendRequest) (*restatev1.SendResponse, error) {
	host, err := s.hostOf(request.GetOperationId(), request.GetStreamId())
	if err != nil {
		return nil, err
	}
	return host.Send(ctx, request)
}

// Recv implements RemoteContextServer.
func (s *Service) Recv(ctx context.Context, request *restatev1.RecvRequest) (*restatev1.RecvResponse, error) {
	host, err := s.hostOf(request.GetOperationId(), request.GetStreamId())
	if err != nil {
		return nil, err
	}
	return host.Recv(ctx, request)
}

// Ping implements RemoteContextServer.
func (s *Service) Ping(_ context.Context, request *restatev1.PingRequest) (*restatev1.SendResponse, error) {
	host, err := s.hostOf(request.GetOperationId(), request.GetStreamId())
	if err != nil {
		return nil, err
	}
	return host.Ping(request)
}

// GetResult implements RemoteContextServer.
func (s *Service) GetResult(ctx context.Context, request *restatev1.GetResultRequest) (*restatev1.GetResultResponse, error) {
	host, err := s.host(request.GetOperationId())
	if err != nil {
		return nil, err
	}
	return host.GetResult(ctx, request)
}

// Cleanup implements RemoteContextServer.
func (s *Service) Cleanup(ctx context.Context, request *restatev1.CleanupRequest) (*emptypb.Empty, error) {
	host, err := s.host(request.GetOperationId())
	if err != nil {
		return nil, err
	}
	return host.Cleanup(ctx, request)
}

// spanContext is what the ingress wants the operation to run under.
func spanContext(ctx context.Context) *journalv1.SpanContext {
	parents := metadata.ValueFromIncomingContext(ctx, "traceparent")
	if len(parents) == 0 {
		return nil
	}
	span := &journalv1.SpanContext{Traceparent: parents[0]}
	if states := metadata.ValueFromIncomingContext(ctx, "tracestate"); len(states) > 0 {
		span.Tracestate = states[0]
	}
	return span
}
