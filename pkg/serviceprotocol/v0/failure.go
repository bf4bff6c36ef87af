package v0

import (
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

// The codes of failures that are needed by name; they are those of gRPC.
const (
	codeUnknown           = 2
	codeInvalidArgument   = 3
	codeDeadlineExceeded  = 4
	codeNotFound          = 5
	codePermissionDenied  = 7
	codeResourceExhausted = 8
	codeAborted           = 10
	codeInternal          = 13
	codeUnavailable       = 14
	codeUnauthenticated   = 16
	maxCode               = 16
)

// FoldCode turns a failure code of the journal into one that this generation's users know. What the engine makes up
// has codes as in HTTP; a code that a handler made up becomes unknown.
func FoldCode(code uint32) uint32 {
	switch {
	case code >= 1 && code <= maxCode:
		return code
	case code == 400:
		return codeInvalidArgument
	case code == 401:
		return codeUnauthenticated
	case code == 403:
		return codePermissionDenied
	case code == 404:
		return codeNotFound
	case code == 408:
		return codeDeadlineExceeded
	case code == 409:
		return codeAborted
	case code == 429:
		return codeResourceExhausted
	case code == 500:
		return codeInternal
	case code == 503:
		return codeUnavailable
	default:
		return codeUnknown
	}
}

// failureFromWire reads what a handler failed with. Codes that this generation does not have are unknown, so that
// nothing a handler makes up is taken for one of the engine's own.
func failureFromWire(f *protocol.Failure) *journalv1.Failure {
	code := f.GetCode()
	if code < 1 || code > maxCode {
		code = codeUnknown
	}
	return &journalv1.Failure{Code: code, Message: f.GetMessage()}
}

func failureToWire(f *journalv1.Failure) *protocol.Failure {
	return &protocol.Failure{Code: FoldCode(f.GetCode()), Message: f.GetMessage()}
}
