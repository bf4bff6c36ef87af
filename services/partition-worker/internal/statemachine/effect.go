package statemachine

import (
	"errors"
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// codeInternal is the failure code of results that the engine makes up because a handler gave none.
const codeInternal = 500

// invokerEffect applies what a running attempt reported. The invocation may have been killed, or have got further in
// another run, since then: such an effect is dropped.
func (s *step) invokerEffect(effect *logv1.InvokerEffect) error {
	id, err := invocationID(effect.GetInvocationId())
	if err != nil {
		return err
	}
	invocation, err := s.cache.get(s.tx, id)
	if err != nil {
		return err
	}
	if invocation.GetState() != storagev1.Invocation_STATE_INVOKED || invocation.GetRun() != effect.GetRun() {
		return nil
	}
	if effect.GetPin() != nil && invocation.GetPin() == nil {
		invocation.Pin = effect.GetPin()
		s.cache.put(id, invocation)
	}
	switch e := effect.GetEffect().(type) {
	case *logv1.InvokerEffect_AppendCommand:
		return s.handlerCommand(id, invocation, e.AppendCommand)
	case *logv1.InvokerEffect_RunCompletion:
		return s.completeRun(id, invocation, e.RunCompletion)
	case *logv1.InvokerEffect_Suspended:
		return s.suspend(id, invocation, e.Suspended, effect.GetKnownEntries())
	case *logv1.InvokerEffect_Paused:
		s.rest(id, invocation, e.Paused)
		return nil
	case *logv1.InvokerEffect_Ended:
		result, err := s.output(id, invocation, e.Ended)
		if err != nil {
			return err
		}
		if e.Ended.GetOutput() != nil && journalRetention(invocation) > 0 {
			output := &journalv1.Command{Command: &journalv1.Command_Output{Output: &journalv1.Output{Result: result}}}
			if _, err := s.appendCommand(id, invocation, output); err != nil {
				return err
			}
		}
		return s.finish(id, invocation, result)
	case *logv1.InvokerEffect_Failed:
		return s.finish(id, invocation, failure(e.Failed))
	default:
		return fmt.Errorf("invoker effect of %s has no effect that this release knows", id)
	}
}

// handlerCommand stores a command and carries out what it asks of the state.
func (s *step) handlerCommand(id ids.InvocationID, invocation *storagev1.Invocation, effect *logv1.AppendCommand) error {
	if effect.GetCommandIndex() != invocation.GetCommandCount() {
		return nil
	}
	command := effect.GetCommand()
	var keys *journalv1.StateKeys
	if list := command.GetGetStateKeys(); list != nil {
		var ok bool
		var err error
		if keys, ok, err = s.stateKeys(instanceOf(id, invocation), list); err != nil {
			return err
		}
		if !ok {
			s.act(AbortInvocation{ID: id, Run: invocation.GetRun()})
			s.rest(id, invocation, tooManyKeys(list))
			return nil
		}
	}
	journalIndex := invocation.GetJournalLength()
	if _, err := s.appendCommand(id, invocation, command); err != nil {
		return err
	}
	if command.GetAckRequested() {
		s.act(AckCommand{ID: id, Run: invocation.GetRun(), CommandIndex: effect.GetCommandIndex()})
	}
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_Output:
		invocation.OutputIndex = journalIndex
		return nil
	case *journalv1.Command_GetState:
		return s.getState(id, invocation, c.GetState)
	case *journalv1.Command_SetState, *journalv1.Command_ClearState, *journalv1.Command_ClearAllState:
		return s.changeState(id, invocation, command)
	case *journalv1.Command_GetStateKeys:
		return s.complete(id, invocation, c.GetStateKeys.GetCompletionId(),
			&journalv1.Result{Result: &journalv1.Result_StateKeys{StateKeys: keys}})
	case *journalv1.Command_GetPromise:
		return s.getPromise(id, invocation, c.GetPromise)
	case *journalv1.Command_PeekPromise:
		return s.peekPromise(id, invocation, c.PeekPromise)
	case *journalv1.Command_CompletePromise:
		return s.completePromise(id, invocation, c.CompletePromise)
	case *journalv1.Command_Sleep:
		return s.sleep(id, invocation, c.Sleep)
	case *journalv1.Command_Call:
		return s.call(id, invocation, effect.GetCommandIndex(), c.Call)
	case *journalv1.Command_OneWayCall:
		return s.oneWayCall(id, invocation, effect.GetCommandIndex(), c.OneWayCall)
	case *journalv1.Command_Awakeable:
		return s.awakeable(id, invocation, c.Awakeable)
	case *journalv1.Command_CompleteAwakeable:
		return s.completeAwakeable(c.CompleteAwakeable)
	case *journalv1.Command_SendSignal:
		return s.sendSignal(c.SendSignal)
	case *journalv1.Command_AttachInvocation:
		return s.attachCommand(id, invocation, c.AttachInvocation.GetInvocation(), c.AttachInvocation.GetCompletionId(), true)
	case *journalv1.Command_GetInvocationOutput:
		return s.attachCommand(id, invocation, c.GetInvocationOutput.GetInvocation(), c.GetInvocationOutput.GetCompletionId(), false)
	case *journalv1.Command_GetEagerState, *journalv1.Command_GetEagerStateKeys, *journalv1.Command_Run,
		*journalv1.Command_Custom:
		return nil // stored, and that is all
	default:
		return fmt.Errorf("command %d of %s is not one that a handler may give", effect.GetCommandIndex(), id)
	}
}

