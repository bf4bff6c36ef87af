package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/ids"
	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	"github.com/restate-go/restate/services/ingress/internal/invocation"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
	"github.com/restate-go/restate/services/ingress/internal/transcode"
)

// oneWay is a request of dev.restate.Ingress/Invoke.
type oneWay struct {
	service, method string
	// At most one of the two is set; none is an empty message.
	wire []byte
	json []byte
}

// invoke answers dev.restate.Ingress/Invoke: it starts an invocation, of a private service too, and answers with its id
// once it is durable.
func (s *services) invoke(ctx context.Context, request *connect.Request[rpc.Message]) (*connect.Response[rpc.Message], error) {
	call, err := parseOneWay(request.Msg)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	service, ok := s.deps.Snapshot().Service(call.service)
	if !ok || service.Descriptor == nil {
		return nil, connect.NewError(connect.CodeNotFound,
			fmt.Errorf("no service %q with protobuf messages is known", call.service))
	}
	method, ok := service.Method(call.method)
	if !ok {
		return nil, connect.NewError(connect.CodeNotFound,
			fmt.Errorf("the service %s has no method %q", call.service, call.method))
	}
	payload := call.wire
	if call.json != nil {
		types := transcode.Pool{File: service.Descriptor.ParentFile()}
		if payload, err = transcode.ToWire(method.Input, types, call.json); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("argument: %w", err))
		}
	}
	tracing := invocation.NewTracing(s.deps.Tracer, "grpc", service.Name, method.Name)
	ctx, span := tracing.Start(ctx, request.Header())
	invoke, err := invocation.Build(invocation.Request{
		Service:     service,
		Method:      method,
		Payload:     payload,
		Header:      request.Header(),
		SpanContext: invocation.ContextOf(ctx),
	})
	if err == nil {
		span.SetInvocation(ids.InvocationID(invoke.GetInvocationId()))
		err = s.deps.Dispatcher.Submit(ctx, invoke)
	}
	span.End(err)
	if err != nil {
		return nil, err
	}
	id := ids.InvocationID(invoke.GetInvocationId())
	return answer(request.Msg, &restatev1.InvokeResponse{Id: id.String()})
}

func parseOneWay(message *rpc.Message) (oneWay, error) {
	if message.JSON {
		return parseOneWayJSON(message.Data)
	}
	var request restatev1.InvokeRequest
	if err := proto.Unmarshal(message.Data, &request); err != nil {
		return oneWay{}, fmt.Errorf("the request is not a dev.restate.InvokeRequest: %w", err)
	}
	call := oneWay{service: request.GetService(), method: request.GetMethod(), wire: request.GetPb()}
	if object := request.GetJson(); object != nil {
		text, err := protojson.Marshal(object)
		if err != nil {
			return oneWay{}, fmt.Errorf("argument: %w", err)
		}
		call.json = text
	}
	return call, nil
}

func parseOneWayJSON(text []byte) (oneWay, error) {
	var service, method, pb, argument json.RawMessage
	err := parseObject(text,
		member{names: []string{"service"}, into: &service},
		member{names: []string{"method"}, into: &method},
		member{names: []string{"pb"}, into: &pb},
		// The second is the name that the documentation of the time gave.
		member{names: []string{"argument", "payload"}, into: &argument},
	)
	if err != nil {
		return oneWay{}, err
	}
	if pb != nil && argument != nil {
		return oneWay{}, errors.New("argument and pb exclude each other")
	}
	call := oneWay{json: argument}
	if call.service, err = parseString("service", service); err != nil {
		return oneWay{}, err
	}
	if call.method, err = parseString("method", method); err != nil {
		return oneWay{}, err
	}
	call.wire, err = parseBytes("pb", pb)
	return call, err
}
