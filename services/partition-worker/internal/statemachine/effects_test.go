package statemachine_test

import (
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/storage"
)

// effect makes what a run reports.
func (b *builder) effect(command string, a *arguments) (*logv1.InvokerEffect, error) {
	id := b.existing(a)
	invocation, err := storage.GetInvocation(b.space, id)
	if err != nil {
		return nil, err
	}
	effect := &logv1.InvokerEffect{InvocationId: id[:], Run: invocation.GetRun()}
	if run := a.text("run", ""); run != "" {
		if effect.Run, err = parseLSN(run); err != nil {
			return nil, err
		}
	}
	effect.Pin = pinned(a)
	switch command {
	case "suspended":
		future, err := suspension(a)
		if err != nil {
			return nil, err
		}
		effect.Effect, effect.KnownEntries = &logv1.InvokerEffect_Suspended{Suspended: future}, a.index("known", 0)
	case "run":
		effect.Effect = &logv1.InvokerEffect_RunCompletion{RunCompletion: &logv1.RunCompletion{
			CompletionId: a.index("completion", 0), Result: a.result(),
		}}
	case "paused":
		effect.Effect = &logv1.InvokerEffect_Paused{Paused: &logv1.Paused{
			Failure: a.result().GetFailure(), Code: a.text("code", ""), Attempts: a.index("attempts", 0),
		}}
	case "ended":
		effect.Effect = &logv1.InvokerEffect_Ended{Ended: &logv1.Ended{Output: a.result()}}
	case "failed":
		effect.Effect = &logv1.InvokerEffect_Failed{Failed: a.result().GetFailure()}
	default:
		if _, ok := b.counts[id]; !ok {
			b.counts[id] = invocation.GetCommandCount()
		}
		index := a.index("index", b.counts[id])
		b.counts[id] = index + 1
		appended, err := b.command(a, index)
		if err != nil {
			return nil, err
		}
		effect.Effect = &logv1.InvokerEffect_AppendCommand{AppendCommand: &logv1.AppendCommand{
			CommandIndex: index, Command: appended,
		}}
	}
	return effect, nil
}

// command makes the command that the first argument without a value names:
//
//	get-state key= | set-state key= value= | clear-state key= | eager-state key= result
//	clear-all | state-keys [max-keys=] [max-bytes=] | eager-keys
//	sleep until=<ms>
//	call to=<id> [target] [told=<completion>] [idempotency=] [retention=<ms>] [journal-retention=<ms>]
//	one-way to=<id>, as call, [at=<ms>]
//	get-promise key= | peek-promise key= | complete-promise key= result
//	run
//	send-signal to=<id> signal=|named= result
//	attach-to of=<id> | output-of of=<id>
//	builtin-complete of=<id> completion= result | builtin-one-way to=<id> [target] [at=<ms>]
//	awakeable | complete-awakeable of=<id> completion=|signal= result
//	custom [ack]
//	output result
//	input | call-nobody | nothing   which are damage
//
// The completion id of a command is its index, as in the 2023 protocol.
func (b *builder) command(a *arguments, index uint32) (*journalv1.Command, error) {
	command := &journalv1.Command{}
	for word := range a.words() {
		switch word {
		case "ack":
			command.AckRequested = true
			continue
		case "void", "shared":
			continue
		}
		if err := b.fill(command, word, a, index); err != nil {
			return nil, err
		}
	}
	return command, nil
}

func (b *builder) fill(command *journalv1.Command, word string, a *arguments, index uint32) error {
	key := func() []byte { return []byte(a.text("key", "")) }
	switch word {
	case "get-state":
		command.Command = &journalv1.Command_GetState{GetState: &journalv1.GetState{Key: key(), CompletionId: index}}
	case "set-state":
		command.Command = &journalv1.Command_SetState{SetState: &journalv1.SetState{
			Key: key(), Value: []byte(a.text("value", "")),
		}}
	case "clear-state":
		command.Command = &journalv1.Command_ClearState{ClearState: &journalv1.ClearState{Key: key()}}
	case "eager-state":
		command.Command = &journalv1.Command_GetEagerState{GetEagerState: &journalv1.GetEagerState{
			Key: key(), Result: a.result(),
		}}
	case "sleep":
		command.Command = &journalv1.Command_Sleep{Sleep: &journalv1.Sleep{
			WakeUpTime: a.number("until", 0), CompletionId: index,
		}}
	case "call":
		command.Command = &journalv1.Command_Call{Call: &journalv1.Call{
			Request: b.request(a), CompletionId: index, InvocationIdCompletionId: a.index("told", 0),
		}}
	case "one-way":
		command.Command = &journalv1.Command_OneWayCall{OneWayCall: b.oneWay(a)}
	case "builtin-complete":
		command.Command = &journalv1.Command_Call{Call: &journalv1.Call{
			BuiltinCompleteAwakeable: b.completeAwakeable(a), CompletionId: index, BuiltinResponse: []byte("ok"),
		}}
	case "builtin-one-way":
		command.Command = &journalv1.Command_Call{Call: &journalv1.Call{
			BuiltinOneWayCall: b.oneWay(a), CompletionId: index, BuiltinResponse: []byte("ok"),
		}}
	case "awakeable":
		command.Command = &journalv1.Command_Awakeable{Awakeable: &journalv1.Awakeable{CompletionId: index}}
	case "complete-awakeable":
		command.Command = &journalv1.Command_CompleteAwakeable{CompleteAwakeable: b.completeAwakeable(a)}
	case "custom":
		command.Command = &journalv1.Command_Custom{Custom: &journalv1.Custom{Type: 0xfc01, Payload: []byte("p")}}
	case "output":
		command.Command = &journalv1.Command_Output{Output: &journalv1.Output{Result: a.result()}}
	case "input":
		command.Command = &journalv1.Command_Input{Input: &journalv1.Input{}}
	case "call-nobody":
		command.Command = &journalv1.Command_Call{Call: &journalv1.Call{CompletionId: index}}
	case "nothing":
	default:
		return b.fillMore(command, word, a, index)
	}
	return nil
}

