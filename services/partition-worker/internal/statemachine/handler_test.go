package statemachine_test

import (
	"encoding/binary"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// target makes a callee anywhere in the cluster. Few keys are used, so that callees meet.
func (c *cluster) target() (*journalv1.Target, ids.InvocationID) {
	c.made++
	partition := c.random.Uint64N(2) << 63
	var u [16]byte
	binary.BigEndian.PutUint64(u[8:], c.made)
	switch c.random.IntN(8) {
	case 0:
		key := c.random.Uint64N(3)
		target := &journalv1.Target{
			Service: "keyed", Key: []byte{'a' + byte(key)}, Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED,
			Shared: c.chance(25),
		}
		return target, ids.MakeInvocationID(partition+key, u)
	case 1:
		target := &journalv1.Target{Service: "singleton", Kind: journalv1.ServiceKind_SERVICE_KIND_SINGLETON}
		return target, ids.MakeInvocationID(partition+7, u)
	case 2, 3, 4:
		key := c.random.Uint64N(workflowKeys)
		target, run := workflow(partition, key)
		if c.chance(70) {
			target.Shared = true
			return target, ids.MakeInvocationID(partition+workflowBase+key, u)
		}
		return target, run
	case 5:
		target := &journalv1.Target{Service: "idempotent", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED}
		return target, ids.MakeInvocationID(partition+100+c.random.Uint64N(2), [16]byte{1})
	default:
		target := &journalv1.Target{Service: "unkeyed", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED}
		return target, ids.MakeInvocationID(partition+c.random.Uint64N(1<<62), u)
	}
}

const (
	workflowKeys = 2
	workflowBase = 20
)

// workflow is the run of a workflow key, whose id follows from the key.
func workflow(partition, key uint64) (*journalv1.Target, ids.InvocationID) {
	target := &journalv1.Target{
		Service: "workflow", Key: []byte{'a' + byte(key)}, Kind: journalv1.ServiceKind_SERVICE_KIND_WORKFLOW,
	}
	return target, ids.MakeInvocationID(partition+workflowBase+key, [16]byte{1})
}

// reusable says whether the id is one that requests share, as they do with an idempotency key.
func reusable(id ids.InvocationID) bool { return id[8] == 1 }

// request is what an ingress appends.
func (c *cluster) request(m *member) *logv1.Record {
	switch n := c.random.IntN(100); {
	case n < 10:
		return c.awakeable()
	case n < 15:
		return &logv1.Record{Command: &logv1.Record_Notify{Notify: c.signal()}}
	case n < 60:
		return c.operation(m)
	}
	if c.chance(15) {
		return c.clientStart(m)
	}
	target, id := c.target()
	// It goes to the log of its partition.
	id[0] = byte(m.index) << 7
	return c.invoke(target, id)
}

func (c *cluster) invoke(target *journalv1.Target, id ids.InvocationID) *logv1.Record {
	invoke := &logv1.Invoke{InvocationId: id[:], Target: target, Argument: []byte("x")}
	if c.chance(60) {
		invoke.ResponseSink = c.sink()
		invoke.GetResponseSink().GetIngress().Acceptance = c.chance(30)
	}
	if c.chance(20) {
		invoke.ExecutionTime = c.now + c.random.Uint64N(100)
	}
	if c.chance(50) {
		invoke.CompletionRetention = c.random.Uint64N(400)
		invoke.JournalRetention = c.random.Uint64N(400)
	}
	return &logv1.Record{Command: &logv1.Record_Invoke{Invoke: invoke}}
}

// sink is that of a new request.
func (c *cluster) sink() *logv1.ResponseSink {
	c.requests++
	return &logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{
		Ingress: &logv1.IngressSink{IngressId: "i", RequestId: c.requests},
	}}
}

