package cli

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
)

// sideEffect is the type of the only entry of its own that the SDK has; field 14 is what the step returned.
const (
	sideEffect      = 0xfc01
	sideEffectValue = 14
)

// entryMessage returns an empty message of the type that the entry's payload has, nil where the protocol leaves that to
// the SDK.
func entryMessage(header *domainv1.EnrichedEntryHeader) proto.Message {
	switch header.GetKind().(type) {
	case *domainv1.EnrichedEntryHeader_PollInputStream_:
		return &protocol.PollInputStreamEntryMessage{}
	case *domainv1.EnrichedEntryHeader_OutputStream_:
		return &protocol.OutputStreamEntryMessage{}
	case *domainv1.EnrichedEntryHeader_GetState_:
		return &protocol.GetStateEntryMessage{}
	case *domainv1.EnrichedEntryHeader_SetState_:
		return &protocol.SetStateEntryMessage{}
	case *domainv1.EnrichedEntryHeader_ClearState_:
		return &protocol.ClearStateEntryMessage{}
	case *domainv1.EnrichedEntryHeader_Sleep_:
		return &protocol.SleepEntryMessage{}
	case *domainv1.EnrichedEntryHeader_Invoke_:
		return &protocol.InvokeEntryMessage{}
	case *domainv1.EnrichedEntryHeader_BackgroundCall_:
		return &protocol.BackgroundInvokeEntryMessage{}
	case *domainv1.EnrichedEntryHeader_Awakeable_:
		return &protocol.AwakeableEntryMessage{}
	case *domainv1.EnrichedEntryHeader_CompleteAwakeable_:
		return &protocol.CompleteAwakeableEntryMessage{}
	default:
		return nil
	}
}

// decodeEntry returns the payload of an entry, nil where it is none of the protocol's messages.
func decodeEntry(entry *domainv1.Entry) proto.Message {
	m := entryMessage(entry.GetHeader())
	if m == nil || proto.Unmarshal(entry.GetRawEntry(), m) != nil {
		return nil
	}
	return m
}

// entryCells shows a row of the journal: what the step is, whether it is done, and with what.
func entryCells(row *domainv1.JournalEntry) (kind, done, details string) {
	if early := row.GetCompletionResult(); early != nil {
		return "result", "yes", completionText(early)
	}
	header := row.GetEntry().GetHeader()
	kind, completed, awaited := entryKind(header)
	done = "yes"
	if awaited && !completed {
		done = "no"
	}
	if custom := header.GetCustom(); custom != nil {
		if command := commandOfToday(row.GetEntry()); command != nil {
			return commandKind(command), done, commandText(command, row.GetEntry().GetCompletion())
		}
		if custom.GetCode() == sideEffect {
			return "side effect", done, sideEffectText(row.GetEntry().GetRawEntry())
		}
		return fmt.Sprintf("custom %#x", custom.GetCode()), done, bytesText(row.GetEntry().GetRawEntry())
	}
	m := decodeEntry(row.GetEntry())
	if m == nil {
		return kind, done, bytesText(row.GetEntry().GetRawEntry())
	}
	return kind, done, payloadText(header, m)
}

// entryKind names an entry. awaited says that a result completes it, which it may have already.
func entryKind(header *domainv1.EnrichedEntryHeader) (kind string, completed, awaited bool) {
	switch h := header.GetKind().(type) {
	case *domainv1.EnrichedEntryHeader_PollInputStream_:
		return "input", h.PollInputStream.GetIsCompleted(), true
	case *domainv1.EnrichedEntryHeader_OutputStream_:
		return "output", false, false
	case *domainv1.EnrichedEntryHeader_GetState_:
		return "get state", h.GetState.GetIsCompleted(), true
	case *domainv1.EnrichedEntryHeader_SetState_:
		return "set state", false, false
	case *domainv1.EnrichedEntryHeader_ClearState_:
		return "clear state", false, false
	case *domainv1.EnrichedEntryHeader_Sleep_:
		return "sleep", h.Sleep.GetIsCompleted(), true
	case *domainv1.EnrichedEntryHeader_Invoke_:
		return "call", h.Invoke.GetIsCompleted(), true
	case *domainv1.EnrichedEntryHeader_BackgroundCall_:
		return "one-way call", false, false
	case *domainv1.EnrichedEntryHeader_Awakeable_:
		return "awakeable", h.Awakeable.GetIsCompleted(), true
	case *domainv1.EnrichedEntryHeader_CompleteAwakeable_:
		return "complete awakeable", false, false
	case *domainv1.EnrichedEntryHeader_Custom_:
		return "custom", h.Custom.GetIsCompleted(), h.Custom.IsCompleted != nil
	default:
		return "custom", false, false
	}
}

