// Package rowstest has rows of every table for tests of the storage-reader.
package rowstest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// Layout is what Fill fills.
func Layout() keyspace.Layout { return keyspace.Layout{Partitions: 4} }

// UUID makes 16 bytes that are easy to tell apart.
func UUID(n byte) [16]byte { return [16]byte{0xee, 15: n} }

// Keyed returns an id of an invocation of a service with that key.
func Keyed(key string, n byte) ids.InvocationID {
	return ids.MakeInvocationID(keyspace.HashKey([]byte(key)), UUID(n))
}

// KeyedTarget is a method of a keyed service.
func KeyedTarget(service, handler, key string) *journalv1.Target {
	return &journalv1.Target{Service: service, Handler: handler, Key: []byte(key), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED}
}

// Holder runs Counter/Add for the key "\x01a", and is suspended.
func Holder() ids.InvocationID { return Keyed("\x01a", 1) }

// Waiting is a call that waits for Holder.
func Waiting() ids.InvocationID { return Keyed("\x01a", 2) }

// caller is an unkeyed invocation, with an idempotency key, so that its partition key has nothing to do with its UUID.
func caller() ids.InvocationID { return ids.MakeInvocationID(0x8000000012345678, UUID(3)) }

// delayed is a call that Holder made.
func delayed() ids.InvocationID { return Keyed("\x01b", 4) }

// outside is a delayed call that was made from outside.
func outside() ids.InvocationID { return Keyed("\x01c", 5) }

// kept is over, and its result is kept.
func kept() ids.InvocationID { return Keyed("\x01d", 6) }

func bytesOf(id ids.InvocationID) []byte { return id[:] }

func span() *journalv1.SpanContext {
	return &journalv1.SpanContext{
		Traceparent: "00-0102030405060708090a0b0c0d0e0f10-a1a2a3a4a5a6a7a8-01", Tracestate: "vendor=1",
	}
}

func value(v string) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte(v)}}
}

func failure(code uint32, message string) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{Code: code, Message: message}}}
}

func void() *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
}

func call(target *journalv1.Target, id ids.InvocationID, parameter string) *journalv1.CallRequest {
	return &journalv1.CallRequest{Target: target, InvocationId: id[:], Parameter: []byte(parameter), SpanContext: span()}
}

// entries is a journal with every kind of command, and results of some of them between, as they arrived.
func entries() []*journalv1.Entry {
	var grown []*journalv1.Entry
	add := func(commands ...*journalv1.Command) {
		for _, command := range commands {
			grown = append(grown, &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: command}})
		}
	}
	done := func(id uint32, result *journalv1.Result) {
		grown = append(grown, &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: &journalv1.Notification{
			Id: &journalv1.Notification_CompletionId{CompletionId: id}, Result: result,
		}}})
	}
	other := KeyedTarget("Other", "Do", "\x01x")
	add(
		&journalv1.Command{Command: &journalv1.Command_Input{Input: &journalv1.Input{Value: []byte("in")}}},
		&journalv1.Command{Command: &journalv1.Command_GetState{GetState: &journalv1.GetState{Key: []byte("count"), CompletionId: 1}}},
	)
	done(1, void())
	add(
		&journalv1.Command{Command: &journalv1.Command_GetEagerState{
			GetEagerState: &journalv1.GetEagerState{Key: []byte("eager"), Result: value("7")},
		}},
		&journalv1.Command{Command: &journalv1.Command_SetState{SetState: &journalv1.SetState{Key: []byte("count"), Value: []byte("1")}}},
		&journalv1.Command{Command: &journalv1.Command_ClearState{ClearState: &journalv1.ClearState{Key: []byte("old")}}},
		&journalv1.Command{Command: &journalv1.Command_Sleep{Sleep: &journalv1.Sleep{WakeUpTime: 1000, CompletionId: 5}}},
		&journalv1.Command{Command: &journalv1.Command_Sleep{Sleep: &journalv1.Sleep{WakeUpTime: 2000, CompletionId: 6}}},
		&journalv1.Command{Command: &journalv1.Command_Call{
			Call: &journalv1.Call{Request: call(other, Keyed("\x01x", 8), "p"), CompletionId: 7},
		}},
		&journalv1.Command{Command: &journalv1.Command_Call{
			Call: &journalv1.Call{Request: call(other, Keyed("\x01x", 9), "p"), CompletionId: 8},
		}},
	)
	// Completed out of order, after other commands.
	done(8, failure(404, "gone"))
	done(5, void())
	add(&journalv1.Command{Command: &journalv1.Command_Call{Call: &journalv1.Call{
		Request:                  &journalv1.CallRequest{Target: &journalv1.Target{Service: "dev.restate.Awakeables", Handler: "Resolve"}},
		CompletionId:             9,
		BuiltinCompleteAwakeable: &journalv1.CompleteAwakeable{},
		BuiltinResponse:          []byte{},
	}}})
	done(9, value(""))
	add(
		&journalv1.Command{Command: &journalv1.Command_OneWayCall{OneWayCall: &journalv1.OneWayCall{
			Request: call(KeyedTarget("Counter", "Add", "\x01b"), delayed(), "later"), InvokeTime: 5000,
		}}},
		&journalv1.Command{Command: &journalv1.Command_Awakeable{Awakeable: &journalv1.Awakeable{CompletionId: 11}}},
	)
	done(11, value("woken"))
	add(
		&journalv1.Command{Command: &journalv1.Command_Awakeable{Awakeable: &journalv1.Awakeable{CompletionId: 12}}},
		&journalv1.Command{Command: &journalv1.Command_CompleteAwakeable{
			CompleteAwakeable: &journalv1.CompleteAwakeable{AwakeableId: "awk", Result: value("v")},
		}},
		&journalv1.Command{AckRequested: true, Command: &journalv1.Command_Custom{
			// What the SDK makes of a side effect that returned {"a":1}.
			Custom: &journalv1.Custom{Type: 0xfc01, Payload: append([]byte{14<<3 | 2, 7}, `{"a":1}`...)},
		}},
		&journalv1.Command{Command: &journalv1.Command_Output{Output: &journalv1.Output{Result: failure(500, "no")}}},
	)
	return grown
}