func (s *step) getState(id ids.InvocationID, invocation *storagev1.Invocation, command *journalv1.GetState) error {
	value, ok, err := s.tx.Get(storage.StateKey(instanceOf(id, invocation), command.GetKey()))
	if err != nil {
		return err
	}
	if !ok {
		return s.complete(id, invocation, command.GetCompletionId(), void())
	}
	return s.complete(id, invocation, command.GetCompletionId(), success(value))
}

// changeState carries out a command that changes the state of the service instance; it does nothing for others.
func (s *step) changeState(id ids.InvocationID, invocation *storagev1.Invocation, command *journalv1.Command) error {
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_SetState:
		invocation.WroteState = true
		s.tx.Put(storage.StateKey(instanceOf(id, invocation), c.SetState.GetKey()), c.SetState.GetValue())
	case *journalv1.Command_ClearState:
		s.tx.Delete(storage.StateKey(instanceOf(id, invocation), c.ClearState.GetKey()))
	case *journalv1.Command_ClearAllState:
		return storage.DeleteState(s.tx, s.tx, instanceOf(id, invocation))
	}
	return nil
}

// stateKeys lists the keys of an instance's state; ok is false when there are more than the command allows.
func (s *step) stateKeys(instance storage.Instance, command *journalv1.GetStateKeys) (keys *journalv1.StateKeys, ok bool, err error) {
	keys = &journalv1.StateKeys{}
	maxKeys, left := int(command.GetMaxKeys()), int(command.GetMaxBytes())
	err = storage.ScanState(s.tx, instance, func(key, _ []byte) error {
		if left -= len(key); maxKeys > 0 && len(keys.GetKeys()) == maxKeys || command.GetMaxBytes() > 0 && left < 0 {
			return errTooManyKeys
		}
		keys.Keys = append(keys.Keys, append([]byte(nil), key...))
		return nil
	})
	if errors.Is(err, errTooManyKeys) {
		return nil, false, nil
	}
	return keys, err == nil, err
}

// errTooManyKeys ends a scan.
var errTooManyKeys = errors.New("too many keys")

// tooManyKeys is why an invocation is paused that asks for more keys than it may have. There is no completion for that: SDKs
// take none but a list. The command is not stored, so once there are fewer keys, or the code no longer asks, it goes on.
func tooManyKeys(command *journalv1.GetStateKeys) *logv1.Paused {
	return &logv1.Paused{Code: string(errcode.TooManyStateKeys), Failure: &journalv1.Failure{
		Code: codeInternal, Message: fmt.Sprintf("the handler asks for all keys of its state, which are more than %d, or have more than %d bytes",
			command.GetMaxKeys(), command.GetMaxBytes())}}
}

// completeRun stores the result of a step that the endpoint ran. One that was stored by an earlier attempt stands.
func (s *step) completeRun(id ids.InvocationID, invocation *storagev1.Invocation, run *logv1.RunCompletion) error {
	known, err := storage.GetCompletion(s.tx, id, run.GetCompletionId())
	if err != nil || known.GetJournalIndex() != 0 {
		return err
	}
	return s.complete(id, invocation, run.GetCompletionId(), run.GetResult())
}

func (s *step) sleep(id ids.InvocationID, invocation *storagev1.Invocation, command *journalv1.Sleep) error {
	if command.GetWakeUpTime() <= s.now {
		return s.complete(id, invocation, command.GetCompletionId(), void())
	}
	invocation.PendingSleeps++
	return s.setTimer(
		sleepTimer(id, command),
		&storagev1.Timer{Timer: &storagev1.Timer_CompleteSleep{
			CompleteSleep: &storagev1.CompleteSleep{CompletionId: command.GetCompletionId()},
		}},
	)
}

func sleepTimer(id ids.InvocationID, command *journalv1.Sleep) storage.TimerID {
	return storage.TimerID{
		FireAt: command.GetWakeUpTime(), Invocation: id,
		Kind: storage.TimerSleep, CompletionID: command.GetCompletionId(),
	}
}

