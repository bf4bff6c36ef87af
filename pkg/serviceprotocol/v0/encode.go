package v0

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// StateEntry is one key of a service instance's state.
type StateEntry struct{ Key, Value []byte }

// Start is what an attempt begins with.
type Start struct {
	ID      ids.InvocationID
	Entries []*journalv1.Entry
	State   []StateEntry
	// PartialState says that the instance may have keys that State lacks.
	PartialState bool
}

// AppendStart appends the start frame and the journal to dst. Signals are left out: this protocol has none.
func AppendStart(dst []byte, s Start) ([]byte, error) {
	results := map[uint32]*journalv1.Result{}
	commands := uint32(0)
	for _, entry := range s.Entries {
		switch id := entry.GetNotification().GetId().(type) {
		case nil:
			commands++
		case *journalv1.Notification_CompletionId:
			results[id.CompletionId] = entry.GetNotification().GetResult()
		default: // a signal, which this protocol does not have
		}
	}
	start := &protocol.StartMessage{
		Id: s.ID[:], DebugId: s.ID.String(), KnownEntries: commands, PartialState: s.PartialState,
	}
	for _, entry := range s.State {
		start.StateMap = append(start.StateMap, &protocol.StartMessage_StateEntry{Key: entry.Key, Value: entry.Value})
	}
	dst, err := appendMessage(dst, TypeStart, 0, start)
	if err != nil {
		return nil, err
	}
	index := uint32(0)
	for _, entry := range s.Entries {
		command := entry.GetCommand()
		if command == nil {
			continue
		}
		f, err := EncodeCommand(command, results[index])
		if err != nil {
			return nil, fmt.Errorf("entry %d of %s: %w", index, s.ID, err)
		}
		dst = frame.Append(dst, f)
		index++
	}
	return dst, nil
}

// AppendCompletion appends the result of the entry with the index.
func AppendCompletion(dst []byte, index uint32, result *journalv1.Result) ([]byte, error) {
	m := &protocol.CompletionMessage{EntryIndex: index}
	switch r := result.GetResult().(type) {
	case *journalv1.Result_Value:
		m.Result = &protocol.CompletionMessage_Value{Value: r.Value}
	case *journalv1.Result_Failure:
		m.Result = &protocol.CompletionMessage_Failure{Failure: failureToWire(r.Failure)}
	case *journalv1.Result_Void:
		m.Result = &protocol.CompletionMessage_Empty{Empty: &emptypb.Empty{}}
	}
	return appendMessage(dst, TypeCompletion, 0, m)
}

// AppendAck appends the acknowledgement of the entry with the index.
func AppendAck(dst []byte, index uint32) ([]byte, error) {
	return AppendCompletion(dst, index, void())
}

func appendMessage(dst []byte, t frame.Type, flags uint16, m proto.Message) ([]byte, error) {
	payload, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode a frame of type %#04x: %w", uint16(t), err)
	}
	return frame.Append(dst, frame.Frame{Type: t, Flags: flags, Payload: payload}), nil
}

// EncodeCommand returns the entry frame of a command as it is replayed. The result completes it; nil leaves it open.
func EncodeCommand(command *journalv1.Command, result *journalv1.Result) (frame.Frame, error) {
	if custom := command.GetCustom(); custom != nil {
		return frame.Frame{Type: frame.Type(custom.GetType()), Payload: custom.GetPayload()}, nil //nolint:gosec // 16 bits when decoded
	}
	t, m := entryMessage(command, result)
	if m == nil {
		return frame.Frame{}, fmt.Errorf("command %T has no form in this protocol", command.GetCommand())
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return frame.Frame{}, fmt.Errorf("encode an entry of type %#04x: %w", uint16(t), err)
	}
	f := frame.Frame{Type: t, Payload: payload}
	_, answered := command.GetCommand().(*journalv1.Command_GetEagerState)
	if result != nil || answered || t == TypePollInputStream {
		f.Flags = FlagCompleted
	}
	return f, nil
}

