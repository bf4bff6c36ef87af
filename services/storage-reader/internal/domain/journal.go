package domain

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
	"github.com/restate-go/restate/pkg/storage"
)

// CompletionID returns the id under which the result of a command arrives; ok is false where none does.
func CompletionID(command *journalv1.Command) (id uint32, ok bool) {
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_GetState:
		return c.GetState.GetCompletionId(), true
	case *journalv1.Command_Sleep:
		return c.Sleep.GetCompletionId(), true
	case *journalv1.Command_Call:
		return c.Call.GetCompletionId(), true
	case *journalv1.Command_Awakeable:
		return c.Awakeable.GetCompletionId(), true
	case *journalv1.Command_GetStateKeys:
		return c.GetStateKeys.GetCompletionId(), true
	case *journalv1.Command_GetPromise:
		return c.GetPromise.GetCompletionId(), true
	case *journalv1.Command_PeekPromise:
		return c.PeekPromise.GetCompletionId(), true
	case *journalv1.Command_CompletePromise:
		return c.CompletePromise.GetCompletionId(), true
	case *journalv1.Command_Run:
		return c.Run.GetCompletionId(), true
	case *journalv1.Command_AttachInvocation:
		return c.AttachInvocation.GetCompletionId(), true
	case *journalv1.Command_GetInvocationOutput:
		return c.GetInvocationOutput.GetCompletionId(), true
	default:
		return 0, false
	}
}

// Entry is a step of a journal, with the result that completes it if that has arrived. A step that the protocol of the
// time cannot express is shown as a custom one, in the protocol of today; if that cannot either, its code is 0 and its
// content the restate.journal.v1.Command.
func Entry(command *journalv1.Command, result *journalv1.Result) (*domainv1.JournalEntry, error) {
	header := headerOf(command, result != nil)
	if header == nil {
		return entryOfToday(command, result)
	}
	frame, err := v0.EncodeCommand(command, result)
	if err != nil {
		return nil, err
	}
	return entry(header, frame.Payload), nil
}

func entryOfToday(command *journalv1.Command, result *journalv1.Result) (*domainv1.JournalEntry, error) {
	if encoded, err := v5.MaxVersion.AppendCommand(nil, command); err == nil {
		code := binary.BigEndian.Uint16(encoded)
		header := custom(uint32(code), command.GetAckRequested())
		if _, awaited := CompletionID(command); awaited {
			header.GetCustom().IsCompleted = proto.Bool(result != nil)
		}
		row := entry(header, encoded[frame.HeaderSize:])
		row.GetEntry().Completion = completionOf(result)
		return row, nil
	}
	raw, err := proto.Marshal(command)
	if err != nil {
		return nil, fmt.Errorf("encode a step of a journal: %w", err)
	}
	return entry(custom(0, command.GetAckRequested()), raw), nil
}

// completionOf returns nil where nothing has arrived that is a value, void or a failure.
func completionOf(result *journalv1.Result) *domainv1.CompletionResult {
	switch r := result.GetResult().(type) {
	case *journalv1.Result_Value:
		return &domainv1.CompletionResult{Result: &domainv1.CompletionResult_Success_{
			Success: &domainv1.CompletionResult_Success{Value: r.Value},
		}}
	case *journalv1.Result_Failure:
		return &domainv1.CompletionResult{Result: &domainv1.CompletionResult_Failure_{
			Failure: &domainv1.CompletionResult_Failure{ErrorCode: r.Failure.GetCode(), Message: []byte(r.Failure.GetMessage())},
		}}
	case *journalv1.Result_Void:
		return &domainv1.CompletionResult{Result: &domainv1.CompletionResult_Empty_{Empty: &domainv1.CompletionResult_Empty{}}}
	default:
		return nil
	}
}

func entry(header *domainv1.EnrichedEntryHeader, raw []byte) *domainv1.JournalEntry {
	return &domainv1.JournalEntry{Kind: &domainv1.JournalEntry_Entry{Entry: &domainv1.Entry{Header: header, RawEntry: raw}}}
}

func custom(code uint32, ack bool) *domainv1.EnrichedEntryHeader {
	return &domainv1.EnrichedEntryHeader{Kind: &domainv1.EnrichedEntryHeader_Custom_{
		Custom: &domainv1.EnrichedEntryHeader_Custom{Code: code, RequiresAck: ack},
	}}
}

