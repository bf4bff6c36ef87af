package statemachine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/storage"
)

// TestAllThatMayWaitAreAnswered has more ask for a result than may wait for it: nothing changes for the others.
func TestAllThatMayWaitAreAnswered(t *testing.T) {
	const may, more = 1000, 5
	c := newCosts(t)
	id, invoke := unkeyedCall(1, 0) // the request 1
	c.apply(t, invoke)
	var asked []*logv1.Record
	for n := range uint64(may + more - 1) {
		asked = append(asked, &logv1.Record{Command: &logv1.Record_Attach{Attach: &logv1.Attach{
			InvocationId: id[:], Wait: true,
			ResponseSink: &logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{
				Ingress: &logv1.IngressSink{IngressId: "i", RequestId: n + 2},
			}},
		}}})
	}
	c.apply(t, asked...)
	c.apply(t, report(id, 1<<16, ended()))

	outcomes, answered := map[storagev1.Outcome]int{}, map[uint64]bool{}
	require.NoError(t, storage.ScanOutbox(c.space, 0, 2*may, func(_ uint64, message *storagev1.OutboxMessage) error {
		response := message.GetIngressResponse()
		outcomes[response.GetOutcome()]++
		answered[response.GetRequestId()] = true
		refused := response.GetRequestId() > may
		require.Equal(t, refused, response.GetOutcome() == storagev1.Outcome_OUTCOME_TOO_MANY_WAIT)
		require.Equal(t, refused, response.GetResult().GetFailure() != nil)
		return nil
	}))
	require.Equal(t, map[storagev1.Outcome]int{
		storagev1.Outcome_OUTCOME_UNSPECIFIED: may, storagev1.Outcome_OUTCOME_TOO_MANY_WAIT: more,
	}, outcomes)
	require.Len(t, answered, may+more)
}