func entryMessage(command *journalv1.Command, result *journalv1.Result) (frame.Type, proto.Message) {
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_Input:
		return TypePollInputStream, &protocol.PollInputStreamEntryMessage{Value: c.Input.GetValue()}
	case *journalv1.Command_Output:
		m := &protocol.OutputStreamEntryMessage{}
		if f := c.Output.GetResult().GetFailure(); f != nil {
			m.Result = &protocol.OutputStreamEntryMessage_Failure{Failure: failureToWire(f)}
		} else {
			m.Result = &protocol.OutputStreamEntryMessage_Value{Value: c.Output.GetResult().GetValue()}
		}
		return TypeOutputStream, m
	case *journalv1.Command_GetState:
		return TypeGetState, getState(c.GetState.GetKey(), result)
	case *journalv1.Command_GetEagerState:
		return TypeGetState, getState(c.GetEagerState.GetKey(), c.GetEagerState.GetResult())
	case *journalv1.Command_SetState:
		return TypeSetState, &protocol.SetStateEntryMessage{Key: c.SetState.GetKey(), Value: c.SetState.GetValue()}
	case *journalv1.Command_ClearState:
		return TypeClearState, &protocol.ClearStateEntryMessage{Key: c.ClearState.GetKey()}
	case *journalv1.Command_Sleep:
		m := &protocol.SleepEntryMessage{WakeUpTime: c.Sleep.GetWakeUpTime()}
		if result != nil {
			m.Result = &protocol.SleepEntryMessage_Empty{Empty: &emptypb.Empty{}}
		}
		return TypeSleep, m
	case *journalv1.Command_Call:
		return TypeInvoke, invoke(c.Call.GetRequest(), result)
	case *journalv1.Command_OneWayCall:
		r := c.OneWayCall.GetRequest()
		return TypeBackgroundInvoke, &protocol.BackgroundInvokeEntryMessage{
			ServiceName: r.GetTarget().GetService(), MethodName: r.GetTarget().GetHandler(),
			Parameter: r.GetParameter(), InvokeTime: c.OneWayCall.GetInvokeTime(),
		}
	case *journalv1.Command_Awakeable:
		return TypeAwakeable, awakeable(result)
	case *journalv1.Command_CompleteAwakeable:
		m := &protocol.CompleteAwakeableEntryMessage{Id: c.CompleteAwakeable.GetAwakeableId()}
		if f := c.CompleteAwakeable.GetResult().GetFailure(); f != nil {
			m.Result = &protocol.CompleteAwakeableEntryMessage_Failure{Failure: failureToWire(f)}
		} else {
			m.Result = &protocol.CompleteAwakeableEntryMessage_Value{Value: c.CompleteAwakeable.GetResult().GetValue()}
		}
		return TypeCompleteAwakeable, m
	default:
		return 0, nil
	}
}

func getState(key []byte, result *journalv1.Result) *protocol.GetStateEntryMessage {
	m := &protocol.GetStateEntryMessage{Key: key}
	switch r := result.GetResult().(type) {
	case *journalv1.Result_Value:
		m.Result = &protocol.GetStateEntryMessage_Value{Value: r.Value}
	case *journalv1.Result_Void:
		m.Result = &protocol.GetStateEntryMessage_Empty{Empty: &emptypb.Empty{}}
	}
	return m
}

func invoke(request *journalv1.CallRequest, result *journalv1.Result) *protocol.InvokeEntryMessage {
	m := &protocol.InvokeEntryMessage{
		ServiceName: request.GetTarget().GetService(), MethodName: request.GetTarget().GetHandler(),
		Parameter: request.GetParameter(),
	}
	switch r := result.GetResult().(type) {
	case *journalv1.Result_Value:
		m.Result = &protocol.InvokeEntryMessage_Value{Value: r.Value}
	case *journalv1.Result_Failure:
		m.Result = &protocol.InvokeEntryMessage_Failure{Failure: failureToWire(r.Failure)}
	}
	return m
}

func awakeable(result *journalv1.Result) *protocol.AwakeableEntryMessage {
	m := &protocol.AwakeableEntryMessage{}
	switch r := result.GetResult().(type) {
	case *journalv1.Result_Value:
		m.Result = &protocol.AwakeableEntryMessage_Value{Value: r.Value}
	case *journalv1.Result_Failure:
		m.Result = &protocol.AwakeableEntryMessage_Failure{Failure: failureToWire(r.Failure)}
	}
	return m
}