// filler writes rows.
type filler struct {
	testing.TB
	space func(partition uint32) kv.Space
}

func (f filler) write(partition uint32, change func(*kv.Tx)) {
	f.Helper()
	tx := kv.NewTx(f.space(partition))
	change(tx)
	require.NoError(f, tx.Commit())
}

// at changes the rows of the partition that the invocation is in.
func (f filler) at(id ids.InvocationID, change func(*kv.Tx)) {
	f.Helper()
	f.write(Layout().PartitionOf(id.PartitionKey()), change)
}

// PutFresh writes an invocation that has nothing but its input. by is Holder if that called it, nil for outside.
func PutFresh(
	t testing.TB, tx *kv.Tx, id ids.InvocationID, state storagev1.Invocation_State, target *journalv1.Target, argument string, by []byte,
) {
	t.Helper()
	invocation := &storagev1.Invocation{
		State: state, Target: target, CreatedAt: 300, ModifiedAt: 301, JournalLength: 1, CommandCount: 1,
		CallerInvocationId: by, CallerCommandIndex: 10,
		ResponseSinks: []*logv1.ResponseSink{
			{Sink: &logv1.ResponseSink_Ingress{Ingress: &logv1.IngressSink{IngressId: "ingress-1", RequestId: 9}}},
			{Sink: &logv1.ResponseSink_Ingress{Ingress: &logv1.IngressSink{IngressId: "ingress-2", RequestId: 9}}},
		},
	}
	if by != nil {
		invocation.CallerTarget = KeyedTarget("Counter", "Add", "\x01a")
	}
	require.NoError(t, storage.PutInvocation(tx, id, invocation))
	require.NoError(t, storage.PutJournalEntry(tx, id, 0, &journalv1.Entry{Entry: &journalv1.Entry_Command{
		Command: &journalv1.Command{Command: &journalv1.Command_Input{Input: &journalv1.Input{Value: []byte(argument)}}},
	}}))
}

// Fill writes rows of every table into the partitions of the layout.
func Fill(t testing.TB, space func(partition uint32) kv.Space) {
	t.Helper()
	f := filler{t, space}
	f.at(Holder(), f.holder)
	f.at(caller(), func(tx *kv.Tx) {
		target := &journalv1.Target{Service: "Greeter", Handler: "Greet", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED}
		PutFresh(t, tx, caller(), storagev1.Invocation_STATE_INVOKED, target, "hello", nil)
	})
	f.start(5000, delayed(), "\x01b", bytesOf(Holder()))
	f.start(6000, outside(), "\x01c", nil)
	f.at(kept(), func(tx *kv.Tx) {
		require.NoError(t, storage.PutInvocation(tx, kept(), &storagev1.Invocation{
			State: storagev1.Invocation_STATE_COMPLETED, Target: KeyedTarget("Counter", "Add", "\x01d"), Result: value("kept"),
		}))
		require.NoError(t, storage.PutTimer(tx, storage.TimerID{FireAt: 1, Invocation: kept(), Kind: storage.TimerDrop},
			&storagev1.Timer{Timer: &storagev1.Timer_DropInvocation{DropInvocation: &storagev1.DropInvocation{}}}))
	})
	f.write(1, f.partition)
	f.today()
}

