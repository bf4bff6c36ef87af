package v0_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	protocolv0 "github.com/restate-go/restate/proto/gen/dev/restate/service"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
	v0 "github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol/v0"
)

func frames(t *testing.T, encoded []byte) []frame.Frame {
	var out []frame.Frame
	for reader := frame.NewReader(bytes.NewReader(encoded), 1<<20); ; {
		f, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, f)
	}
}

// A cancelled invocation has a signal in its journal; this generation knows nothing of signals.
func TestSignalsAreLeftOut(t *testing.T) {
	void := &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
	signal := &journalv1.Notification{Id: &journalv1.Notification_SignalIndex{SignalIndex: 1}, Result: void}
	named := &journalv1.Notification{Id: &journalv1.Notification_SignalName{SignalName: "s"}, Result: void}
	slept := &journalv1.Notification{Id: &journalv1.Notification_CompletionId{CompletionId: 1}, Result: void}
	command := func(c *journalv1.Command) *journalv1.Entry {
		return &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: c}}
	}
	arrived := func(n *journalv1.Notification) *journalv1.Entry {
		return &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: n}}
	}
	encoded, attempt, err := v0.Codec{}.Begin(nil, protocol.Start{
		ID: ids.InvocationID{1}, CommandCount: 2,
		Entries: []*journalv1.Entry{
			command(&journalv1.Command{Command: &journalv1.Command_Input{Input: &journalv1.Input{Value: []byte("v")}}}),
			arrived(signal),
			command(&journalv1.Command{Command: &journalv1.Command_Sleep{Sleep: &journalv1.Sleep{CompletionId: 1}}}),
			arrived(named),
			arrived(slept),
		},
	})
	require.NoError(t, err)
	got := frames(t, encoded)
	require.Len(t, got, 3)
	start := &protocolv0.StartMessage{}
	require.NoError(t, proto.Unmarshal(got[0].Payload, start))
	require.Equal(t, uint32(2), start.GetKnownEntries())
	require.Equal(t, wire.TypePollInputStream, got[1].Type)
	sleep := &protocolv0.SleepEntryMessage{}
	require.NoError(t, proto.Unmarshal(got[2].Payload, sleep))
	require.NotNil(t, sleep.GetResult(), "the sleep is over")

	for _, n := range []*journalv1.Notification{signal, named} {
		encoded, err = attempt.AppendNotification([]byte("before"), n)
		require.NoError(t, err)
		require.Equal(t, "before", string(encoded))
	}
	encoded, err = attempt.AppendNotification(nil, slept)
	require.NoError(t, err)
	require.Equal(t, wire.TypeCompletion, frames(t, encoded)[0].Type)
}

// However often a handler names the same entry, what it waits for is bounded.
func TestSuspensionOnMany(t *testing.T) {
	suspended := func(n int) error {
		_, attempt, err := v0.Codec{}.Begin(nil, protocol.Start{ID: ids.InvocationID{1}, CommandCount: 1})
		require.NoError(t, err)
		payload, err := proto.Marshal(&protocolv0.SuspensionMessage{EntryIndexes: make([]uint32, n)})
		require.NoError(t, err)
		stream := frame.Append(nil, frame.Frame{Type: wire.TypeSuspension, Payload: payload})
		_, err = attempt.NewDecoder(bytes.NewReader(stream), 1<<20).Next()
		return err
	}
	require.NoError(t, suspended(protocol.MaxWaits))
	require.ErrorIs(t, suspended(protocol.MaxWaits+1), protocol.ErrViolation)
}
