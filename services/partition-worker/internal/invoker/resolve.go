package invoker

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
)

// Resolver finds what the calls of one invocation go to, so that the state machine need not know the registry.
type Resolver struct {
	Schema *schema.Snapshot
	// SpanContext is what the callees run under; nil for none.
	SpanContext *journalv1.SpanContext
}

const (
	// maxStateKeys and maxStateKeyBytes bound what a handler gets when it asks for the keys of its state. To list them holds
	// up the partition, for about 100 ms at the most. A function on AWS Lambda can be sent the list as well.
	maxStateKeys     = 100_000
	maxStateKeyBytes = 4 << 20
)

// Resolve completes the command where it is a call, bounds what it asks for, and leaves others alone. The error is an
// *errcode.Error: the same call may succeed once the service is registered.
func (r Resolver) Resolve(command *journalv1.Command) error {
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_Call:
		if builtin, err := r.builtin(c.Call); builtin || err != nil {
			return err
		}
		return r.resolveRequest(c.Call.GetRequest())
	case *journalv1.Command_OneWayCall:
		return r.resolveRequest(c.OneWayCall.GetRequest())
	case *journalv1.Command_AttachInvocation:
		r.resolveRef(c.AttachInvocation.GetInvocation())
	case *journalv1.Command_GetInvocationOutput:
		r.resolveRef(c.GetInvocationOutput.GetInvocation())
	case *journalv1.Command_GetStateKeys:
		c.GetStateKeys.MaxKeys, c.GetStateKeys.MaxBytes = maxStateKeys, maxStateKeyBytes
	}
	return nil
}

// resolveRef finds the id of an invocation that is named by what was called.
func (r Resolver) resolveRef(ref *journalv1.InvocationRef) {
	switch named := ref.GetRef().(type) {
	case *journalv1.InvocationRef_WorkflowRun:
		run := named.WorkflowRun
		id := schema.WorkflowRunID(run.GetWorkflow(), run.GetKey(), run.Scope) //nolint:protogetter // nil differs from empty
		ref.InvocationId = id[:]
	case *journalv1.InvocationRef_IdempotentRequest:
		request := named.IdempotentRequest
		//nolint:protogetter // nil differs from empty
		id := schema.IdempotentID(request.GetService(), request.Key, request.GetHandler(), request.GetIdempotencyKey(), request.Scope)
		ref.InvocationId = id[:]
	case *journalv1.InvocationRef_Id:
	}
}

func (r Resolver) resolveRequest(request *journalv1.CallRequest) error {
	name, handler := request.GetTarget().GetService(), request.GetTarget().GetHandler()
	service, ok := r.Schema.Service(name)
	if !ok {
		return errcode.New(errcode.TargetNotFound, "the service calls %s/%s, and no service of that name is registered", name, handler)
	}
	resolved, err := service.Resolve(callOf(service, request))
	if err != nil {
		return errcode.Wrap(errcode.TargetNotFound, fmt.Errorf("the service calls %s/%s: %w", name, handler, err))
	}
	request.Target, request.InvocationId = resolved.Target, resolved.ID[:]
	request.CompletionRetention = uint64(resolved.CompletionRetention.Milliseconds()) //nolint:gosec // never negative
	request.JournalRetention = uint64(resolved.JournalRetention.Milliseconds())       //nolint:gosec // as above
	request.SpanContext = r.SpanContext
	return nil
}

// callOf names what a handler calls.
func callOf(service *schema.Service, request *journalv1.CallRequest) schema.Call {
	target := request.GetTarget()
	call := schema.Call{Method: target.GetHandler(), Payload: request.GetParameter(), LimitKey: target.GetLimitKey()}
	// On the wire, no key and the empty key are the same.
	if service.Kind != journalv1.ServiceKind_SERVICE_KIND_UNKEYED || len(target.GetKey()) > 0 {
		call.Key = new(string(target.GetKey()))
	}
	if scope := target.GetScope(); scope != "" {
		call.Scope = &scope
	}
	method, ok := service.Method(target.GetHandler())
	run := ok && service.Kind == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW && !method.Shared
	if !run { // the run of a workflow is repeated by its key alone
		call.IdempotencyKey = request.IdempotencyKey //nolint:protogetter // nil differs from empty
	}
	return call
}

