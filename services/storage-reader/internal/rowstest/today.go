package rowstest

import (
	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// Services of today's SDKs have keys that are stored as they are, and other partition keys than those of 2023.

// CartHolder runs Cart/hold for the key "a", which a service of 2023 has too, and sleeps.
func CartHolder() ids.InvocationID { return ids.MakeInvocationID(keyspace.HashText("a"), UUID(0x41)) }

// CartLater is a delayed call from outside.
func CartLater() ids.InvocationID { return ids.MakeInvocationID(keyspace.HashText("b"), UUID(0x42)) }

// Mail runs a handler of a service without keys, and sleeps.
func Mail() ids.InvocationID {
	return ids.MakeInvocationID(keyspace.HashService("Mailer", 7), UUID(0x43))
}

func (f filler) today() {
	cart := KeyedTarget("Cart", "hold", "a")
	f.at(CartHolder(), func(tx *kv.Tx) {
		PutFresh(f, tx, CartHolder(), storagev1.Invocation_STATE_INVOKED, cart, "{}", nil)
		instance := storage.InstanceOf(CartHolder(), cart)
		require.NoError(f, storage.PutLock(tx, instance, CartHolder()))
		tx.Put(storage.StateKey(instance, []byte("items")), []byte("[]"))
		f.sleep(tx, CartHolder(), 8000)
		f.journalOfToday(tx)
	})
	f.startOf(9000, CartLater(), KeyedTarget("Cart", "hold", "b"), nil)
	f.at(Mail(), func(tx *kv.Tx) {
		target := &journalv1.Target{Service: "Mailer", Handler: "send", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED}
		PutFresh(f, tx, Mail(), storagev1.Invocation_STATE_INVOKED, target, "{}", nil)
		f.sleep(tx, Mail(), 7000)
	})
}

// journalOfToday gives CartHolder every command that 2023 did not have, and results of some, out of order.
func (f filler) journalOfToday(tx *kv.Tx) {
	ref := func(id string) *journalv1.InvocationRef {
		return &journalv1.InvocationRef{Ref: &journalv1.InvocationRef_Id{Id: id}}
	}
	mail := Mail().String()
	commands := []*journalv1.Command{
		{Command: &journalv1.Command_Input{Input: &journalv1.Input{Value: []byte("{}")}}},
		{Name: "charge", Command: &journalv1.Command_Run{Run: &journalv1.Run{CompletionId: 2}}},
		{Name: "refund", Command: &journalv1.Command_Run{Run: &journalv1.Run{CompletionId: 3}}},
		{Name: "two\nlines", Command: &journalv1.Command_Run{Run: &journalv1.Run{CompletionId: 4}}},
		{Command: &journalv1.Command_ClearAllState{ClearAllState: &journalv1.ClearAllState{}}},
		{Command: &journalv1.Command_GetStateKeys{GetStateKeys: &journalv1.GetStateKeys{CompletionId: 5}}},
		{Command: &journalv1.Command_GetEagerStateKeys{GetEagerStateKeys: &journalv1.GetEagerStateKeys{Keys: [][]byte{[]byte("items"), []byte("sum")}}}},
		{Command: &journalv1.Command_GetPromise{GetPromise: &journalv1.GetPromise{Key: "paid", CompletionId: 6}}},
		{Command: &journalv1.Command_PeekPromise{PeekPromise: &journalv1.PeekPromise{Key: "paid", CompletionId: 7}}},
		{Command: &journalv1.Command_CompletePromise{CompletePromise: &journalv1.CompletePromise{Key: "paid", CompletionId: 8, Result: value("true")}}},
		{Command: &journalv1.Command_SendSignal{SendSignal: &journalv1.SendSignal{
			Target: mail, Signal: &journalv1.SendSignal_Name{Name: "go"}, Result: value("1"),
		}}},
		{Command: &journalv1.Command_SendSignal{SendSignal: &journalv1.SendSignal{
			Target: mail, Signal: &journalv1.SendSignal_Index{Index: 1}, Result: void(),
		}}},
		{Command: &journalv1.Command_AttachInvocation{AttachInvocation: &journalv1.AttachInvocation{Invocation: ref(mail), CompletionId: 9}}},
		{Command: &journalv1.Command_GetInvocationOutput{GetInvocationOutput: &journalv1.GetInvocationOutput{
			Invocation: &journalv1.InvocationRef{Ref: &journalv1.InvocationRef_WorkflowRun{
				WorkflowRun: &journalv1.WorkflowRun{Workflow: "Signup", Key: "ada"},
			}}, CompletionId: 10,
		}}},
		{Command: &journalv1.Command_AttachInvocation{AttachInvocation: &journalv1.AttachInvocation{
			Invocation: &journalv1.InvocationRef{Ref: &journalv1.InvocationRef_IdempotentRequest{
				IdempotentRequest: &journalv1.IdempotentRequest{Service: "Mailer", Handler: "send", IdempotencyKey: "once"},
			}}, CompletionId: 11,
		}}},
		{Command: &journalv1.Command_Call{Call: &journalv1.Call{
			Request: call(KeyedTarget("Cart", "add", "c"), CartLater(), "{}"), CompletionId: 12,
		}}},
	}
	var entries []*journalv1.Entry
	for _, command := range commands {
		entries = append(entries, &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: command}})
	}
	for id, result := range []*journalv1.Result{
		2: value(`"paid"`), 3: failure(500, "no\nmoney"), 5: {Result: &journalv1.Result_StateKeys{StateKeys: &journalv1.StateKeys{Keys: [][]byte{[]byte("items")}}}},
		7: void(), 8: failure(409, "is completed"), 11: value("sent"),
	} {
		if result == nil {
			continue
		}
		require.NoError(f, storage.PutCompletion(tx, CartHolder(), uint32(id), &storagev1.Completion{
			Completion: &storagev1.Completion_JournalIndex{JournalIndex: uint32(len(entries))}, //nolint:gosec // small
		}))
		entries = append(entries, &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: &journalv1.Notification{
			Id: &journalv1.Notification_CompletionId{CompletionId: uint32(id)}, Result: result,
		}}})
	}
	for index, entry := range entries {
		require.NoError(f, storage.PutJournalEntry(tx, CartHolder(), uint32(index), entry))
	}
	invocation, err := storage.GetInvocation(tx, CartHolder())
	require.NoError(f, err)
	invocation.JournalLength, invocation.CommandCount = uint32(len(entries)), uint32(len(commands)) //nolint:gosec // small
	require.NoError(f, storage.PutInvocation(tx, CartHolder(), invocation))
}

func (f filler) sleep(tx *kv.Tx, id ids.InvocationID, until uint64) {
	require.NoError(f, storage.PutTimer(tx, storage.TimerID{FireAt: until, Invocation: id, Kind: storage.TimerSleep, CompletionID: 1},
		&storagev1.Timer{Timer: &storagev1.Timer_CompleteSleep{CompleteSleep: &storagev1.CompleteSleep{CompletionId: 1}}}))
}
