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
	})
	f.startOf(9000, CartLater(), KeyedTarget("Cart", "hold", "b"), nil)
	f.at(Mail(), func(tx *kv.Tx) {
		target := &journalv1.Target{Service: "Mailer", Handler: "send", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED}
		PutFresh(f, tx, Mail(), storagev1.Invocation_STATE_INVOKED, target, "{}", nil)
		f.sleep(tx, Mail(), 7000)
	})
}

func (f filler) sleep(tx *kv.Tx, id ids.InvocationID, until uint64) {
	require.NoError(f, storage.PutTimer(tx, storage.TimerID{FireAt: until, Invocation: id, Kind: storage.TimerSleep, CompletionID: 1},
		&storagev1.Timer{Timer: &storagev1.Timer_CompleteSleep{CompleteSleep: &storagev1.CompleteSleep{CompletionId: 1}}}))
}