func (s *step) call(id ids.InvocationID, invocation *storagev1.Invocation, index uint32, command *journalv1.Call) error {
	builtin := true
	switch {
	case command.GetBuiltinCompleteAwakeable() != nil:
		if err := s.completeAwakeable(command.GetBuiltinCompleteAwakeable()); err != nil {
			return err
		}
	case command.GetBuiltinOneWayCall() != nil:
		if err := s.oneWayCall(id, invocation, index, command.GetBuiltinOneWayCall()); err != nil {
			return err
		}
	default:
		builtin = false
	}
	if builtin {
		return s.complete(id, invocation, command.GetCompletionId(), success(command.GetBuiltinResponse()))
	}
	if err := s.tellCallee(id, invocation, command.GetInvocationIdCompletionId(), command.GetRequest()); err != nil {
		return err
	}
	invoke := invokeOf(id, index, command.GetRequest())
	invoke.ResponseSink = callerSink(id, invocation, command.GetCompletionId())
	return s.sendInvoke(invoke)
}

// callerSink has a result delivered as the completion of a command.
func callerSink(id ids.InvocationID, invocation *storagev1.Invocation, completionID uint32) *logv1.ResponseSink {
	return &logv1.ResponseSink{Sink: &logv1.ResponseSink_Caller{
		Caller: &logv1.CallerSink{
			InvocationId: id[:],
			CompletionId: completionID,
			CreatedLsn:   invocation.GetCreatedLsn(),
		},
	}}
}

// tellCallee completes the part of a call that asks for the id of the callee. It comes before the call is made, so that
// it precedes the result.
func (s *step) tellCallee(id ids.InvocationID, invocation *storagev1.Invocation, completionID uint32, request *journalv1.CallRequest) error {
	callee, err := invocationID(request.GetInvocationId())
	if err != nil || completionID == 0 {
		return err
	}
	return s.complete(id, invocation, completionID,
		&journalv1.Result{Result: &journalv1.Result_InvocationId{InvocationId: callee.String()}})
}

func (s *step) oneWayCall(id ids.InvocationID, invocation *storagev1.Invocation, index uint32, command *journalv1.OneWayCall) error {
	if err := s.tellCallee(id, invocation, command.GetInvocationIdCompletionId(), command.GetRequest()); err != nil {
		return err
	}
	invoke := invokeOf(id, index, command.GetRequest())
	if command.GetInvokeTime() != 0 {
		invoke.ExecutionTime = command.GetInvokeTime()
		invoke.CallerTarget = invocation.GetTarget()
	}
	return s.sendInvoke(invoke)
}

func invokeOf(caller ids.InvocationID, index uint32, request *journalv1.CallRequest) *logv1.Invoke {
	return &logv1.Invoke{
		InvocationId:        request.GetInvocationId(),
		Target:              request.GetTarget(),
		Argument:            request.GetParameter(),
		Headers:             request.GetHeaders(),
		SpanContext:         request.GetSpanContext(),
		CallerInvocationId:  caller[:],
		CallerCommandIndex:  index,
		IdempotencyKey:      request.IdempotencyKey, //nolint:protogetter // nil differs from empty
		CompletionRetention: request.GetCompletionRetention(),
		JournalRetention:    request.GetJournalRetention(),
	}
}

// awakeable delivers the result that has arrived before the command, if there is one.
func (s *step) awakeable(id ids.InvocationID, invocation *storagev1.Invocation, command *journalv1.Awakeable) error {
	known, err := storage.GetCompletion(s.tx, id, command.GetCompletionId())
	if err != nil || known.GetEarly() == nil {
		return err
	}
	return s.complete(id, invocation, command.GetCompletionId(), known.GetEarly())
}

func (s *step) completeAwakeable(command *journalv1.CompleteAwakeable) error {
	if index := command.GetSignalIndex(); index != 0 {
		return s.sendNotify(&logv1.Notify{
			InvocationId: command.GetInvocationId(),
			Notification: &journalv1.Notification{
				Id:     &journalv1.Notification_SignalIndex{SignalIndex: index},
				Result: command.GetResult(),
			},
		})
	}
	return s.sendNotify(&logv1.Notify{
		InvocationId: command.GetInvocationId(),
		Notification: &journalv1.Notification{
			Id:     &journalv1.Notification_CompletionId{CompletionId: command.GetCompletionId()},
			Result: command.GetResult(),
		},
		Awakeable: true,
	})
}

// output is the result that the handler ended with, or left in the journal.
func (s *step) output(id ids.InvocationID, invocation *storagev1.Invocation, ended *logv1.Ended) (*journalv1.Result, error) {
	if ended.GetOutput() != nil {
		return ended.GetOutput(), nil
	}
	if invocation.GetOutputIndex() == 0 {
		return failure(&journalv1.Failure{Code: codeInternal, Message: "the handler ended without a result"}), nil
	}
	entry, err := storage.GetJournalEntry(s.tx, id, invocation.GetOutputIndex())
	if err != nil {
		return nil, err
	}
	result := entry.GetCommand().GetOutput().GetResult()
	if result == nil {
		return nil, fmt.Errorf("%w: entry %d of %s is no output", storage.ErrCorrupt, invocation.GetOutputIndex(), id)
	}
	return result, nil
}