const (
	awakeablesService = "dev.restate.Awakeables"
	ingressService    = "dev.restate.Ingress"
	// rejected is the failure code of an awakeable that is rejected by a call.
	rejected = 2
)

// builtin turns a call to one of the runtime's own services into what it stands for.
func (r Resolver) builtin(call *journalv1.Call) (bool, error) {
	target := call.GetRequest().GetTarget()
	parameter := call.GetRequest().GetParameter()
	switch target.GetService() + "/" + target.GetHandler() {
	case awakeablesService + "/Resolve":
		m := &restatev1.ResolveAwakeableRequest{}
		if err := unmarshal(parameter, m); err != nil {
			return true, err
		}
		value, err := resolution(m)
		if err != nil {
			return true, err
		}
		return true, complete(call, m.GetId(), &journalv1.Result{Result: &journalv1.Result_Value{Value: value}})
	case awakeablesService + "/Reject":
		m := &restatev1.RejectAwakeableRequest{}
		if err := unmarshal(parameter, m); err != nil {
			return true, err
		}
		return true, complete(call, m.GetId(), &journalv1.Result{Result: &journalv1.Result_Failure{
			Failure: &journalv1.Failure{Code: rejected, Message: m.GetReason()},
		}})
	case ingressService + "/Invoke":
		return true, r.invoke(call, parameter)
	}
	return false, nil
}

func unmarshal(parameter []byte, m proto.Message) error {
	if err := proto.Unmarshal(parameter, m); err != nil {
		return errcode.Wrap(errcode.TargetNotFound, fmt.Errorf("the argument of a call to the runtime: %w", err))
	}
	return nil
}

func resolution(m *restatev1.ResolveAwakeableRequest) ([]byte, error) {
	switch r := m.GetResult().(type) {
	case *restatev1.ResolveAwakeableRequest_BytesResult:
		return r.BytesResult, nil
	case *restatev1.ResolveAwakeableRequest_JsonResult:
		value, err := r.JsonResult.MarshalJSON()
		if err != nil {
			return nil, errcode.Wrap(errcode.TargetNotFound, err)
		}
		return value, nil
	default:
		return nil, errcode.New(errcode.TargetNotFound, "an awakeable is resolved without a result")
	}
}

func complete(call *journalv1.Call, awakeable string, result *journalv1.Result) error {
	id, index, err := ids.ParseAwakeable(awakeable)
	if err != nil {
		return errcode.Wrap(errcode.TargetNotFound, err)
	}
	call.BuiltinCompleteAwakeable = &journalv1.CompleteAwakeable{
		AwakeableId: awakeable, InvocationId: id[:], CompletionId: index, Result: result,
	}
	call.BuiltinResponse = []byte{} // an Empty message
	return nil
}

func (r Resolver) invoke(call *journalv1.Call, parameter []byte) error {
	m := &restatev1.InvokeRequest{}
	if err := unmarshal(parameter, m); err != nil {
		return err
	}
	if m.GetJson() != nil {
		return errcode.New(errcode.TargetNotFound, "a handler calls %s/Invoke with a JSON argument; it takes protobuf", ingressService)
	}
	request := &journalv1.CallRequest{
		Target:    &journalv1.Target{Service: m.GetService(), Handler: m.GetMethod()},
		Parameter: m.GetPb(),
	}
	if err := r.resolveRequest(request); err != nil {
		return err
	}
	id := ids.InvocationID(request.GetInvocationId())
	response, err := proto.Marshal(&restatev1.InvokeResponse{Id: id.String()})
	if err != nil {
		return err
	}
	call.BuiltinOneWayCall = &journalv1.OneWayCall{Request: request}
	call.BuiltinResponse = response
	return nil
}
