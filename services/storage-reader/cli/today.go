package cli

import (
	"strings"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

// commandOfToday decodes an entry that only today's SDKs have; nil for others.
func commandOfToday(entry *domainv1.Entry) *journalv1.Command {
	code := entry.GetHeader().GetCustom().GetCode()
	t := frame.Type(code) //nolint:gosec // compared below
	if uint32(t) != code || v5.CommandName(t) == "" {
		return nil
	}
	decoded, err := v5.MaxVersion.Decode(frame.Frame{Type: t, Payload: entry.GetRawEntry()})
	command, ok := decoded.(*journalv1.Command)
	if err != nil || !ok {
		return nil
	}
	return command
}

// commandKind names a command in the way of those that 2023 had.
func commandKind(command *journalv1.Command) string {
	switch command.GetCommand().(type) {
	case *journalv1.Command_Run:
		return "run"
	case *journalv1.Command_ClearAllState:
		return "clear all state"
	case *journalv1.Command_GetStateKeys, *journalv1.Command_GetEagerStateKeys:
		return "get state keys"
	case *journalv1.Command_GetPromise:
		return "get promise"
	case *journalv1.Command_PeekPromise:
		return "peek promise"
	case *journalv1.Command_CompletePromise:
		return "complete promise"
	case *journalv1.Command_SendSignal:
		return "send signal"
	case *journalv1.Command_AttachInvocation:
		return "attach"
	case *journalv1.Command_GetInvocationOutput:
		return "get output"
	default:
		return "custom"
	}
}

// commandText shows the label of a command, its content, and its result if there is one.
func commandText(command *journalv1.Command, result *domainv1.CompletionResult) string {
	var parts []string
	for _, part := range []string{command.GetName(), commandDetails(command)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if result != nil {
		parts = append(parts, "->", settledText(result))
	}
	return strings.Join(parts, " ")
}

func commandDetails(command *journalv1.Command) string {
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_GetEagerStateKeys:
		keys := make([]string, len(c.GetEagerStateKeys.GetKeys()))
		for i, key := range c.GetEagerStateKeys.GetKeys() {
			keys[i] = bytesText(key)
		}
		return strings.Join(keys, " ")
	case *journalv1.Command_GetPromise:
		return c.GetPromise.GetKey()
	case *journalv1.Command_PeekPromise:
		return c.PeekPromise.GetKey()
	case *journalv1.Command_CompletePromise:
		return c.CompletePromise.GetKey() + " = " + outcomeText(c.CompletePromise.GetResult())
	case *journalv1.Command_SendSignal:
		signal := c.SendSignal.GetName()
		if i, ok := c.SendSignal.GetSignal().(*journalv1.SendSignal_Index); ok {
			signal = number(i.Index)
		}
		return c.SendSignal.GetTarget() + " " + signal + " = " + outcomeText(c.SendSignal.GetResult())
	case *journalv1.Command_AttachInvocation:
		return refText(c.AttachInvocation.GetInvocation())
	case *journalv1.Command_GetInvocationOutput:
		return refText(c.GetInvocationOutput.GetInvocation())
	default:
		return ""
	}
}

// refText shows an invocation as the handler named it.
func refText(ref *journalv1.InvocationRef) string {
	switch r := ref.GetRef().(type) {
	case *journalv1.InvocationRef_IdempotentRequest:
		of := r.IdempotentRequest
		target := of.GetService()
		if of.Key != nil {
			target += "/" + of.GetKey()
		}
		return target + "/" + of.GetHandler() + " with idempotency key " + of.GetIdempotencyKey()
	case *journalv1.InvocationRef_WorkflowRun:
		return r.WorkflowRun.GetWorkflow() + "/" + r.WorkflowRun.GetKey()
	default:
		return ref.GetId()
	}
}

func outcomeText(result *journalv1.Result) string {
	if f := result.GetFailure(); f != nil {
		return failureText(f.GetCode(), f.GetMessage())
	}
	return resultText(result.GetValue(), nil)
}

func settledText(result *domainv1.CompletionResult) string {
	if success := result.GetSuccess(); success != nil {
		return resultText(success.GetValue(), nil)
	}
	if result.GetFailure() != nil {
		return completionText(result)
	}
	return "(empty)"
}
