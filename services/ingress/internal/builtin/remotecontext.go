package builtin

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/embedded"
	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	"github.com/restate-go/restate/services/ingress/internal/invocation"
	"github.com/restate-go/restate/services/ingress/internal/relay"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
)

// Workers brings requests to the worker that leads a partition. Errors are *connect.Error.
type Workers interface {
	// At makes a request that may be repeated.
	At(ctx context.Context, partitionKey uint64, call relay.Call) error
	// OnceAt makes a request that reaches a worker once, or not at all.
	OnceAt(ctx context.Context, partitionKey uint64, call relay.Call) error
	// WaitAt makes a request that may be repeated, and that is given up when the ingress stops.
	WaitAt(ctx context.Context, partitionKey uint64, call relay.Call) error
}

// remoteContext returns the procedures of dev.restate.internal.RemoteContext, through which clients run handlers of
// their own. The worker serves them; what is done here is to find it.
func remoteContext(deps Deps) map[string]rpc.Func {
	workers := deps.Workers
	prefix := "/" + embedded.Service + "/"
	return map[string]rpc.Func{
		prefix + "Start":     traced(deps.Tracer, relayed(workers.At, restatev1.RemoteContextClient.Start)),
		prefix + "Send":      relayed(workers.OnceAt, restatev1.RemoteContextClient.Send),
		prefix + "Recv":      relayed(workers.WaitAt, restatev1.RemoteContextClient.Recv),
		prefix + "Ping":      relayed(workers.At, restatev1.RemoteContextClient.Ping),
		prefix + "GetResult": relayed(workers.WaitAt, restatev1.RemoteContextClient.GetResult),
		prefix + "Cleanup":   relayed(workers.At, restatev1.RemoteContextClient.Cleanup),
	}
}

// keyed is a request of the service: all have its key.
type keyed[M any] interface {
	*M
	proto.Message
	GetOperationId() string
}

// relayed returns a procedure that is answered by the worker.
func relayed[Request, Response any, R keyed[Request], A interface {
	*Response
	proto.Message
}](
	at func(context.Context, uint64, relay.Call) error,
	method func(restatev1.RemoteContextClient, context.Context, *Request, ...grpc.CallOption) (*Response, error),
) rpc.Func {
	return func(ctx context.Context, request *connect.Request[rpc.Message]) (*connect.Response[rpc.Message], error) {
		message := R(new(Request))
		if err := decode(request.Msg, message); err != nil {
			return nil, err
		}
		if span := trace.SpanFromContext(ctx); span.IsRecording() {
			id := embedded.InvocationID(message.GetOperationId())
			span.SetAttributes(attribute.String("restate.invocation.id", id.String()))
		}
		var response A
		if err := at(ctx, embedded.PartitionKey(message.GetOperationId()),
			func(ctx context.Context, worker restatev1.RemoteContextClient) (err error) {
				response, err = method(worker, ctx, message)
				return err
			}); err != nil {
			return nil, err
		}
		return answer(request.Msg, response)
	}
}

// traced lets the operation that a procedure starts run in the caller's trace.
func traced(tracer trace.Tracer, next rpc.Func) rpc.Func {
	tracing := invocation.NewTracing(tracer, "grpc", embedded.Service, embedded.Method)
	return func(ctx context.Context, request *connect.Request[rpc.Message]) (*connect.Response[rpc.Message], error) {
		ctx, span := tracing.Start(ctx, request.Header())
		if parent := invocation.ContextOf(ctx); parent != nil {
			ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", parent.GetTraceparent(), "tracestate", parent.GetTracestate())
		}
		response, err := next(ctx, request)
		span.End(err)
		return response, err
	}
}

// decode reads a request in the encoding of its caller. The error is a *connect.Error.
func decode(message *rpc.Message, request proto.Message) error {
	unmarshal := proto.Unmarshal
	if message.JSON {
		unmarshal = protojson.Unmarshal
	}
	if err := unmarshal(message.Data, request); err != nil {
		return connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("the request is not a %s: %w", request.ProtoReflect().Descriptor().FullName(), err))
	}
	return nil
}
