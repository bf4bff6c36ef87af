package v5

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// AppendCommand appends a command as it is replayed. What the runtime has added to it is left out.
func (v Version) AppendCommand(dst []byte, command *journalv1.Command) ([]byte, error) {
	t, m := v.commandMessage(command)
	if m == nil {
		return nil, fmt.Errorf("command %T has no form in this protocol", command.GetCommand())
	}
	return appendMessage(dst, t, m)
}

func (v Version) commandMessage(command *journalv1.Command) (frame.Type, proto.Message) {
	name := command.GetName()
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_Input:
		return TypeInput, &wire.InputCommand{
			Headers: headersToWire(c.Input.GetHeaders()), Name: name, Value: valueToWire(c.Input.GetValue()),
		}
	case *journalv1.Command_Output:
		return v.output(name, c.Output)
	case *journalv1.Command_GetState:
		return TypeGetLazyState, &wire.GetLazyStateCommand{
			Key: c.GetState.GetKey(), ResultCompletionId: c.GetState.GetCompletionId(), Name: name,
		}
	case *journalv1.Command_SetState:
		return TypeSetState, &wire.SetStateCommand{Key: c.SetState.GetKey(), Value: valueToWire(c.SetState.GetValue()), Name: name}
	case *journalv1.Command_ClearState:
		return TypeClearState, &wire.ClearStateCommand{Key: c.ClearState.GetKey(), Name: name}
	case *journalv1.Command_ClearAllState:
		return TypeClearAllState, &wire.ClearAllStateCommand{Name: name}
	case *journalv1.Command_GetStateKeys:
		return TypeGetLazyStateKeys, &wire.GetLazyStateKeysCommand{ResultCompletionId: c.GetStateKeys.GetCompletionId(), Name: name}
	case *journalv1.Command_GetEagerState:
		return getEagerState(name, c.GetEagerState)
	case *journalv1.Command_GetEagerStateKeys:
		return TypeGetEagerStateKeys, &wire.GetEagerStateKeysCommand{
			Name: name, Value: &wire.StateKeys{Keys: c.GetEagerStateKeys.GetKeys()},
		}
	case *journalv1.Command_GetPromise:
		return TypeGetPromise, &wire.GetPromiseCommand{
			Key: c.GetPromise.GetKey(), ResultCompletionId: c.GetPromise.GetCompletionId(), Name: name,
		}
	case *journalv1.Command_PeekPromise:
		return TypePeekPromise, &wire.PeekPromiseCommand{
			Key: c.PeekPromise.GetKey(), ResultCompletionId: c.PeekPromise.GetCompletionId(), Name: name,
		}
	case *journalv1.Command_CompletePromise:
		return v.completePromise(name, c.CompletePromise)
	case *journalv1.Command_Sleep:
		return TypeSleep, &wire.SleepCommand{
			WakeUpTime: c.Sleep.GetWakeUpTime(), ResultCompletionId: c.Sleep.GetCompletionId(), Name: name,
		}
	case *journalv1.Command_Call:
		return v.call(name, c.Call)
	case *journalv1.Command_OneWayCall:
		return v.oneWayCall(name, c.OneWayCall)
	case *journalv1.Command_SendSignal:
		return v.sendSignal(name, c.SendSignal)
	case *journalv1.Command_Run:
		return TypeRun, &wire.RunCommand{ResultCompletionId: c.Run.GetCompletionId(), Name: name}
	case *journalv1.Command_AttachInvocation:
		return TypeAttachInvocation, v.attach(name, c.AttachInvocation.GetInvocation(), c.AttachInvocation.GetCompletionId())
	case *journalv1.Command_GetInvocationOutput:
		return TypeGetInvocationOutput, v.attach(name, c.GetInvocationOutput.GetInvocation(), c.GetInvocationOutput.GetCompletionId())
	case *journalv1.Command_CompleteAwakeable:
		return v.completeAwakeable(name, c.CompleteAwakeable)
	default:
		return 0, nil
	}
}

func (v Version) output(name string, c *journalv1.Output) (frame.Type, proto.Message) {
	m := &wire.OutputCommand{Name: name}
	if f := c.GetResult().GetFailure(); f != nil {
		m.Result = &wire.OutputCommand_Failure{Failure: v.failureToWire(f)}
	} else {
		m.Result = &wire.OutputCommand_Value{Value: valueToWire(c.GetResult().GetValue())}
	}
	return TypeOutput, m
}

func getEagerState(name string, c *journalv1.GetEagerState) (frame.Type, proto.Message) {
	m := &wire.GetEagerStateCommand{Key: c.GetKey(), Name: name}
	if r, ok := c.GetResult().GetResult().(*journalv1.Result_Value); ok {
		m.Result = &wire.GetEagerStateCommand_Value{Value: valueToWire(r.Value)}
	} else {
		m.Result = &wire.GetEagerStateCommand_Void{Void: &wire.Void{}}
	}
	return TypeGetEagerState, m
}