// payloadText shows the content of an entry.
func payloadText(header *domainv1.EnrichedEntryHeader, m proto.Message) string {
	switch e := m.(type) {
	case *protocol.PollInputStreamEntryMessage:
		return bytesText(e.GetValue())
	case *protocol.OutputStreamEntryMessage:
		return resultText(e.GetValue(), e.GetFailure())
	case *protocol.GetStateEntryMessage:
		switch e.GetResult().(type) {
		case *protocol.GetStateEntryMessage_Value:
			return bytesText(e.GetKey()) + " = " + bytesText(e.GetValue())
		case *protocol.GetStateEntryMessage_Empty:
			return bytesText(e.GetKey()) + " is not set"
		default:
			return bytesText(e.GetKey())
		}
	case *protocol.SetStateEntryMessage:
		return bytesText(e.GetKey()) + " = " + bytesText(e.GetValue())
	case *protocol.ClearStateEntryMessage:
		return bytesText(e.GetKey())
	case *protocol.SleepEntryMessage:
		return "until " + timeText(e.GetWakeUpTime())
	case *protocol.InvokeEntryMessage:
		made := header.GetInvoke().GetResolutionResult().GetSuccess()
		call := calleeText(e.GetServiceName(), e.GetMethodName(), made) + " " + bytesText(e.GetParameter())
		if e.GetResult() != nil {
			call += " -> " + resultText(e.GetValue(), e.GetFailure())
		}
		return call
	case *protocol.BackgroundInvokeEntryMessage:
		made := header.GetBackgroundCall().GetResolutionResult()
		call := calleeText(e.GetServiceName(), e.GetMethodName(), made) + " " + bytesText(e.GetParameter())
		if e.GetInvokeTime() != 0 {
			call += " at " + timeText(e.GetInvokeTime())
		}
		return call
	case *protocol.AwakeableEntryMessage:
		if e.GetResult() == nil {
			return ""
		}
		return resultText(e.GetValue(), e.GetFailure())
	case *protocol.CompleteAwakeableEntryMessage:
		return e.GetId() + " " + resultText(e.GetValue(), e.GetFailure())
	default:
		return ""
	}
}

// callee is the invocation that a call became.
type callee interface {
	GetServiceKey() []byte
	GetPrintableId() string
}

func calleeText(service, method string, made callee) string {
	if key := instanceText(made.GetServiceKey(), made.GetPrintableId()); key != "" {
		service += "/" + key
	}
	return service + "/" + method
}

func resultText(value []byte, failure *protocol.Failure) string {
	if failure != nil {
		return failureText(failure.GetCode(), failure.GetMessage())
	}
	if len(value) == 0 {
		return "(empty)"
	}
	return bytesText(value)
}

func failureText(code uint32, message string) string {
	return fmt.Sprintf("failure %d: %s", code, bytesText([]byte(message)))
}

func completionText(result *domainv1.CompletionResult) string {
	switch r := result.GetResult().(type) {
	case *domainv1.CompletionResult_Success_:
		return bytesText(r.Success.GetValue())
	case *domainv1.CompletionResult_Failure_:
		return failureText(r.Failure.GetErrorCode(), string(r.Failure.GetMessage()))
	default:
		return ""
	}
}

// sideEffectText shows what a step returned, which the SDK keeps as JSON text in a message of its own.
func sideEffectText(raw []byte) string {
	for rest := raw; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			break
		}
		if number == sideEffectValue && kind == protowire.BytesType {
			if value, n := protowire.ConsumeBytes(rest[n:]); n >= 0 {
				return bytesText(value)
			}
		}
		length := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if length < 0 {
			break
		}
		rest = rest[n+length:]
	}
	return bytesText(raw)
}
