// Package domain puts what the runtime stores into the messages of dev.restate.storage.domain.v1.
package domain

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// InvocationID names an invocation of the target.
func InvocationID(id ids.InvocationID, target *journalv1.Target) *domainv1.ServiceInvocationId {
	named := ForgottenID(id)
	named.ServiceName = []byte(target.GetService())
	named.ServiceKey = storage.InstanceOf(id, target).Key
	return named
}

// ForgottenID names an invocation whose target is not known any more.
func ForgottenID(id ids.InvocationID) *domainv1.ServiceInvocationId {
	return &domainv1.ServiceInvocationId{InvocationId: uuidOf(id), PrintableId: proto.String(id.String())}
}

func uuidOf(id ids.InvocationID) []byte {
	u := id.UUID()
	return u[:]
}

// Invocation is a call that has not begun.
func Invocation(
	id ids.InvocationID, target *journalv1.Target, argument []byte, sink *domainv1.ServiceInvocationResponseSink,
	span *journalv1.SpanContext,
) *domainv1.ServiceInvocation {
	return &domainv1.ServiceInvocation{
		Id: InvocationID(id, target), MethodName: []byte(target.GetHandler()), Argument: argument,
		ResponseSink: sink, SpanContext: spanContext(span),
	}
}

// NoSink is for an invocation that nobody waits for.
func NoSink() *domainv1.ServiceInvocationResponseSink {
	return &domainv1.ServiceInvocationResponseSink{ResponseSink: &domainv1.ServiceInvocationResponseSink_None_{
		None: &domainv1.ServiceInvocationResponseSink_None{},
	}}
}

// IngressSink is for an invocation whose result an ingress waits for.
func IngressSink(ingressID string) *domainv1.ServiceInvocationResponseSink {
	return &domainv1.ServiceInvocationResponseSink{ResponseSink: &domainv1.ServiceInvocationResponseSink_Ingress_{
		Ingress: &domainv1.ServiceInvocationResponseSink_Ingress{IngressId: ingressID},
	}}
}

// CallerSink is for an invocation whose result completes an entry of another one's journal.
func CallerSink(caller *domainv1.ServiceInvocationId, entry uint32) *domainv1.ServiceInvocationResponseSink {
	return &domainv1.ServiceInvocationResponseSink{ResponseSink: &domainv1.ServiceInvocationResponseSink_PartitionProcessor_{
		PartitionProcessor: &domainv1.ServiceInvocationResponseSink_PartitionProcessor{Caller: caller, EntryIndex: entry},
	}}
}

// spanContext takes W3C trace context apart: version-traceid-spanid-flags, each in hex. What is not of that form is no
// context.
func spanContext(context *journalv1.SpanContext) *domainv1.SpanContext {
	parts := strings.Split(context.GetTraceparent(), "-")
	if len(parts) < 4 {
		return nil
	}
	traceID, err := hex.DecodeString(parts[1])
	if err != nil || len(traceID) != 16 {
		return nil
	}
	spanID, err := hex.DecodeString(parts[2])
	if err != nil || len(spanID) != 8 {
		return nil
	}
	flags, err := hex.DecodeString(parts[3])
	if err != nil || len(flags) != 1 {
		return nil
	}
	return &domainv1.SpanContext{
		TraceId: traceID, SpanId: binary.BigEndian.Uint64(spanID), TraceFlags: uint32(flags[0]), IsRemote: true,
		TraceState: context.GetTracestate(),
	}
}

// Status is an invocation that runs or is suspended.
func Status(
	id ids.InvocationID, invocation *storagev1.Invocation, sink *domainv1.ServiceInvocationResponseSink,
) *domainv1.InvocationStatus {
	meta := &domainv1.JournalMeta{
		MethodName: []byte(invocation.GetTarget().GetHandler()), Length: invocation.GetCommandCount(),
		SpanContext: spanContext(invocation.GetSpanContext()),
		EndpointId:  &domainv1.JournalMeta_None{None: &emptypb.Empty{}},
	}
	if pin := invocation.GetPin(); pin != nil {
		meta.EndpointId = &domainv1.JournalMeta_Value{Value: pin.GetEndpointId()}
	}
	if invocation.GetState() == storagev1.Invocation_STATE_SUSPENDED {
		return &domainv1.InvocationStatus{Status: &domainv1.InvocationStatus_Suspended_{
			Suspended: &domainv1.InvocationStatus_Suspended{
				InvocationId: uuidOf(id), JournalMeta: meta, ResponseSink: sink,
				CreationTime: invocation.GetCreatedAt(), ModificationTime: invocation.GetModifiedAt(),
				WaitingForCompletedEntries: waitingFor(invocation.GetAwaiting()),
			},
		}}
	}
	return &domainv1.InvocationStatus{Status: &domainv1.InvocationStatus_Invoked_{
		Invoked: &domainv1.InvocationStatus_Invoked{
			InvocationId: uuidOf(id), JournalMeta: meta, ResponseSink: sink,
			CreationTime: invocation.GetCreatedAt(), ModificationTime: invocation.GetModifiedAt(),
		},
	}}
}

// waitingFor lists the entries of which any one lets a suspended invocation go on.
func waitingFor(future *journalv1.Future) []uint32 {
	entries := slices.Concat(future.GetCompletions(), future.GetCommands())
	slices.Sort(entries)
	return slices.Compact(entries)
}
