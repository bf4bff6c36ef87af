package v5

import (
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// decodeCommand reads the commands that are no more than their fields, and leaves the others to functions of their own.
func (v Version) decodeCommand(f frame.Frame) (*journalv1.Command, error) {
	command := &journalv1.Command{AckRequested: f.Flags&FlagAckRequested != 0}
	var err error
	switch f.Type {
	case TypeOutput:
		err = v.decodeOutput(f, command)
	case TypeGetLazyState, TypeSetState, TypeClearState, TypeClearAllState, TypeGetLazyStateKeys, TypeGetEagerState,
		TypeGetEagerStateKeys:
		err = decodeState(f, command)
	case TypeGetPromise:
		m := &wire.GetPromiseCommand{}
		err = unmarshal(f, m)
		command.Name, command.Command = m.GetName(), &journalv1.Command_GetPromise{
			GetPromise: &journalv1.GetPromise{Key: m.GetKey(), CompletionId: m.GetResultCompletionId()},
		}
	case TypePeekPromise:
		m := &wire.PeekPromiseCommand{}
		err = unmarshal(f, m)
		command.Name, command.Command = m.GetName(), &journalv1.Command_PeekPromise{
			PeekPromise: &journalv1.PeekPromise{Key: m.GetKey(), CompletionId: m.GetResultCompletionId()},
		}
	case TypeCompletePromise:
		err = v.decodeCompletePromise(f, command)
	case TypeSleep:
		m := &wire.SleepCommand{}
		err = unmarshal(f, m)
		command.Name, command.Command = m.GetName(), &journalv1.Command_Sleep{
			Sleep: &journalv1.Sleep{WakeUpTime: m.GetWakeUpTime(), CompletionId: m.GetResultCompletionId()},
		}
	case TypeCall:
		err = v.decodeCall(f, command)
	case TypeOneWayCall:
		err = v.decodeOneWayCall(f, command)
	case TypeSendSignal:
		err = v.decodeSendSignal(f, command)
	case TypeRun:
		m := &wire.RunCommand{}
		err = unmarshal(f, m)
		command.Name, command.Command = m.GetName(), &journalv1.Command_Run{
			Run: &journalv1.Run{CompletionId: m.GetResultCompletionId()},
		}
	case TypeAttachInvocation, TypeGetInvocationOutput:
		err = v.decodeAttach(f, command)
	case TypeCompleteAwakeable:
		err = v.decodeCompleteAwakeable(f, command)
	default:
		return nil, unexpected(f)
	}
	if err != nil {
		return nil, err
	}
	return command, nil
}

func incomplete(t frame.Type, missing string) error {
	return fmt.Errorf("%w: %s command without %s", frame.ErrViolation, CommandName(t), missing)
}

// decodeState reads the commands on the state of the service instance.
func decodeState(f frame.Frame, command *journalv1.Command) error {
	var err error
	switch f.Type {
	case TypeGetLazyState:
		m := &wire.GetLazyStateCommand{}
		err = unmarshal(f, m)
		command.Name, command.Command = m.GetName(), &journalv1.Command_GetState{
			GetState: &journalv1.GetState{Key: m.GetKey(), CompletionId: m.GetResultCompletionId()},
		}
	case TypeSetState:
		m := &wire.SetStateCommand{}
		if err = unmarshal(f, m); err == nil && m.GetValue() == nil {
			err = incomplete(f.Type, "a value")
		}
		command.Name, command.Command = m.GetName(), &journalv1.Command_SetState{
			SetState: &journalv1.SetState{Key: m.GetKey(), Value: m.GetValue().GetContent()},
		}
	case TypeClearState:
		m := &wire.ClearStateCommand{}
		err = unmarshal(f, m)
		command.Name, command.Command = m.GetName(), &journalv1.Command_ClearState{
			ClearState: &journalv1.ClearState{Key: m.GetKey()},
		}
	case TypeClearAllState:
		m := &wire.ClearAllStateCommand{}
		err = unmarshal(f, m)
		command.Name, command.Command = m.GetName(), &journalv1.Command_ClearAllState{
			ClearAllState: &journalv1.ClearAllState{},
		}
	case TypeGetLazyStateKeys:
		m := &wire.GetLazyStateKeysCommand{}
		err = unmarshal(f, m)
		command.Name, command.Command = m.GetName(), &journalv1.Command_GetStateKeys{
			GetStateKeys: &journalv1.GetStateKeys{CompletionId: m.GetResultCompletionId()},
		}
	case TypeGetEagerState:
		m := &wire.GetEagerStateCommand{}
		if err := unmarshal(f, m); err != nil {
			return err
		}
		read := &journalv1.GetEagerState{Key: m.GetKey()}
		switch r := m.GetResult().(type) {
		case *wire.GetEagerStateCommand_Void:
			read.Result = void()
		case *wire.GetEagerStateCommand_Value:
			read.Result = valueFromWire(r.Value)
		default:
			return incomplete(f.Type, "a result")
		}
		command.Name, command.Command = m.GetName(), &journalv1.Command_GetEagerState{GetEagerState: read}
	case TypeGetEagerStateKeys:
		m := &wire.GetEagerStateKeysCommand{}
		if err = unmarshal(f, m); err == nil && m.GetValue() == nil {
			err = incomplete(f.Type, "a result")
		}
		command.Name, command.Command = m.GetName(), &journalv1.Command_GetEagerStateKeys{
			GetEagerStateKeys: &journalv1.GetEagerStateKeys{Keys: m.GetValue().GetKeys()},
		}
	default:
		return unexpected(f)
	}
	return err
}

func (v Version) decodeOutput(f frame.Frame, command *journalv1.Command) error {
	m := &wire.OutputCommand{}
	if err := unmarshal(f, m); err != nil {
		return err
	}
	output := &journalv1.Output{}
	switch r := m.GetResult().(type) {
	case *wire.OutputCommand_Value:
		output.Result = valueFromWire(r.Value)
	case *wire.OutputCommand_Failure:
		output.Result = v.failureFromWire(r.Failure)
	default:
		return incomplete(f.Type, "value or failure")
	}
	command.Name, command.Command = m.GetName(), &journalv1.Command_Output{Output: output}
	return nil
}

func (v Version) decodeCompletePromise(f frame.Frame, command *journalv1.Command) error {
	m := &wire.CompletePromiseCommand{}
	if err := unmarshal(f, m); err != nil {
		return err
	}
	complete := &journalv1.CompletePromise{Key: m.GetKey(), CompletionId: m.GetResultCompletionId()}
	switch r := m.GetCompletion().(type) {
	case *wire.CompletePromiseCommand_CompletionValue:
		complete.Result = valueFromWire(r.CompletionValue)
	case *wire.CompletePromiseCommand_CompletionFailure:
		complete.Result = v.failureFromWire(r.CompletionFailure)
	default:
		return incomplete(f.Type, "value or failure")
	}
	command.Name, command.Command = m.GetName(), &journalv1.Command_CompletePromise{CompletePromise: complete}
	return nil
}

func (v Version) decodeSendSignal(f frame.Frame, command *journalv1.Command) error {
	m := &wire.SendSignalCommand{}
	if err := unmarshal(f, m); err != nil {
		return err
	}
	send := &journalv1.SendSignal{Target: m.GetTargetInvocationId()}
	switch s := m.GetSignalId().(type) {
	case *wire.SendSignalCommand_Idx:
		if s.Idx == 0 {
			return fmt.Errorf("%w: there is no signal 0", ErrRefused)
		}
		send.Signal = &journalv1.SendSignal_Index{Index: s.Idx}
	case *wire.SendSignalCommand_Name:
		send.Signal = &journalv1.SendSignal_Name{Name: s.Name}
	default:
		return incomplete(f.Type, "a signal")
	}
	switch r := m.GetResult().(type) {
	case *wire.SendSignalCommand_Void:
		send.Result = void()
	case *wire.SendSignalCommand_Value:
		send.Result = valueFromWire(r.Value)
	case *wire.SendSignalCommand_Failure:
		send.Result = v.failureFromWire(r.Failure)
	default:
		return incomplete(f.Type, "a result")
	}
	id, err := ids.ParseInvocationID(send.GetTarget())
	if err != nil {
		return fmt.Errorf("%w: send a signal: %w", ErrRefused, err)
	}
	send.InvocationId = id[:]
	command.Name, command.Command = m.GetEntryName(), &journalv1.Command_SendSignal{SendSignal: send}
	return nil
}

func (v Version) decodeCompleteAwakeable(f frame.Frame, command *journalv1.Command) error {
	m := &wire.CompleteAwakeableCommand{}
	if err := unmarshal(f, m); err != nil {
		return err
	}
	complete := &journalv1.CompleteAwakeable{AwakeableId: m.GetAwakeableId()}
	switch r := m.GetResult().(type) {
	case *wire.CompleteAwakeableCommand_Value:
		complete.Result = valueFromWire(r.Value)
	case *wire.CompleteAwakeableCommand_Failure:
		complete.Result = v.failureFromWire(r.Failure)
	default:
		return incomplete(f.Type, "value or failure")
	}
	awakeable, err := ParseAwakeable(m.GetAwakeableId())
	if err != nil {
		return fmt.Errorf("%w: complete an awakeable: %w", ErrRefused, err)
	}
	complete.InvocationId = awakeable.Invocation[:]
	if awakeable.Signal {
		complete.SignalIndex = awakeable.Index
	} else {
		complete.CompletionId = awakeable.Index
	}
	command.Name, command.Command = m.GetName(), &journalv1.Command_CompleteAwakeable{CompleteAwakeable: complete}
	return nil
}
