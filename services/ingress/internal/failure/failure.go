// Package failure turns the failures of the runtime into the closed set of codes that gRPC and Connect know.
package failure

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/restate-go/restate/pkg/dispatch"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

// Code returns the code that a caller sees for a code of the journal: 1 to 16 are what the service said, the engine's
// own are HTTP-like. Whatever else a service makes up is unknown.
func Code(code uint32) connect.Code {
	switch code {
	case 404:
		return connect.CodeNotFound
	case 408:
		return connect.CodeDeadlineExceeded
	case 409:
		return connect.CodeAborted
	case 429:
		return connect.CodeResourceExhausted
	case 500:
		return connect.CodeInternal
	case 503:
		return connect.CodeUnavailable
	}
	if code >= uint32(connect.CodeCanceled) && code <= uint32(connect.CodeUnauthenticated) {
		return connect.Code(code)
	}
	return connect.CodeUnknown
}

// Of returns the error that a failed invocation is answered with.
func Of(f *journalv1.Failure) *connect.Error {
	return connect.NewError(Code(f.GetCode()), errors.New(f.GetMessage()))
}

// OfDispatch returns the error that a request is answered with that got no result.
func OfDispatch(err error) *connect.Error {
	code := connect.CodeUnavailable
	switch {
	case errors.Is(err, dispatch.ErrTooLarge), errors.Is(err, dispatch.ErrTooManyWait):
		code = connect.CodeResourceExhausted
	case errors.Is(err, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	}
	return connect.NewError(code, err)
}