// fillMore has the commands that the 2023 protocol does not.
func (b *builder) fillMore(command *journalv1.Command, word string, a *arguments, index uint32) error {
	key := a.text("key", "")
	switch word {
	case "clear-all":
		command.Command = &journalv1.Command_ClearAllState{ClearAllState: &journalv1.ClearAllState{}}
	case "state-keys":
		command.Command = &journalv1.Command_GetStateKeys{GetStateKeys: &journalv1.GetStateKeys{
			CompletionId: index, MaxKeys: a.index("max-keys", 0), MaxBytes: a.index("max-bytes", 0),
		}}
	case "eager-keys":
		command.Command = &journalv1.Command_GetEagerStateKeys{GetEagerStateKeys: &journalv1.GetEagerStateKeys{}}
	case "get-promise":
		command.Command = &journalv1.Command_GetPromise{GetPromise: &journalv1.GetPromise{Key: key, CompletionId: index}}
	case "peek-promise":
		command.Command = &journalv1.Command_PeekPromise{PeekPromise: &journalv1.PeekPromise{Key: key, CompletionId: index}}
	case "complete-promise":
		command.Command = &journalv1.Command_CompletePromise{CompletePromise: &journalv1.CompletePromise{
			Key: key, CompletionId: index, Result: a.result(),
		}}
	case "run":
		command.Command = &journalv1.Command_Run{Run: &journalv1.Run{CompletionId: index}}
	case "send-signal":
		command.Command = &journalv1.Command_SendSignal{SendSignal: b.sendSignal(a)}
	case "attach-to":
		command.Command = &journalv1.Command_AttachInvocation{AttachInvocation: &journalv1.AttachInvocation{
			Invocation: b.ref(a), CompletionId: index,
		}}
	case "output-of":
		command.Command = &journalv1.Command_GetInvocationOutput{GetInvocationOutput: &journalv1.GetInvocationOutput{
			Invocation: b.ref(a), CompletionId: index,
		}}
	default:
		return fmt.Errorf("a handler gives no command %q", word)
	}
	return nil
}

func (b *builder) sendSignal(a *arguments) *journalv1.SendSignal {
	name := a.text("to", "")
	id := b.id(name, name)
	signal := &journalv1.SendSignal{InvocationId: id[:], Result: a.result()}
	if a.has("named") {
		signal.Signal = &journalv1.SendSignal_Name{Name: a.text("named", "")}
	} else {
		signal.Signal = &journalv1.SendSignal_Index{Index: a.index("signal", 0)}
	}
	return signal
}

func (b *builder) ref(a *arguments) *journalv1.InvocationRef {
	name := a.text("of", "")
	id := b.id(name, name)
	return &journalv1.InvocationRef{InvocationId: id[:]}
}

func (b *builder) request(a *arguments) *journalv1.CallRequest {
	target := b.target(a)
	id := b.targetID(a.text("to", ""), target)
	return &journalv1.CallRequest{
		Target: target, InvocationId: id[:], Parameter: []byte(a.text("arg", "")), IdempotencyKey: a.optional("idempotency"),
		CompletionRetention: a.number("retention", 0), JournalRetention: a.number("journal-retention", 0),
	}
}

func (b *builder) oneWay(a *arguments) *journalv1.OneWayCall {
	return &journalv1.OneWayCall{
		Request: b.request(a), InvokeTime: a.number("at", 0), InvocationIdCompletionId: a.index("told", 0),
	}
}

func (b *builder) completeAwakeable(a *arguments) *journalv1.CompleteAwakeable {
	name := a.text("of", "")
	id := b.id(name, name)
	return &journalv1.CompleteAwakeable{
		AwakeableId: name, InvocationId: id[:], CompletionId: a.index("completion", 0),
		SignalIndex: a.index("signal", 0), Result: a.result(),
	}
}
