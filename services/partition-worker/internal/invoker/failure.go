package invoker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// ErrRunOver is what a Source returns for a run that is not the invocation's current one any more.
var ErrRunOver = errors.New("the run is over")

var (
	errStopped      = errors.New("the attempt was stopped")
	errBacklog      = errors.New("more results arrived than are kept while the journal is read")
	errAbortTimeout = errors.New("the service sent nothing for too long, and did not suspend when it was asked to")
)

func isOver(err error) bool { return errors.Is(err, ErrRunOver) || errors.Is(err, errStopped) }

// codeOf returns the published code of an attempt's failure.
func codeOf(err error) errcode.Code {
	var service *protocol.ServiceError
	switch {
	case errors.As(err, &service) && service.Mismatch:
		return errcode.JournalMismatch
	case errors.As(err, &service):
		return errcode.ServiceFailed
	case errors.Is(err, errAbortTimeout):
		return errcode.AttemptAborted
	case errors.Is(err, protocol.ErrTooLarge) || errors.Is(err, cmdlog.ErrTooLarge):
		return errcode.MessageTooLarge
	case errors.Is(err, protocol.ErrViolation):
		return errcode.ProtocolViolated
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errcode.ServiceFailed
	case errors.Is(err, context.Canceled):
		return errcode.InvocationFailed
	}
	return errcode.Of(err, errcode.InvocationFailed)
}

// isHandlers says whether a handler that was given the journal may have a part in the failure with the code.
func isHandlers(code errcode.Code) bool {
	switch code {
	case errcode.MemoryExhausted, errcode.EndpointBusy, errcode.RequestTooLarge, errcode.VersionRefused, errcode.FunctionRefused:
		return false
	default:
		return true
	}
}

// maxLogged is how much of a failure goes to the log, in bytes.
const maxLogged = 2 << 10

// messageOf says what an attempt failed with, in so many words as are kept.
func messageOf(err error) string { return frame.Shorten(errcode.Message(err)) }

// busyError is an endpoint that asks to be left alone for a while.
type busyError struct {
	error
	after time.Duration
}

func (e *busyError) Unwrap() error { return e.error }

// longestBusy is for how long an endpoint may ask to be left alone, unless the retry policy pauses for longer. What answers
// may be something in its place, and one wrong answer is not to stop an invocation for years.
const longestBusy = time.Hour

// busyFor returns the failure of an endpoint that is busy, and tells in a header, in seconds, for how long; or does not.
func busyFor(reason error, retryAfter string, policy schema.RetryPolicy) error {
	seconds, err := strconv.ParseUint(retryAfter, 10, 31)
	if err != nil {
		return reason
	}
	return &busyError{reason, min(time.Duration(seconds)*time.Second, max(longestBusy, policy.MaxInterval))}
}

// wish is what the other side wants to become of an invocation whose attempt failed.
type wish struct {
	// delay is when it wants the next attempt, which then does not count as one of the retry policy.
	delay    *time.Duration
	behavior protocol.Behavior
	// free says that the attempt does not count, and the next one comes when the retry policy says.
	free bool
}

// shortestDelay keeps an endpoint that wants the next attempt at once, by itself or by its retry policy, from making the
// runtime do nothing else.
const shortestDelay = 10 * time.Millisecond

func wishOf(err error) wish {
	var service *protocol.ServiceError
	var busy *busyError
	switch {
	case errors.As(err, &service) && service.RetryDelay != nil:
		return wish{delay: new(max(*service.RetryDelay, shortestDelay)), behavior: service.Behavior}
	case errors.As(err, &service):
		return wish{behavior: service.Behavior}
	case errors.As(err, &busy):
		return wish{delay: new(max(busy.after, shortestDelay))}
	case errcode.Of(err, "") == errcode.MemoryExhausted:
		return wish{free: true} // others have it
	case errors.Is(err, errBacklog):
		return wish{delay: new(shortestDelay)} // the service has no part in it
	case errcode.Of(err, "") == errcode.FutureTooDeep || errcode.Of(err, "") == errcode.JournalTooLarge:
		return wish{behavior: protocol.BehaviorPause} // the next attempt would build the same
	}
	return wish{}
}

// codeInternal is what an invocation fails with when the failure of its last attempt has no code of a handler.
const codeInternal = 500

// failureOf is the result of an invocation whose last attempt failed so.
func failureOf(err error) *journalv1.Failure {
	var service *protocol.ServiceError
	if errors.As(err, &service) {
		return &journalv1.Failure{Code: service.Code, Message: service.Message}
	}
	return &journalv1.Failure{Code: codeInternal, Message: fmt.Sprintf("[%s] %s", codeOf(err), messageOf(err))}
}
