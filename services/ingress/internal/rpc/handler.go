// Package rpc adapts connect to calls whose message types are known only at run time: bodies pass through as bytes.
package rpc

import (
	"context"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
)

// Message is the body of a request or a response, in the encoding that the caller speaks.
type Message struct {
	// Data is owned by whoever holds the message.
	Data []byte
	// JSON tells JSON text from the protobuf wire form.
	JSON bool
}

// Func answers one call. The response has to be in the encoding of the request, and is not used by the function any
// more; an error that is not a *connect.Error reaches the caller as unknown.
type Func func(ctx context.Context, request *connect.Request[Message]) (*connect.Response[Message], error)

// NewHandler returns the handler of a procedure ("/service/method") for gRPC, gRPC-Web and Connect, each in binary and
// JSON, to be called through Serve, which bounds what is read: connect would say of a message that is too large that its size
// cannot be determined.
func NewHandler(procedure string, answer Func) http.Handler {
	observed := func(ctx context.Context, request *connect.Request[Message]) (*connect.Response[Message], error) {
		x := exchangeOf(ctx)
		x.body.done()
		response, err := answer(ctx, request)
		x.code = 0
		if err != nil {
			x.code = connect.CodeOf(err)
		}
		return response, err
	}
	options := append(Options(0),
		connect.WithCodec(codec{name: "proto"}),
		connect.WithCodec(codec{name: "json", json: true}),
		connect.WithCodec(codec{name: "json; charset=utf-8", json: true}),
	)
	return connect.NewUnaryHandler(procedure, observed, options...)
}

// Options are for handlers with generated types on the same port. Messages above maxBytes are refused with
// resource_exhausted; 0 is no limit.
func Options(maxBytes int) []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithReadMaxBytes(maxBytes),
		// The 2023 ingress neither offers nor takes compression; a body can then not grow when it is read.
		connect.WithCompression("gzip", nil, nil),
	}
}

// codec copies bodies. It replaces the codecs of connect under their names.
type codec struct {
	name string
	json bool
}

func (c codec) Name() string { return c.name }

// Unmarshal copies data, which belongs to a pool of connect.
func (c codec) Unmarshal(data []byte, message any) error {
	m, ok := message.(*Message)
	if !ok {
		return fmt.Errorf("cannot decode into %T", message)
	}
	m.Data = append(make([]byte, 0, len(data)), data...)
	m.JSON = c.json
	return nil
}

func (c codec) Marshal(message any) ([]byte, error) { return c.MarshalAppend(nil, message) }

// MarshalAppend is found by connect through a type assertion; it saves an allocation for each response.
func (c codec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	switch m := message.(type) {
	case *Message:
		return append(dst, m.Data...), nil
	case proto.Message:
		// Details of gRPC errors.
		return proto.MarshalOptions{}.MarshalAppend(dst, m)
	default:
		return nil, fmt.Errorf("cannot encode %T", message)
	}
}