func (v Version) completePromise(name string, c *journalv1.CompletePromise) (frame.Type, proto.Message) {
	m := &wire.CompletePromiseCommand{Key: c.GetKey(), ResultCompletionId: c.GetCompletionId(), Name: name}
	if f := c.GetResult().GetFailure(); f != nil {
		m.Completion = &wire.CompletePromiseCommand_CompletionFailure{CompletionFailure: v.failureToWire(f)}
	} else {
		m.Completion = &wire.CompletePromiseCommand_CompletionValue{CompletionValue: valueToWire(c.GetResult().GetValue())}
	}
	return TypeCompletePromise, m
}

func (v Version) call(name string, c *journalv1.Call) (frame.Type, proto.Message) {
	r := c.GetRequest()
	if r == nil {
		return 0, nil
	}
	m := &wire.CallCommand{
		ServiceName:                 r.GetTarget().GetService(),
		HandlerName:                 r.GetTarget().GetHandler(),
		Parameter:                   r.GetParameter(),
		Headers:                     headersToWire(r.GetHeaders()),
		Key:                         string(r.GetTarget().GetKey()),
		IdempotencyKey:              r.IdempotencyKey, // nil differs from empty
		InvocationIdNotificationIdx: c.GetInvocationIdCompletionId(),
		ResultCompletionId:          c.GetCompletionId(),
		Name:                        name,
	}
	if v >= V7 {
		m.Scope, m.LimitKey = optional(r.GetTarget().GetScope()), optional(r.GetTarget().GetLimitKey())
	}
	return TypeCall, m
}

func (v Version) oneWayCall(name string, c *journalv1.OneWayCall) (frame.Type, proto.Message) {
	r := c.GetRequest()
	if r == nil {
		return 0, nil
	}
	m := &wire.OneWayCallCommand{
		ServiceName:                 r.GetTarget().GetService(),
		HandlerName:                 r.GetTarget().GetHandler(),
		Parameter:                   r.GetParameter(),
		InvokeTime:                  c.GetInvokeTime(),
		Headers:                     headersToWire(r.GetHeaders()),
		Key:                         string(r.GetTarget().GetKey()),
		IdempotencyKey:              r.IdempotencyKey, // nil differs from empty
		InvocationIdNotificationIdx: c.GetInvocationIdCompletionId(),
		Name:                        name,
	}
	if v >= V7 {
		m.Scope, m.LimitKey = optional(r.GetTarget().GetScope()), optional(r.GetTarget().GetLimitKey())
	}
	return TypeOneWayCall, m
}

func (v Version) sendSignal(name string, c *journalv1.SendSignal) (frame.Type, proto.Message) {
	m := &wire.SendSignalCommand{TargetInvocationId: c.GetTarget(), EntryName: name}
	switch s := c.GetSignal().(type) {
	case *journalv1.SendSignal_Index:
		m.SignalId = &wire.SendSignalCommand_Idx{Idx: s.Index}
	case *journalv1.SendSignal_Name:
		m.SignalId = &wire.SendSignalCommand_Name{Name: s.Name}
	}
	switch r := c.GetResult().GetResult().(type) {
	case *journalv1.Result_Value:
		m.Result = &wire.SendSignalCommand_Value{Value: valueToWire(r.Value)}
	case *journalv1.Result_Failure:
		m.Result = &wire.SendSignalCommand_Failure{Failure: v.failureToWire(r.Failure)}
	default:
		m.Result = &wire.SendSignalCommand_Void{Void: &wire.Void{}}
	}
	return TypeSendSignal, m
}

func (v Version) attach(name string, ref *journalv1.InvocationRef, completionID uint32) proto.Message {
	m := &wire.AttachInvocationCommand{ResultCompletionId: completionID, Name: name}
	switch t := ref.GetRef().(type) {
	case *journalv1.InvocationRef_Id:
		m.Target = &wire.AttachInvocationCommand_InvocationId{InvocationId: t.Id}
	case *journalv1.InvocationRef_IdempotentRequest:
		r := t.IdempotentRequest
		target := &wire.IdempotentRequestTarget{
			ServiceName: r.GetService(), ServiceKey: r.Key, HandlerName: r.GetHandler(), // nil differs from empty
			IdempotencyKey: r.GetIdempotencyKey(),
		}
		if v >= V7 {
			target.Scope = r.Scope // nil differs from empty
		}
		m.Target = &wire.AttachInvocationCommand_IdempotentRequestTarget{IdempotentRequestTarget: target}
	case *journalv1.InvocationRef_WorkflowRun:
		target := &wire.WorkflowTarget{WorkflowName: t.WorkflowRun.GetWorkflow(), WorkflowKey: t.WorkflowRun.GetKey()}
		if v >= V7 {
			target.Scope = t.WorkflowRun.Scope // nil differs from empty
		}
		m.Target = &wire.AttachInvocationCommand_WorkflowTarget{WorkflowTarget: target}
	}
	return m
}

func (v Version) completeAwakeable(name string, c *journalv1.CompleteAwakeable) (frame.Type, proto.Message) {
	m := &wire.CompleteAwakeableCommand{AwakeableId: c.GetAwakeableId(), Name: name}
	if f := c.GetResult().GetFailure(); f != nil {
		m.Result = &wire.CompleteAwakeableCommand_Failure{Failure: v.failureToWire(f)}
	} else {
		m.Result = &wire.CompleteAwakeableCommand_Value{Value: valueToWire(c.GetResult().GetValue())}
	}
	return TypeCompleteAwakeable, m
}
