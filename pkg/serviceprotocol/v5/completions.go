package v5

import (
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// Completions has the completion ids that the commands of one journal have named, and the types of the frames that answer
// them. The journal itself does not tell those.
type Completions map[uint32]frame.Type

// Add notes the ids that a command names. An id that is not new is refused, with an error that wraps frame.ErrViolation.
func (c Completions) Add(command *journalv1.Command) error {
	switch m := command.GetCommand().(type) {
	case *journalv1.Command_GetState:
		return c.add(m.GetState.GetCompletionId(), TypeGetLazyStateCompletion)
	case *journalv1.Command_GetStateKeys:
		return c.add(m.GetStateKeys.GetCompletionId(), TypeGetLazyStateKeysCompletion)
	case *journalv1.Command_GetPromise:
		return c.add(m.GetPromise.GetCompletionId(), TypeGetPromiseCompletion)
	case *journalv1.Command_PeekPromise:
		return c.add(m.PeekPromise.GetCompletionId(), TypePeekPromiseCompletion)
	case *journalv1.Command_CompletePromise:
		return c.add(m.CompletePromise.GetCompletionId(), TypeCompletePromiseCompletion)
	case *journalv1.Command_Sleep:
		return c.add(m.Sleep.GetCompletionId(), TypeSleepCompletion)
	case *journalv1.Command_Call:
		if err := c.addCallee(m.Call.GetInvocationIdCompletionId()); err != nil {
			return err
		}
		return c.add(m.Call.GetCompletionId(), TypeCallCompletion)
	case *journalv1.Command_OneWayCall:
		return c.addCallee(m.OneWayCall.GetInvocationIdCompletionId())
	case *journalv1.Command_Run:
		return c.add(m.Run.GetCompletionId(), TypeRunCompletion)
	case *journalv1.Command_AttachInvocation:
		return c.add(m.AttachInvocation.GetCompletionId(), TypeAttachInvocationCompletion)
	case *journalv1.Command_GetInvocationOutput:
		return c.add(m.GetInvocationOutput.GetCompletionId(), TypeGetInvocationOutputCompletion)
	}
	return nil
}

// addCallee notes the id of a completion that not every call asks for.
func (c Completions) addCallee(id uint32) error {
	if id == 0 {
		return nil
	}
	return c.add(id, TypeCallInvocationIDCompletion)
}

func (c Completions) add(id uint32, t frame.Type) error {
	if id == 0 {
		return fmt.Errorf("%w: command without a completion id", frame.ErrViolation)
	}
	if _, taken := c[id]; taken {
		return fmt.Errorf("%w: two commands with the completion id %d", frame.ErrViolation, id)
	}
	c[id] = t
	return nil
}