// headerOf returns nil for a command that the protocol of the time does not have.
func headerOf(command *journalv1.Command, completed bool) *domainv1.EnrichedEntryHeader {
	h := &domainv1.EnrichedEntryHeader{}
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_Input:
		h.Kind = &domainv1.EnrichedEntryHeader_PollInputStream_{
			PollInputStream: &domainv1.EnrichedEntryHeader_PollInputStream{IsCompleted: true},
		}
	case *journalv1.Command_Output:
		h.Kind = &domainv1.EnrichedEntryHeader_OutputStream_{OutputStream: &domainv1.EnrichedEntryHeader_OutputStream{}}
	case *journalv1.Command_GetState:
		h.Kind = &domainv1.EnrichedEntryHeader_GetState_{
			GetState: &domainv1.EnrichedEntryHeader_GetState{IsCompleted: completed},
		}
	case *journalv1.Command_GetEagerState:
		h.Kind = &domainv1.EnrichedEntryHeader_GetState_{GetState: &domainv1.EnrichedEntryHeader_GetState{IsCompleted: true}}
	case *journalv1.Command_SetState:
		h.Kind = &domainv1.EnrichedEntryHeader_SetState_{SetState: &domainv1.EnrichedEntryHeader_SetState{}}
	case *journalv1.Command_ClearState:
		h.Kind = &domainv1.EnrichedEntryHeader_ClearState_{ClearState: &domainv1.EnrichedEntryHeader_ClearState{}}
	case *journalv1.Command_Sleep:
		h.Kind = &domainv1.EnrichedEntryHeader_Sleep_{Sleep: &domainv1.EnrichedEntryHeader_Sleep{IsCompleted: completed}}
	case *journalv1.Command_Call:
		h.Kind = &domainv1.EnrichedEntryHeader_Invoke_{Invoke: &domainv1.EnrichedEntryHeader_Invoke{
			IsCompleted: completed, ResolutionResult: invocationResolution(c.Call.GetRequest()),
		}}
	case *journalv1.Command_OneWayCall:
		h.Kind = &domainv1.EnrichedEntryHeader_BackgroundCall_{BackgroundCall: &domainv1.EnrichedEntryHeader_BackgroundCall{
			ResolutionResult: callResolution(c.OneWayCall.GetRequest()),
		}}
	case *journalv1.Command_Awakeable:
		h.Kind = &domainv1.EnrichedEntryHeader_Awakeable_{
			Awakeable: &domainv1.EnrichedEntryHeader_Awakeable{IsCompleted: completed},
		}
	case *journalv1.Command_CompleteAwakeable:
		h.Kind = &domainv1.EnrichedEntryHeader_CompleteAwakeable_{
			CompleteAwakeable: &domainv1.EnrichedEntryHeader_CompleteAwakeable{},
		}
	case *journalv1.Command_Custom:
		return custom(c.Custom.GetType(), command.GetAckRequested())
	default:
		return nil
	}
	return h
}

// invocationResolution says which invocation a call became. A call to the runtime itself became none.
func invocationResolution(request *journalv1.CallRequest) *domainv1.InvocationResolutionResult {
	resolved := callResolution(request)
	if resolved == nil {
		return &domainv1.InvocationResolutionResult{Result: &domainv1.InvocationResolutionResult_None{None: &emptypb.Empty{}}}
	}
	return &domainv1.InvocationResolutionResult{Result: &domainv1.InvocationResolutionResult_Success_{
		Success: &domainv1.InvocationResolutionResult_Success{
			InvocationId: resolved.GetInvocationId(), ServiceKey: resolved.GetServiceKey(), SpanContext: resolved.GetSpanContext(),
			PrintableId: resolved.PrintableId,
		},
	}}
}

func callResolution(request *journalv1.CallRequest) *domainv1.BackgroundCallResolutionResult {
	id, err := ids.InvocationIDFromBytes(request.GetInvocationId())
	if err != nil {
		return nil
	}
	return &domainv1.BackgroundCallResolutionResult{
		InvocationId: uuidOf(id), ServiceKey: storage.InstanceOf(id, request.GetTarget()).Key,
		SpanContext: spanContext(request.GetSpanContext()), PrintableId: proto.String(id.String()),
	}
}

// EarlyResult is a result that arrived before the step that waits for it.
func EarlyResult(result *journalv1.Result) *domainv1.JournalEntry {
	early := &domainv1.CompletionResult{}
	switch r := result.GetResult().(type) {
	case *journalv1.Result_Value:
		early.Result = &domainv1.CompletionResult_Success_{Success: &domainv1.CompletionResult_Success{Value: r.Value}}
	case *journalv1.Result_Failure:
		early.Result = &domainv1.CompletionResult_Failure_{Failure: &domainv1.CompletionResult_Failure{
			ErrorCode: v0.FoldCode(r.Failure.GetCode()), Message: []byte(r.Failure.GetMessage()),
		}}
	default:
		early.Result = &domainv1.CompletionResult_Empty_{Empty: &domainv1.CompletionResult_Empty{}}
	}
	return &domainv1.JournalEntry{Kind: &domainv1.JournalEntry_CompletionResult{CompletionResult: early}}
}
