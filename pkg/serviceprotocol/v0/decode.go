package v0

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// EndpointError is an attempt that the endpoint reports as failed.
type EndpointError struct {
	Code    uint32
	Message string
}

// CodeJournalMismatch is the EndpointError code of a handler that did not do what its journal says.
const CodeJournalMismatch = 32

func (e *EndpointError) Error() string {
	return fmt.Sprintf("the service reports: %s (code %d)", e.Message, e.Code)
}

// Suspension is the entry indexes that a handler waits for.
type Suspension struct{ Indexes []uint32 }

// Decode reads a frame that an endpoint sent. It returns a *journalv1.Command for an entry, whose index is given and
// becomes its completion id, a Suspension or an *EndpointError. Calls come without a resolved target: only service and
// handler are set.  The error wraps frame.ErrViolation.
func Decode(f frame.Frame, index uint32) (any, error) {
	switch f.Type {
	case TypeSuspension:
		m := &protocol.SuspensionMessage{}
		if err := unmarshal(f, m); err != nil {
			return nil, err
		}
		if len(m.GetEntryIndexes()) == 0 {
			return nil, fmt.Errorf("%w: suspension that waits for nothing", frame.ErrViolation)
		}
		return Suspension{Indexes: m.GetEntryIndexes()}, nil
	case TypeError:
		m := &protocol.ErrorMessage{}
		if err := unmarshal(f, m); err != nil {
			return nil, err
		}
		return &EndpointError{Code: m.GetCode(), Message: frame.Shorten(m.GetMessage())}, nil
	default:
		return decodeCommand(f, index)
	}
}

func unmarshal(f frame.Frame, m proto.Message) error {
	if err := proto.Unmarshal(f.Payload, m); err != nil {
		return fmt.Errorf("%w: payload of a frame of type %#04x: %w", frame.ErrViolation, uint16(f.Type), err)
	}
	return nil
}

func decodeCommand(f frame.Frame, index uint32) (*journalv1.Command, error) {
	if f.Type >= TypeCustom {
		return &journalv1.Command{
			AckRequested: f.Flags&FlagRequiresAck != 0,
			Command: &journalv1.Command_Custom{
				Custom: &journalv1.Custom{Type: uint32(f.Type), Payload: f.Payload},
			},
		}, nil
	}
	switch f.Type {
	case TypeOutputStream:
		return decodeOutput(f)
	case TypeGetState:
		return decodeGetState(f, index)
	case TypeSetState:
		m := &protocol.SetStateEntryMessage{}
		if err := unmarshal(f, m); err != nil {
			return nil, err
		}
		return &journalv1.Command{Command: &journalv1.Command_SetState{
			SetState: &journalv1.SetState{Key: m.GetKey(), Value: m.GetValue()},
		}}, nil
	case TypeClearState:
		m := &protocol.ClearStateEntryMessage{}
		if err := unmarshal(f, m); err != nil {
			return nil, err
		}
		return &journalv1.Command{Command: &journalv1.Command_ClearState{
			ClearState: &journalv1.ClearState{Key: m.GetKey()},
		}}, nil
	case TypeSleep:
		m := &protocol.SleepEntryMessage{}
		if err := unmarshal(f, m); err != nil {
			return nil, err
		}
		return &journalv1.Command{Command: &journalv1.Command_Sleep{
			Sleep: &journalv1.Sleep{WakeUpTime: m.GetWakeUpTime(), CompletionId: index},
		}}, nil
	case TypeInvoke:
		m := &protocol.InvokeEntryMessage{}
		if err := unmarshal(f, m); err != nil {
			return nil, err
		}
		return &journalv1.Command{Command: &journalv1.Command_Call{Call: &journalv1.Call{
			Request:      request(m.GetServiceName(), m.GetMethodName(), m.GetParameter()),
			CompletionId: index,
		}}}, nil
	case TypeBackgroundInvoke:
		m := &protocol.BackgroundInvokeEntryMessage{}
		if err := unmarshal(f, m); err != nil {
			return nil, err
		}
		return &journalv1.Command{Command: &journalv1.Command_OneWayCall{OneWayCall: &journalv1.OneWayCall{
			Request:    request(m.GetServiceName(), m.GetMethodName(), m.GetParameter()),
			InvokeTime: m.GetInvokeTime(),
		}}}, nil
	case TypeAwakeable:
		if err := unmarshal(f, &protocol.AwakeableEntryMessage{}); err != nil {
			return nil, err
		}
		return &journalv1.Command{Command: &journalv1.Command_Awakeable{
			Awakeable: &journalv1.Awakeable{CompletionId: index},
		}}, nil
	case TypeCompleteAwakeable:
		return decodeCompleteAwakeable(f)
	case TypeStart, TypeCompletion, TypeSuspension, TypeError, TypePollInputStream, TypeCustom:
	}
	return nil, fmt.Errorf("%w: an endpoint may not send a frame of type %#04x here", frame.ErrViolation, uint16(f.Type))
}

