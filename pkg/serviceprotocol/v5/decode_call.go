package v5

import (
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

func (v Version) decodeCall(f frame.Frame, command *journalv1.Command) error {
	m := &wire.CallCommand{}
	if err := unmarshal(f, m); err != nil {
		return err
	}
	request, err := v.request(m, m.IdempotencyKey, m.Scope, m.LimitKey) // nil differs from empty
	if err != nil {
		return fmt.Errorf("call %.64s/%.64s: %w", m.GetServiceName(), m.GetHandlerName(), err)
	}
	command.Name, command.Command = m.GetName(), &journalv1.Command_Call{Call: &journalv1.Call{
		Request:                  request,
		CompletionId:             m.GetResultCompletionId(),
		InvocationIdCompletionId: m.GetInvocationIdNotificationIdx(),
	}}
	return nil
}

func (v Version) decodeOneWayCall(f frame.Frame, command *journalv1.Command) error {
	m := &wire.OneWayCallCommand{}
	if err := unmarshal(f, m); err != nil {
		return err
	}
	request, err := v.request(m, m.IdempotencyKey, m.Scope, m.LimitKey) // nil differs from empty
	if err != nil {
		return fmt.Errorf("send to %.64s/%.64s: %w", m.GetServiceName(), m.GetHandlerName(), err)
	}
	command.Name, command.Command = m.GetName(), &journalv1.Command_OneWayCall{OneWayCall: &journalv1.OneWayCall{
		Request:                  request,
		InvokeTime:               m.GetInvokeTime(),
		InvocationIdCompletionId: m.GetInvocationIdNotificationIdx(),
	}}
	return nil
}

// keyFromWire returns nil for the empty key: on the wire it does not differ from none.
func keyFromWire(key string) []byte {
	if key == "" {
		return nil
	}
	return []byte(key)
}

// called is what both commands that make a call have in common.
type called interface {
	GetServiceName() string
	GetHandlerName() string
	GetKey() string
	GetParameter() []byte
	GetHeaders() []*wire.Header
}

// request reads what is called, once what is optional has been checked.
func (v Version) request(m called, idempotencyKey, scope, limitKey *string) (*journalv1.CallRequest, error) {
	if idempotencyKey != nil && *idempotencyKey == "" {
		return nil, fmt.Errorf("%w: empty idempotency key", ErrRefused)
	}
	if err := v.checkScope(scope, limitKey); err != nil {
		return nil, err
	}
	target := &journalv1.Target{Service: m.GetServiceName(), Handler: m.GetHandlerName(), Key: keyFromWire(m.GetKey())}
	if scope != nil {
		target.Scope = *scope
	}
	if limitKey != nil {
		target.LimitKey = *limitKey
	}
	return &journalv1.CallRequest{
		Target: target, Parameter: m.GetParameter(), Headers: headersFromWire(m.GetHeaders()), IdempotencyKey: idempotencyKey,
	}, nil
}

// checkScope checks an optional scope and limit key.
func (v Version) checkScope(scope, limitKey *string) error {
	switch {
	case scope == nil && limitKey == nil:
		return nil
	case v < V7:
		return fmt.Errorf("%w: version %d of the protocol has neither scopes nor limit keys", frame.ErrViolation, v)
	case scope == nil:
		return fmt.Errorf("%w: limit key without scope", ErrScope)
	}
	if err := ids.CheckScope(*scope); err != nil {
		return fmt.Errorf("%w: %w", ErrScope, err)
	}
	if limitKey == nil {
		return nil
	}
	if err := ids.CheckLimitKey(*limitKey); err != nil {
		return fmt.Errorf("%w: %w", ErrScope, err)
	}
	return nil
}

// decodeAttach reads both commands that ask for the result of an invocation.
func (v Version) decodeAttach(f frame.Frame, command *journalv1.Command) error {
	m := &wire.AttachInvocationCommand{}
	if err := unmarshal(f, m); err != nil {
		return err
	}
	ref := &journalv1.InvocationRef{}
	var err error
	switch t := m.GetTarget().(type) {
	case *wire.AttachInvocationCommand_InvocationId:
		err = refByID(ref, t.InvocationId)
	case *wire.AttachInvocationCommand_IdempotentRequestTarget:
		err = v.refByRequest(ref, t.IdempotentRequestTarget)
	case *wire.AttachInvocationCommand_WorkflowTarget:
		err = v.refByWorkflow(ref, t.WorkflowTarget)
	default:
		return incomplete(f.Type, "an invocation")
	}
	command.Name = m.GetName()
	if f.Type == TypeAttachInvocation {
		command.Command = &journalv1.Command_AttachInvocation{
			AttachInvocation: &journalv1.AttachInvocation{Invocation: ref, CompletionId: m.GetResultCompletionId()},
		}
		return err
	}
	command.Command = &journalv1.Command_GetInvocationOutput{
		GetInvocationOutput: &journalv1.GetInvocationOutput{Invocation: ref, CompletionId: m.GetResultCompletionId()},
	}
	return err
}

func refByID(ref *journalv1.InvocationRef, text string) error {
	id, err := ids.ParseInvocationID(text)
	if err != nil {
		return fmt.Errorf("%w: attach to an invocation: %w", ErrRefused, err)
	}
	ref.Ref, ref.InvocationId = &journalv1.InvocationRef_Id{Id: text}, id[:]
	return nil
}

func (v Version) refByRequest(ref *journalv1.InvocationRef, t *wire.IdempotentRequestTarget) error {
	if t.GetIdempotencyKey() == "" {
		return fmt.Errorf("%w: attach to %.64s/%.64s with an empty idempotency key",
			ErrRefused, t.GetServiceName(), t.GetHandlerName())
	}
	ref.Ref = &journalv1.InvocationRef_IdempotentRequest{IdempotentRequest: &journalv1.IdempotentRequest{
		Service: t.GetServiceName(), Key: t.ServiceKey, Handler: t.GetHandlerName(), // nil differs from empty
		IdempotencyKey: t.GetIdempotencyKey(), Scope: t.Scope, // nil differs from empty
	}}
	return v.checkScope(t.Scope, nil) // nil differs from empty
}

func (v Version) refByWorkflow(ref *journalv1.InvocationRef, t *wire.WorkflowTarget) error {
	ref.Ref = &journalv1.InvocationRef_WorkflowRun{WorkflowRun: &journalv1.WorkflowRun{
		Workflow: t.GetWorkflowName(), Key: t.GetWorkflowKey(), Scope: t.Scope, // nil differs from empty
	}}
	return v.checkScope(t.Scope, nil) // nil differs from empty
}
