package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"github.com/restate-go/restate/pkg/dispatch"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	"github.com/restate-go/restate/services/ingress/internal/admission"
)

// source tells apart who says that a request failed: clients retry by it.
type source string

const (
	sourceIngress    source = "ingress"
	sourceInvocation source = "invocation"
)

// Error is the answer to a request that failed.
type Error struct {
	// Status of the response.
	Status int `json:"-"`
	// Code is the status, or the code that the handler failed with.
	Code     uint32            `json:"code"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Source   source            `json:"source"`
}

func (e *Error) Error() string { return e.Message }

// refuse is an error of the ingress itself.
func refuse(status int, format string, args ...any) *Error {
	return &Error{
		Status: status, Code: uint32(status), //nolint:gosec // an HTTP status
		Message: fmt.Sprintf(format, args...), Source: sourceIngress,
	}
}

const (
	// statusNotReady says that an invocation is not over yet. It is not one of HTTP's; clients depend on it.
	statusNotReady = 470
	// What net/http sends as a final status.
	lowestStatus, highestStatus = 200, 999
)

// failed is the error of an invocation that ended with the failure.
func failed(f *journalv1.Failure) *Error {
	e := &Error{Status: http.StatusInternalServerError, Code: f.GetCode(), Message: f.GetMessage(), Source: sourceInvocation}
	if f.GetCode() >= lowestStatus && f.GetCode() <= highestStatus {
		e.Status = int(f.GetCode())
	}
	for _, entry := range f.GetMetadata() {
		if e.Metadata == nil {
			e.Metadata = map[string]string{}
		}
		e.Metadata[entry.GetKey()] = entry.GetValue()
	}
	return e
}

// refusedAtGate is the error of a request that was not let in.
func refusedAtGate(err error) *Error {
	if errors.Is(err, admission.ErrStopping) {
		return refuse(http.StatusServiceUnavailable, "%s", err)
	}
	return refuse(http.StatusTooManyRequests, "%s", err)
}

// unread is the error of a body that could not be read.
func unread(err error) *Error {
	message := err.Error()
	if coded := new(connect.Error); errors.As(err, &coded) {
		message = coded.Message()
	}
	switch connect.CodeOf(err) { //nolint:exhaustive // the reader of bodies gives no others
	case connect.CodeResourceExhausted:
		return refuse(http.StatusRequestEntityTooLarge, "%s", message)
	case connect.CodeDeadlineExceeded:
		return refuse(http.StatusRequestTimeout, "%s", message)
	}
	return refuse(http.StatusInternalServerError, "cannot read the body: %s", message)
}

// undone is the error of a request that got no answer from the partition.
func undone(err error) *Error {
	switch {
	case errors.Is(err, dispatch.ErrTooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "%s", err)
	case errors.Is(err, dispatch.ErrTooManyWait):
		return refuse(http.StatusTooManyRequests, "%s", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "%s", err)
	}
	return refuse(http.StatusServiceUnavailable, "%s", err)
}

// errorOf takes what is no Error for a fault.
func errorOf(err error) *Error {
	if own := new(Error); errors.As(err, &own) {
		return own
	}
	return refuse(http.StatusInternalServerError, "%s", err)
}

// write answers with the error.
func (e *Error) write(w http.ResponseWriter) {
	body, err := json.Marshal(e)
	if err != nil { // numbers and strings can always be written
		body = nil
	}
	w.Header().Set("X-Restate-Error-Source", string(e.Source))
	writeBody(w, e.Status, "application/json", body)
}
