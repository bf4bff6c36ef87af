// Package builtin serves the procedures of the ingress that the runtime itself implements.
package builtin

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"go.opentelemetry.io/otel/trace"

	"github.com/restate-go/restate/pkg/schema"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
)

// Dispatcher makes records durable. It takes them over; errors are *connect.Error.
type Dispatcher interface {
	// Submit starts an invocation and returns when that is durable.
	Submit(ctx context.Context, invoke *logv1.Invoke) error
	// Notify completes an awakeable and returns when that is durable.
	Notify(ctx context.Context, notify *logv1.Notify) error
}

// Deps is what the procedures work with.
type Deps struct {
	// Snapshot returns the current services.
	Snapshot   func() *schema.Snapshot
	Dispatcher Dispatcher
	Workers    Workers
	// Tracer is nil where no traces are recorded.
	Tracer trace.Tracer
}

// Names of the services, for reflection and health.
const (
	IngressService    = "dev.restate.Ingress"
	AwakeablesService = "dev.restate.Awakeables"
)

type services struct{ deps Deps }

// Procedures returns the answers to the unary procedures by path.
func Procedures(deps Deps) map[string]rpc.Func {
	s := &services{deps: deps}
	procedures := remoteContext(deps)
	procedures["/"+IngressService+"/Invoke"] = s.invoke
	procedures["/"+AwakeablesService+"/Resolve"] = s.resolve
	procedures["/"+AwakeablesService+"/Reject"] = s.reject
	return procedures
}

// answer encodes a response as the request was.
func answer(request *rpc.Message, response proto.Message) (*connect.Response[rpc.Message], error) {
	if !request.JSON {
		data, err := proto.Marshal(response)
		if err != nil {
			return nil, fmt.Errorf("encode the answer: %w", err)
		}
		return connect.NewResponse(&rpc.Message{Data: data}), nil
	}
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(response)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return connect.NewResponse(&rpc.Message{Data: compact(text), JSON: true}), nil
}

// decodeBase64 takes both alphabets, with and without padding, as the JSON mapping of protobuf does.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(text, "=")
	if strings.ContainsAny(text, "-_") {
		return base64.RawURLEncoding.DecodeString(text)
	}
	return base64.RawStdEncoding.DecodeString(text)
}