// holder writes the invocation with that journal, what waits for it, and its timers.
func (f filler) holder(tx *kv.Tx) {
	target := KeyedTarget("Counter", "Add", "\x01a")
	instance := storage.InstanceOf(Holder(), target)
	var commands, length uint32
	for _, entry := range entries() {
		index := length
		length++
		require.NoError(f, storage.PutJournalEntry(tx, Holder(), index, entry))
		n := entry.GetNotification()
		if n == nil {
			commands++
			continue
		}
		require.NoError(f, storage.PutCompletion(tx, Holder(), n.GetCompletionId(), &storagev1.Completion{
			Completion: &storagev1.Completion_JournalIndex{JournalIndex: index},
		}))
	}
	for index, result := range map[uint32]*journalv1.Result{
		commands: value("early"), commands + 3: failure(2, "too early"), commands + 300: void(),
	} {
		require.NoError(f, storage.PutCompletion(tx, Holder(), index, &storagev1.Completion{
			Completion: &storagev1.Completion_Early{Early: result},
		}))
	}
	require.NoError(f, storage.PutInvocation(tx, Holder(), &storagev1.Invocation{
		State: storagev1.Invocation_STATE_SUSPENDED, Target: target, SpanContext: span(), CreatedAt: 100, ModifiedAt: 200,
		JournalLength: length, CommandCount: commands, Pin: &logv1.PinnedEndpoint{EndpointId: "dp1"},
		Awaiting: &journalv1.Future{Completions: []uint32{12, 6}, Commands: []uint32{12, 30}},
		ResponseSinks: []*logv1.ResponseSink{{Sink: &logv1.ResponseSink_Caller{
			Caller: &logv1.CallerSink{InvocationId: bytesOf(caller()), CompletionId: 3},
		}}},
	}))
	require.NoError(f, storage.PutLock(tx, instance, Holder()))
	require.NoError(f, storage.PutTimer(tx,
		storage.TimerID{FireAt: 2000, Invocation: Holder(), Kind: storage.TimerSleep, CompletionID: 6},
		&storagev1.Timer{Timer: &storagev1.Timer_CompleteSleep{CompleteSleep: &storagev1.CompleteSleep{CompletionId: 6}}}))
	tx.Put(storage.StateKey(instance, []byte("count")), []byte("1"))
	tx.Put(storage.StateKey(instance, []byte("z")), nil)

	PutFresh(f, tx, Waiting(), storagev1.Invocation_STATE_INBOXED, target, "wait", nil)
	require.NoError(f, storage.PutInbox(tx, instance, 7, &storagev1.InboxEntry{InvocationId: bytesOf(Waiting())}))
}

// start writes a call that is due at that time.
func (f filler) start(at uint64, id ids.InvocationID, key string, by []byte) {
	f.startOf(at, id, KeyedTarget("Counter", "Add", key), by)
}

func (f filler) startOf(at uint64, id ids.InvocationID, target *journalv1.Target, by []byte) {
	f.at(id, func(tx *kv.Tx) {
		PutFresh(f, tx, id, storagev1.Invocation_STATE_SCHEDULED, target, "later", by)
		require.NoError(f, storage.PutTimer(tx, storage.TimerID{FireAt: at, Invocation: id, Kind: storage.TimerStart},
			&storagev1.Timer{Timer: &storagev1.Timer_StartInvocation{StartInvocation: &storagev1.StartInvocation{}}}))
	})
}

// partition writes the rows of a partition that belong to no invocation.
func (f filler) partition(tx *kv.Tx) {
	require.NoError(f, storage.PutMeta(tx, &storagev1.PartitionMeta{
		AppliedSequence: 3, NextInboxSequence: 8, NextOutboxSequence: 12, FirstOutboxSequence: 9,
	}))
	for producer, sequence := range map[string]uint64{
		storage.PartitionProducer(2): 22, storage.PartitionProducer(10): 1 << 40, "leader": 5, "meta/x": 6,
	} {
		require.NoError(f, storage.PutDeduplication(tx, producer, &storagev1.Deduplication{Sequence: sequence, SeenAt: 1}))
	}
	for sequence, message := range map[uint64]*storagev1.OutboxMessage{
		9: {Message: &storagev1.OutboxMessage_Invoke{Invoke: &logv1.Invoke{
			InvocationId: bytesOf(Waiting()), Target: KeyedTarget("Counter", "Add", "\x01a"), Argument: []byte("arg"), SpanContext: span(),
		}}},
		10: {Message: &storagev1.OutboxMessage_Notify{Notify: &logv1.Notify{
			InvocationId: bytesOf(Holder()), Notification: &journalv1.Notification{
				Id: &journalv1.Notification_CompletionId{CompletionId: 7}, Result: failure(409, "busy"),
			},
		}}},
		11: {Message: &storagev1.OutboxMessage_IngressResponse{IngressResponse: &storagev1.IngressResponse{
			IngressId: "ingress-1", RequestId: 4, InvocationId: bytes.Repeat([]byte{1}, ids.InvocationIDSize), Result: value("done"),
		}}},
	} {
		require.NoError(f, storage.PutOutbox(tx, sequence, message))
	}
}