func request(service, handler string, parameter []byte) *journalv1.CallRequest {
	return &journalv1.CallRequest{
		Target:    &journalv1.Target{Service: service, Handler: handler},
		Parameter: parameter,
	}
}

func decodeOutput(f frame.Frame) (*journalv1.Command, error) {
	m := &protocol.OutputStreamEntryMessage{}
	if err := unmarshal(f, m); err != nil {
		return nil, err
	}
	output := &journalv1.Output{}
	switch r := m.GetResult().(type) {
	case *protocol.OutputStreamEntryMessage_Value:
		output.Result = value(r.Value)
	case *protocol.OutputStreamEntryMessage_Failure:
		output.Result = failed(failureFromWire(r.Failure))
	default:
		return nil, fmt.Errorf("%w: output with neither value nor failure", frame.ErrViolation)
	}
	return &journalv1.Command{Command: &journalv1.Command_Output{Output: output}}, nil
}

// decodeGetState tells a question to the runtime from a report of what the handler read from the state it was given.
// The SDK does not set the flag that the protocol has for the latter.
func decodeGetState(f frame.Frame, index uint32) (*journalv1.Command, error) {
	m := &protocol.GetStateEntryMessage{}
	if err := unmarshal(f, m); err != nil {
		return nil, err
	}
	var result *journalv1.Result
	switch r := m.GetResult().(type) {
	case *protocol.GetStateEntryMessage_Value:
		result = value(r.Value)
	case *protocol.GetStateEntryMessage_Empty:
		result = void()
	default:
		return &journalv1.Command{Command: &journalv1.Command_GetState{
			GetState: &journalv1.GetState{Key: m.GetKey(), CompletionId: index},
		}}, nil
	}
	return &journalv1.Command{Command: &journalv1.Command_GetEagerState{
		GetEagerState: &journalv1.GetEagerState{Key: m.GetKey(), Result: result},
	}}, nil
}

func decodeCompleteAwakeable(f frame.Frame) (*journalv1.Command, error) {
	m := &protocol.CompleteAwakeableEntryMessage{}
	if err := unmarshal(f, m); err != nil {
		return nil, err
	}
	complete := &journalv1.CompleteAwakeable{AwakeableId: m.GetId()}
	switch r := m.GetResult().(type) {
	case *protocol.CompleteAwakeableEntryMessage_Value:
		complete.Result = value(r.Value)
	case *protocol.CompleteAwakeableEntryMessage_Failure:
		complete.Result = failed(failureFromWire(r.Failure))
	default:
		return nil, fmt.Errorf("%w: awakeable completed with neither value nor failure", frame.ErrViolation)
	}
	id, index, err := ids.ParseAwakeable(m.GetId())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", frame.ErrViolation, err)
	}
	complete.InvocationId, complete.CompletionId = id[:], index
	return &journalv1.Command{Command: &journalv1.Command_CompleteAwakeable{CompleteAwakeable: complete}}, nil
}

func value(b []byte) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: b}}
}

func void() *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
}

func failed(f *journalv1.Failure) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: f}}
}
