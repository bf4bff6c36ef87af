package statemachine_test

import (
	"encoding/binary"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
)

// all returns all invocations of a partition.
func (c *cluster) all(m *member) []ids.InvocationID {
	return c.invocations(m, func(*storagev1.Invocation) bool { return true })
}

func kill(id ids.InvocationID, sink *logv1.ResponseSink) *logv1.Record {
	return &logv1.Record{Command: &logv1.Record_Terminate{Terminate: &logv1.Terminate{
		InvocationId: id[:], Mode: logv1.TerminationMode_TERMINATION_MODE_KILL, ResponseSink: sink,
	}}}
}

const restarts = 8

// operation is what an operator, or somebody at the ingress, asks about an invocation of the partition.
func (c *cluster) operation(m *member) *logv1.Record {
	id := ids.MakeInvocationID(uint64(m.index)<<63, [16]byte{15: 1})
	if all := c.all(m); len(all) > 0 && c.chance(95) {
		id = pick(c, all)
	}
	kind := c.random.IntN(10)
	over := c.invocations(m, func(i *storagev1.Invocation) bool {
		return i.GetState() == storagev1.Invocation_STATE_COMPLETED && i.GetJournalLength() > 0
	})
	if kind == restarts && len(over) > 0 && c.chance(80) {
		id = pick(c, over)
	}
	var sink *logv1.ResponseSink
	if c.chance(80) {
		sink = c.sink()
	}
	switch kind {
	case 0:
		terminate := kill(id, sink)
		terminate.GetTerminate().Cascade = c.chance(70)
		return terminate
	case 1:
		return &logv1.Record{Command: &logv1.Record_Terminate{Terminate: &logv1.Terminate{
			InvocationId: id[:], Mode: logv1.TerminationMode_TERMINATION_MODE_CANCEL, ResponseSink: sink,
		}}}
	case 2, 3:
		return &logv1.Record{Command: &logv1.Record_Attach{Attach: &logv1.Attach{
			InvocationId: id[:], ResponseSink: sink, Wait: c.chance(70),
		}}}
	case 4:
		return &logv1.Record{Command: &logv1.Record_Purge{Purge: &logv1.Purge{
			InvocationId: id[:], JournalOnly: c.chance(50), ResponseSink: sink,
		}}}
	case 5:
		return &logv1.Record{Command: &logv1.Record_Pause{Pause: &logv1.Pause{InvocationId: id[:], ResponseSink: sink}}}
	case 6, 7:
		return &logv1.Record{Command: &logv1.Record_Resume{Resume: &logv1.Resume{
			InvocationId: id[:], Pin: c.pin(), ResponseSink: sink,
		}}}
	case restarts:
		c.made++
		var u [16]byte
		binary.BigEndian.PutUint64(u[8:], c.made)
		again := ids.MakeInvocationID(id.PartitionKey(), u)
		return &logv1.Record{Command: &logv1.Record_RestartAsNew{RestartAsNew: &logv1.RestartAsNew{
			InvocationId: id[:], NewInvocationId: again[:], From: c.random.Uint32N(10),
			Pin: c.pin(), Unpinned: c.chance(20), ResponseSink: sink,
		}}}
	default:
		if sink != nil {
			c.requests-- // nobody is told of a change of the state
		}
		return c.patch(m)
	}
}

func (c *cluster) pin() *logv1.PinnedEndpoint {
	if c.chance(70) {
		return nil
	}
	return &logv1.PinnedEndpoint{EndpointId: "f"}
}

func (c *cluster) patch(m *member) *logv1.Record {
	partition := uint64(m.index) << 63
	key := c.random.Uint64N(workflowKeys)
	target, id := workflow(partition, key)
	if c.chance(70) {
		target = &journalv1.Target{
			Service: "keyed", Key: []byte{'a' + byte(key)}, Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED,
		}
		id = ids.MakeInvocationID(partition+key, [16]byte{})
	}
	patch := &logv1.PatchState{Target: target, PartitionKey: id.PartitionKey()}
	if c.chance(50) {
		patch.Entries = []*logv1.StateEntry{{Key: []byte("x"), Value: []byte("patched")}}
	}
	if c.chance(30) {
		patch.Version = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
	}
	return &logv1.Record{Command: &logv1.Record_PatchState{PatchState: patch}}
}
