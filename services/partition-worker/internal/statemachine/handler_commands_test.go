package statemachine_test

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
)

// command is one that a handler of the target may give. Its completion id is its index, and that of the callee's id
// follows from it.
func (c *cluster) command(index uint32, target *journalv1.Target) *journalv1.Command {
	command := &journalv1.Command{AckRequested: c.chance(10)}
	switch n := c.random.IntN(100); {
	case n < 25:
		c.stateCommand(command, index)
	case n < 65 && target.GetKind() == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
		c.promiseCommand(command, index)
	case n < 50:
		command.Command = &journalv1.Command_Sleep{Sleep: &journalv1.Sleep{
			WakeUpTime: c.now + c.random.Uint64N(100), CompletionId: index,
		}}
	case n < 65:
		call := &journalv1.Call{CompletionId: index}
		switch c.random.IntN(10) {
		case 0:
			call.BuiltinOneWayCall = c.oneWay(0)
		case 1:
			call.BuiltinCompleteAwakeable = c.completeAwakeable()
		default:
			call.Request, call.InvocationIdCompletionId = c.callRequest(), c.told(index)
		}
		command.Command = &journalv1.Command_Call{Call: call}
	case n < 70:
		command.Command = &journalv1.Command_OneWayCall{OneWayCall: c.oneWay(c.told(index))}
	case n < 75:
		command.Command = &journalv1.Command_Run{Run: &journalv1.Run{CompletionId: index}}
	case n < 80:
		command.Command = &journalv1.Command_AttachInvocation{AttachInvocation: &journalv1.AttachInvocation{
			Invocation: c.ref(), CompletionId: index,
		}}
	case n < 82:
		command.Command = &journalv1.Command_GetInvocationOutput{GetInvocationOutput: &journalv1.GetInvocationOutput{
			Invocation: c.ref(), CompletionId: index,
		}}
	case n < 87:
		command.Command = &journalv1.Command_SendSignal{SendSignal: c.sendSignal()}
	case n < 92:
		command.Command = &journalv1.Command_Awakeable{Awakeable: &journalv1.Awakeable{CompletionId: index}}
	case n < 96:
		command.Command = &journalv1.Command_CompleteAwakeable{CompleteAwakeable: c.completeAwakeable()}
	default:
		command.Command = &journalv1.Command_Output{Output: &journalv1.Output{Result: c.result()}}
	}
	return command
}

func (c *cluster) stateCommand(command *journalv1.Command, index uint32) {
	key := []byte{'x' + byte(c.random.IntN(2))}
	switch c.random.IntN(7) {
	case 0:
		command.Command = &journalv1.Command_GetState{GetState: &journalv1.GetState{Key: key, CompletionId: index}}
	case 1:
		command.Command = &journalv1.Command_GetStateKeys{GetStateKeys: &journalv1.GetStateKeys{CompletionId: index}}
	case 2:
		command.Command = &journalv1.Command_GetEagerStateKeys{GetEagerStateKeys: &journalv1.GetEagerStateKeys{}}
	case 3:
		command.Command = &journalv1.Command_ClearState{ClearState: &journalv1.ClearState{Key: key}}
	case 4:
		command.Command = &journalv1.Command_ClearAllState{ClearAllState: &journalv1.ClearAllState{}}
	default:
		command.Command = &journalv1.Command_SetState{SetState: &journalv1.SetState{Key: key, Value: key}}
	}
}

func (c *cluster) promiseCommand(command *journalv1.Command, index uint32) {
	key := pick(c, []string{"p", "q"})
	switch c.random.IntN(4) {
	case 0:
		command.Command = &journalv1.Command_PeekPromise{PeekPromise: &journalv1.PeekPromise{Key: key, CompletionId: index}}
	case 1:
		command.Command = &journalv1.Command_CompletePromise{CompletePromise: &journalv1.CompletePromise{
			Key: key, CompletionId: index, Result: c.result(),
		}}
	default:
		command.Command = &journalv1.Command_GetPromise{GetPromise: &journalv1.GetPromise{Key: key, CompletionId: index}}
	}
}

// told returns the completion id of the callee's id, or 0.
func (c *cluster) told(index uint32) uint32 {
	if c.chance(50) {
		return 0
	}
	return 1000 + index
}

func (c *cluster) callRequest() *journalv1.CallRequest {
	target, id := c.target()
	request := &journalv1.CallRequest{Target: target, InvocationId: id[:]}
	if c.chance(50) {
		request.CompletionRetention, request.JournalRetention = c.random.Uint64N(400), c.random.Uint64N(400)
	}
	return request
}

func (c *cluster) oneWay(told uint32) *journalv1.OneWayCall {
	call := &journalv1.OneWayCall{Request: c.callRequest(), InvocationIdCompletionId: told}
	if c.chance(50) {
		call.InvokeTime = c.now + c.random.Uint64N(100)
	}
	return call
}

func (c *cluster) completeAwakeable() *journalv1.CompleteAwakeable {
	id, completion := c.anybody()
	complete := &journalv1.CompleteAwakeable{InvocationId: id[:], Result: c.result()}
	if c.chance(50) {
		complete.SignalIndex = 17
	} else {
		complete.CompletionId = completion
	}
	return complete
}

func (c *cluster) sendSignal() *journalv1.SendSignal {
	id := c.somebody()
	signal := &journalv1.SendSignal{InvocationId: id[:], Result: c.result()}
	switch c.random.IntN(3) {
	case 0:
		signal.Signal = &journalv1.SendSignal_Index{Index: 1}
		signal.Result = &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
	case 1:
		signal.Signal = &journalv1.SendSignal_Index{Index: 17}
	default:
		signal.Signal = &journalv1.SendSignal_Name{Name: pick(c, []string{"s", "t"})}
	}
	return signal
}

func (c *cluster) ref() *journalv1.InvocationRef {
	id := c.somebody()
	return &journalv1.InvocationRef{InvocationId: id[:]}
}

// somebody is any invocation of the cluster, whatever its state, or one that is not known.
func (c *cluster) somebody() ids.InvocationID {
	m := pick(c, c.members)
	if all := c.all(m); len(all) > 0 && c.chance(95) {
		return pick(c, all)
	}
	return ids.MakeInvocationID(uint64(m.index)<<63, [16]byte{15: 1})
}
