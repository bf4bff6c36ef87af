package invoker

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
)

const (
	// maxText bounds, in bytes, what a handler gives as a name or a key: rows have them in their keys, and memory for as
	// long as the invocation lives.
	maxText = schema.MaxKeyLength
	// maxHeaders is how many headers a call may have.
	maxHeaders = 1000
)

// checkLengths refuses a command with a name or a key that is too long, or too many headers. The error has a code.
func checkLengths(command *journalv1.Command) error {
	if err := checkText("name of a command", len(command.GetName())); err != nil {
		return err
	}
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_GetState:
		return checkText(stateKey, len(c.GetState.GetKey()))
	case *journalv1.Command_GetEagerState:
		return checkText(stateKey, len(c.GetEagerState.GetKey()))
	case *journalv1.Command_SetState:
		return checkText(stateKey, len(c.SetState.GetKey()))
	case *journalv1.Command_ClearState:
		return checkText(stateKey, len(c.ClearState.GetKey()))
	case *journalv1.Command_GetPromise:
		return checkText(promiseKey, len(c.GetPromise.GetKey()))
	case *journalv1.Command_PeekPromise:
		return checkText(promiseKey, len(c.PeekPromise.GetKey()))
	case *journalv1.Command_CompletePromise:
		return checkText(promiseKey, len(c.CompletePromise.GetKey()))
	case *journalv1.Command_SendSignal:
		return checkText("name of a signal", len(c.SendSignal.GetName()))
	case *journalv1.Command_Call:
		return checkHeaders(c.Call.GetRequest())
	case *journalv1.Command_OneWayCall:
		return checkHeaders(c.OneWayCall.GetRequest())
	}
	return nil
}

const (
	stateKey   = "key of the state"
	promiseKey = "key of a promise"
)

func checkText(what string, length int) error {
	if length > maxText {
		return errcode.New(errcode.CommandRefused, "the %s has %d bytes, and may have %d", what, length, maxText)
	}
	return nil
}

func checkHeaders(request *journalv1.CallRequest) error {
	if n := len(request.GetHeaders()); n > maxHeaders {
		return errcode.New(errcode.CommandRefused, "a call has %d headers, and may have %d", n, maxHeaders)
	}
	for _, header := range request.GetHeaders() {
		if err := checkText("header of a call", len(header.GetKey())+len(header.GetValue())); err != nil {
			return err
		}
	}
	return nil
}
