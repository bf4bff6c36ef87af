// Package invocation turns a request into the record that starts its invocation.
package invocation

import (
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"github.com/restate-go/restate/pkg/schema"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	"github.com/restate-go/restate/services/ingress/internal/transcode"
)

// Request is a call of a method as it came in.
type Request struct {
	Service *schema.Service
	Method  *schema.Method
	// Payload is the request message in its wire form. The record keeps it.
	Payload []byte
	// Header of the HTTP request, for the idempotency headers.
	Header http.Header
	// SpanContext that the invocation runs under; nil when it is not traced.
	SpanContext *journalv1.SpanContext
}

// Build checks the request and returns its record. Errors are *connect.Error.
func Build(request Request) (*logv1.Invoke, error) {
	if err := transcode.Check(request.Method.Input, request.Payload); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	resolved, err := request.Service.Resolve(schema.Call{Method: request.Method.Name, Payload: request.Payload})
	switch {
	case errors.Is(err, schema.ErrUnknownMethod):
		return nil, connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, schema.ErrKey):
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	case err != nil:
		return nil, connect.NewError(connect.CodeInternal,
			fmt.Errorf("resolve %s/%s: %w", request.Service.Name, request.Method.Name, err))
	}
	target, id := resolved.Target, resolved.ID
	invoke := &logv1.Invoke{Target: target, Argument: request.Payload, SpanContext: request.SpanContext}
	once, err := idempotencyOf(request.Header)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if once.key != "" {
		id = once.invocationID(target, id)
		invoke.CompletionRetention = once.retention
	}
	invoke.InvocationId = id[:]
	return invoke, nil
}