// signal is for somebody who may be in this partition. What is meant for another is dropped there.
func (c *cluster) signal() *logv1.Notify {
	id, _ := c.anybody()
	notification := &journalv1.Notification{
		Id: &journalv1.Notification_SignalIndex{SignalIndex: 17 + c.random.Uint32N(2)}, Result: c.result(),
	}
	if c.chance(50) {
		notification.Id = &journalv1.Notification_SignalName{SignalName: pick(c, []string{"s", "t"})}
	}
	return &logv1.Notify{InvocationId: id[:], Notification: notification}
}

// clientService is that of the invocations that clients run.
const clientService = "client"

// clientStart is a client that begins one of a few operations, or takes it over.
func (c *cluster) clientStart(m *member) *logv1.Record {
	operation := c.random.Uint64N(3)
	id := ids.MakeInvocationID(uint64(m.index)<<63+200+operation, [16]byte{1})
	return &logv1.Record{Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{
		InvocationId: id[:],
		Target: &journalv1.Target{
			Service: clientService, Key: []byte{'a' + byte(operation)}, Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED,
		},
		CompletionRetention: 1 + c.random.Uint64N(100),
		ClientStream:        string('a' + rune(c.random.IntN(3))),
	}}}
}

// awakeable completes something that may be an awakeable, of somebody who may be in this partition.
func (c *cluster) awakeable() *logv1.Record {
	id, completion := c.anybody()
	return &logv1.Record{Command: &logv1.Record_Notify{Notify: &logv1.Notify{
		InvocationId: id[:],
		Notification: &journalv1.Notification{
			Id: &journalv1.Notification_CompletionId{CompletionId: completion}, Result: c.result(),
		},
		Awakeable: true,
	}}}
}

func (c *cluster) anybody() (ids.InvocationID, uint32) {
	m := pick(c, c.members)
	all := c.invocations(m, inProgress)
	if len(all) == 0 || c.chance(5) {
		c.made++
		return ids.MakeInvocationID(c.random.Uint64N(2)<<63, [16]byte{15: byte(c.made)}), 1
	}
	id := pick(c, all)
	return id, 1 + c.random.Uint32N(c.invocation(m, id).GetCommandCount()+1)
}

func (c *cluster) result() *journalv1.Result {
	if c.chance(20) {
		return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{Code: 500, Message: "no"}}}
	}
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte{byte(c.random.IntN(256))}}}
}

// leaderRecord is what the leader of the partition proposes; nil when it has nothing to say.
func (c *cluster) leaderRecord(m *member) *logv1.Record {
	switch n := c.random.IntN(100); {
	case n < 15:
		var timers []storage.TimerID
		require.NoError(c.t, storage.ScanTimers(m.space, nil, 3, func(id storage.TimerID) error {
			timers = append(timers, id)
			return nil
		}))
		if len(timers) == 0 {
			return nil
		}
		return &logv1.Record{Command: &logv1.Record_TimerFired{TimerFired: &logv1.TimerFired{Key: pick(c, timers).Key()}}}
	case n < 20:
		return &logv1.Record{Command: &logv1.Record_TruncateOutbox{TruncateOutbox: &logv1.TruncateOutbox{
			Through: m.delivered - min(m.delivered, c.random.Uint64N(3)),
		}}}
	default:
		running := c.invocations(m, func(i *storagev1.Invocation) bool {
			return i.GetState() == storagev1.Invocation_STATE_INVOKED
		})
		if len(running) == 0 {
			return nil
		}
		id := pick(c, running)
		return c.runReport(m, id, c.invocation(m, id))
	}
}

