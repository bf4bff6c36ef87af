package domain_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"

	"github.com/restate-go/restate/services/storage-reader/internal/domain"
)

func TestTraceContext(t *testing.T) {
	const trace, span = "0102030405060708090a0b0c0d0e0f10", "a1a2a3a4a5a6a7a8"
	for parent, valid := range map[string]bool{
		"00-" + trace + "-" + span + "-01":        true,
		"cc-" + trace + "-" + span + "-00-future": true,
		"":                                      false,
		"00-" + trace + "-" + span:              false,
		"00-" + trace[2:] + "-" + span + "-01":  false,
		"00-" + trace + "-" + span[2:] + "-01":  false,
		"00-" + trace + "-" + span + "-0101":    false,
		"00-" + trace[1:] + "x-" + span + "-01": false,
		"00-" + trace + "-" + span[1:] + "x-01": false,
		"00-" + trace + "-" + span + "-xx":      false,
	} {
		call := domain.Invocation(ids.InvocationID{}, nil, nil, nil, &journalv1.SpanContext{Traceparent: parent})
		require.Equal(t, valid, call.GetSpanContext() != nil, parent)
	}
}

// TestStepsThatTheProtocolLacks are shown all the same: a journal has no holes.
func TestStepsThatTheProtocolLacks(t *testing.T) {
	command := &journalv1.Command{Name: "a step of another generation", AckRequested: true}
	row, err := domain.Entry(command, nil)
	require.NoError(t, err)
	custom := row.GetEntry().GetHeader().GetCustom()
	require.NotNil(t, custom)
	require.Zero(t, custom.GetCode())
	require.True(t, custom.GetRequiresAck())
	decoded := &journalv1.Command{}
	require.NoError(t, proto.Unmarshal(row.GetEntry().GetRawEntry(), decoded))
	require.True(t, proto.Equal(command, decoded))
}

func TestStatusSaysWhichEndpoint(t *testing.T) {
	status := domain.Status(ids.InvocationID{}, &storagev1.Invocation{State: storagev1.Invocation_STATE_INVOKED}, domain.NoSink())
	require.NotNil(t, status.GetInvoked().GetJournalMeta().GetNone(), "none has been chosen")
	require.NotNil(t, status.GetInvoked().GetResponseSink().GetNone())
}
