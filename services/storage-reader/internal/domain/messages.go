package domain

import (
	"google.golang.org/protobuf/types/known/emptypb"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
)

// SleepTimer is the end of a sleep.
func SleepTimer() *domainv1.Timer {
	return &domainv1.Timer{Value: &domainv1.Timer_CompleteSleepEntry{CompleteSleepEntry: &emptypb.Empty{}}}
}

// CallTimer is a delayed call that becomes due.
func CallTimer(due *domainv1.ServiceInvocation) *domainv1.Timer {
	return &domainv1.Timer{Value: &domainv1.Timer_Invoke{Invoke: due}}
}

// OutboxInvocation is a call on its way to another partition.
func OutboxInvocation(call *domainv1.ServiceInvocation) *domainv1.OutboxMessage {
	return &domainv1.OutboxMessage{OutboxMessage: &domainv1.OutboxMessage_ServiceInvocationCase{
		ServiceInvocationCase: &domainv1.OutboxMessage_OutboxServiceInvocation{ServiceInvocation: call},
	}}
}

// OutboxResponse is a result on its way to an invocation of another partition.
func OutboxResponse(receiver *domainv1.ServiceInvocationId, entry uint32, result *journalv1.Result) *domainv1.OutboxMessage {
	return &domainv1.OutboxMessage{OutboxMessage: &domainv1.OutboxMessage_ServiceInvocationResponse{
		ServiceInvocationResponse: &domainv1.OutboxMessage_OutboxServiceInvocationResponse{
			ServiceInvocationId: receiver, EntryIndex: entry, ResponseResult: responseResult(result),
		},
	}}
}

// OutboxIngress is a result on its way to an ingress.
func OutboxIngress(answered *domainv1.ServiceInvocationId, ingressID string, result *journalv1.Result) *domainv1.OutboxMessage {
	return &domainv1.OutboxMessage{OutboxMessage: &domainv1.OutboxMessage_IngressResponse{
		IngressResponse: &domainv1.OutboxMessage_OutboxIngressResponse{
			ServiceInvocationId: answered, IngressId: ingressID, ResponseResult: responseResult(result),
		},
	}}
}

func responseResult(result *journalv1.Result) *domainv1.ResponseResult {
	if f := result.GetFailure(); f != nil {
		return &domainv1.ResponseResult{ResponseResult: &domainv1.ResponseResult_ResponseFailure_{
			ResponseFailure: &domainv1.ResponseResult_ResponseFailure{
				FailureCode: v0.FoldCode(f.GetCode()), FailureMessage: []byte(f.GetMessage()),
			},
		}}
	}
	return &domainv1.ResponseResult{ResponseResult: &domainv1.ResponseResult_ResponseSuccess_{
		ResponseSuccess: &domainv1.ResponseResult_ResponseSuccess{Value: result.GetValue()},
	}}
}