// runReport is what a run says: usually the next thing, sometimes something that is out of date.
func (c *cluster) runReport(m *member, id ids.InvocationID, i *storagev1.Invocation) *logv1.Record {
	effect := &logv1.InvokerEffect{}
	switch n := c.random.IntN(100); {
	case n < 10 || i.GetCommandCount() > 12:
		effect.Effect = &logv1.InvokerEffect_Ended{Ended: &logv1.Ended{}}
		if c.chance(80) {
			effect.GetEnded().Output = c.result()
		}
	case n < 12:
		effect.Effect = &logv1.InvokerEffect_Failed{Failed: &journalv1.Failure{Code: 500, Message: "gave up"}}
	case n < 14:
		effect.Effect = &logv1.InvokerEffect_Paused{Paused: &logv1.Paused{Failure: &journalv1.Failure{Code: 500}}}
	case n < 40:
		effect.Effect = &logv1.InvokerEffect_Suspended{Suspended: c.future(c.waitable(m, id, i), 2)}
		effect.KnownEntries = i.GetJournalLength() - c.random.Uint32N(min(i.GetJournalLength(), 3)+1)
	case n < 55:
		run := c.openRun(m, id, i)
		if run == 0 {
			return nil
		}
		effect.Effect = &logv1.InvokerEffect_RunCompletion{RunCompletion: &logv1.RunCompletion{
			CompletionId: run, Result: c.result(),
		}}
	default:
		index := i.GetCommandCount()
		if c.chance(5) {
			index = c.random.Uint32N(index + 2)
		}
		effect.Effect = &logv1.InvokerEffect_AppendCommand{AppendCommand: &logv1.AppendCommand{
			CommandIndex: index, Command: c.command(index, i.GetTarget()),
		}}
	}
	if i.GetPin() == nil && c.chance(50) {
		effect.Pin = &logv1.PinnedEndpoint{EndpointId: "e"}
	}
	return c.effect(id, i, effect)
}

func (c *cluster) effect(id ids.InvocationID, i *storagev1.Invocation, effect *logv1.InvokerEffect) *logv1.Record {
	effect.InvocationId, effect.Run = id[:], i.GetRun()
	if c.chance(3) {
		effect.Run--
	}
	return &logv1.Record{Command: &logv1.Record_InvokerEffect{InvokerEffect: effect}}
}

// openRun returns the completion of a run of the handler, which may have been proposed before; 0 for none.
func (c *cluster) openRun(m *member, id ids.InvocationID, i *storagev1.Invocation) uint32 {
	var runs []uint32
	require.NoError(c.t, storage.ScanJournal(m.space, id, 0, i.GetJournalLength(),
		func(_ uint32, entry *journalv1.Entry) error {
			if run := entry.GetCommand().GetRun(); run != nil {
				runs = append(runs, run.GetCompletionId())
			}
			return nil
		}))
	if len(runs) == 0 {
		return 0
	}
	return pick(c, runs)
}

// waitable returns the completions of what the handler has begun, completed or not.
func (c *cluster) waitable(m *member, id ids.InvocationID, i *storagev1.Invocation) []uint32 {
	completions := []uint32{}
	require.NoError(c.t, storage.ScanJournal(m.space, id, 0, i.GetJournalLength(),
		func(_ uint32, entry *journalv1.Entry) error {
			completions = append(completions, completionsOf(entry.GetCommand())...)
			return nil
		}))
	return completions
}

// future waits for some of the completions, for signals, or for an acknowledgement, in a tree of the depth.
func (c *cluster) future(completions []uint32, depth int) *journalv1.Future {
	future := &journalv1.Future{Combinator: journalv1.Future_Combinator(c.random.Int32N(5))}
	for _, completion := range completions {
		if c.chance(40) {
			future.Completions = append(future.Completions, completion)
		}
	}
	if c.chance(30) {
		future.Signals = []uint32{1}
	}
	if c.chance(10) {
		future.Signals = append(future.Signals, 17)
	}
	if c.chance(10) {
		future.NamedSignals = []string{"s"}
	}
	for depth > 0 && c.chance(40) {
		future.Nested = append(future.Nested, c.future(completions, depth-1))
	}
	if len(future.GetCompletions())+len(future.GetSignals())+len(future.GetNested()) == 0 {
		future.Commands = []uint32{c.random.Uint32N(15)}
	}
	return future
}
