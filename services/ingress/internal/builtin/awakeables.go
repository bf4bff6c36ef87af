package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/restate-go/restate/pkg/ids"
	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
)

// completion is what an awakeable is to be completed with.
type completion struct {
	id     string
	result *journalv1.Result
}

// resolve answers dev.restate.Awakeables/Resolve.
func (s *services) resolve(ctx context.Context, request *connect.Request[rpc.Message]) (*connect.Response[rpc.Message], error) {
	return s.complete(ctx, request, parseResolve)
}

// reject answers dev.restate.Awakeables/Reject.
func (s *services) reject(ctx context.Context, request *connect.Request[rpc.Message]) (*connect.Response[rpc.Message], error) {
	return s.complete(ctx, request, parseReject)
}

// complete answers once the completion is durable. Whether somebody waits for it is not looked at: the invocation may
// have ended, or not have come to wait yet.
func (s *services) complete(
	ctx context.Context, request *connect.Request[rpc.Message], parse func(*rpc.Message) (completion, error),
) (*connect.Response[rpc.Message], error) {
	c, err := parse(request.Msg)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	id, index, err := ids.ParseAwakeable(c.id)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	err = s.deps.Dispatcher.Notify(ctx, &logv1.Notify{
		InvocationId: id[:],
		Notification: &journalv1.Notification{
			Id:     &journalv1.Notification_CompletionId{CompletionId: index},
			Result: c.result,
		},
		Awakeable: true,
	})
	if err != nil {
		return nil, err
	}
	return answer(request.Msg, &emptypb.Empty{})
}

var errNoResult = errors.New("json_result or bytes_result has to be given")

func parseResolve(message *rpc.Message) (completion, error) {
	if message.JSON {
		return parseResolveJSON(message.Data)
	}
	var request restatev1.ResolveAwakeableRequest
	if err := proto.Unmarshal(message.Data, &request); err != nil {
		return completion{}, fmt.Errorf("the request is not a dev.restate.ResolveAwakeableRequest: %w", err)
	}
	switch result := request.GetResult().(type) {
	case *restatev1.ResolveAwakeableRequest_BytesResult:
		return completion{id: request.GetId(), result: value(result.BytesResult)}, nil
	case *restatev1.ResolveAwakeableRequest_JsonResult:
		text, err := protojson.Marshal(result.JsonResult)
		if err != nil {
			return completion{}, fmt.Errorf("json_result: %w", err)
		}
		return completion{id: request.GetId(), result: value(compact(text))}, nil
	default:
		return completion{}, errNoResult
	}
}

func parseResolveJSON(text []byte) (completion, error) {
	var id, jsonResult, bytesResult json.RawMessage
	err := parseObject(text,
		member{names: []string{"id"}, into: &id},
		member{names: []string{"json_result", "jsonResult"}, into: &jsonResult, null: true},
		member{names: []string{"bytes_result", "bytesResult"}, into: &bytesResult},
	)
	if err != nil {
		return completion{}, err
	}
	c := completion{}
	if c.id, err = parseString("id", id); err != nil {
		return completion{}, err
	}
	switch {
	case jsonResult != nil && bytesResult != nil:
		return completion{}, errors.New("json_result and bytes_result exclude each other")
	case jsonResult != nil:
		c.result = value(compact(jsonResult))
	case bytesResult != nil:
		decoded, err := parseBytes("bytes_result", bytesResult)
		if err != nil {
			return completion{}, err
		}
		c.result = value(decoded)
	default:
		return completion{}, errNoResult
	}
	return c, nil
}

func parseReject(message *rpc.Message) (completion, error) {
	var request restatev1.RejectAwakeableRequest
	decode := proto.Unmarshal
	if message.JSON {
		decode = protojson.Unmarshal
	}
	if err := decode(message.Data, &request); err != nil {
		return completion{}, fmt.Errorf("the request is not a dev.restate.RejectAwakeableRequest: %w", err)
	}
	return completion{id: request.GetId(), result: &journalv1.Result{Result: &journalv1.Result_Failure{
		Failure: &journalv1.Failure{Code: uint32(connect.CodeUnknown), Message: request.GetReason()},
	}}}, nil
}

func value(data []byte) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: data}}
}

// compact removes the white space of a JSON text that is known to be valid.
func compact(text []byte) []byte {
	var out bytes.Buffer
	_ = json.Compact(&out, text)
	return out.Bytes()
}
