package v0_test

import (
	"bytes"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
)

// sent are frames of every type that an endpoint may send.
func sent(t testing.TB) []frame.Frame {
	t.Helper()
	awakeable := ids.FormatAwakeable(ids.InvocationID{1}, 3)
	failure := &protocol.Failure{Code: 9, Message: "no"}
	frames := []frame.Frame{{Type: v0.TypeCustom + 1, Flags: v0.FlagRequiresAck, Payload: []byte("1")}}
	for _, m := range []struct {
		kind    frame.Type
		message proto.Message
	}{
		{v0.TypeSuspension, &protocol.SuspensionMessage{EntryIndexes: []uint32{1, 2}}},
		{v0.TypeError, &protocol.ErrorMessage{Code: 13, Message: "try again"}},
		{v0.TypeOutputStream, &protocol.OutputStreamEntryMessage{Result: &protocol.OutputStreamEntryMessage_Value{Value: []byte("v")}}},
		{v0.TypeOutputStream, &protocol.OutputStreamEntryMessage{Result: &protocol.OutputStreamEntryMessage_Failure{Failure: failure}}},
		{v0.TypeGetState, &protocol.GetStateEntryMessage{Key: []byte("k")}},
		{v0.TypeGetState, &protocol.GetStateEntryMessage{Key: []byte("k"), Result: &protocol.GetStateEntryMessage_Value{Value: []byte("v")}}},
		{v0.TypeGetState, &protocol.GetStateEntryMessage{Key: []byte("k"), Result: &protocol.GetStateEntryMessage_Empty{Empty: &emptypb.Empty{}}}},
		{v0.TypeSetState, &protocol.SetStateEntryMessage{Key: []byte("k"), Value: []byte("v")}},
		{v0.TypeClearState, &protocol.ClearStateEntryMessage{Key: []byte("k")}},
		{v0.TypeSleep, &protocol.SleepEntryMessage{WakeUpTime: 1}},
		{v0.TypeInvoke, &protocol.InvokeEntryMessage{ServiceName: "S", MethodName: "M", Parameter: []byte("p")}},
		{v0.TypeBackgroundInvoke, &protocol.BackgroundInvokeEntryMessage{ServiceName: "S", MethodName: "M", InvokeTime: 1}},
		{v0.TypeAwakeable, &protocol.AwakeableEntryMessage{}},
		{v0.TypeCompleteAwakeable, &protocol.CompleteAwakeableEntryMessage{
			Id: awakeable, Result: &protocol.CompleteAwakeableEntryMessage_Value{Value: []byte("v")},
		}},
		{v0.TypeCompleteAwakeable, &protocol.CompleteAwakeableEntryMessage{
			Id: awakeable, Result: &protocol.CompleteAwakeableEntryMessage_Failure{Failure: failure},
		}},
	} {
		payload, err := proto.Marshal(m.message)
		require.NoError(t, err)
		frames = append(frames, frame.Frame{Type: m.kind, Payload: payload})
	}
	return frames
}

func TestDecodeKnowsEveryTypeThatEndpointsSend(t *testing.T) {
	for _, f := range sent(t) {
		_, err := v0.Decode(f, 1)
		require.NoError(t, err, "%#04x", uint16(f.Type))
	}
	for _, kind := range []frame.Type{v0.TypeStart, v0.TypeCompletion, v0.TypePollInputStream, 0x0402, 0x0c05} {
		_, err := v0.Decode(frame.Frame{Type: kind}, 1)
		require.ErrorIs(t, err, frame.ErrViolation, "%#04x", uint16(kind))
	}
}

// FuzzDecode reads arbitrary frames: no panic, an error that says whose fault it is, or a message that can be stored. A
// command is the same after it has been sent to the endpoint and back, which is what a replay does.
func FuzzDecode(f *testing.F) {
	for _, one := range sent(f) {
		f.Add(uint16(one.Type), one.Flags, uint32(1), one.Payload)
	}
	f.Fuzz(func(t *testing.T, kind, flags uint16, index uint32, payload []byte) {
		message, err := v0.Decode(frame.Frame{Type: frame.Type(kind), Flags: flags, Payload: payload}, index)
		if err != nil {
			require.ErrorIs(t, err, frame.ErrViolation)
			return
		}
		switch m := message.(type) {
		case *journalv1.Command:
			requireReplayed(t, m, index)
		case v0.Suspension:
			require.NotEmpty(t, m.Indexes)
		case *v0.EndpointError:
			require.True(t, utf8.ValidString(m.Message))
			require.LessOrEqual(t, len(m.Message), frame.MaxErrorText)
		default:
			t.Fatalf("an unexpected message: %T", message)
		}
	})
}

// FuzzStart replays arbitrary journals. Each of the frames can be read, and there is one for the start and each command.
func FuzzStart(f *testing.F) {
	for _, one := range sent(f) {
		message, err := v0.Decode(one, 0)
		require.NoError(f, err)
		if command, ok := message.(*journalv1.Command); ok {
			stored, err := proto.Marshal(command)
			require.NoError(f, err)
			f.Add(stored, []byte("v"), uint32(9), "no")
		}
	}
	f.Fuzz(func(t *testing.T, stored, value []byte, code uint32, reason string) {
		command := &journalv1.Command{}
		if proto.Unmarshal(stored, command) != nil || !utf8.ValidString(reason) {
			return // neither comes out of the store
		}
		results := []*journalv1.Result{
			nil,
			{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}},
			{Result: &journalv1.Result_Value{Value: value}},
			{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{Code: code, Message: reason}}},
		}
		for _, result := range results {
			entries := []*journalv1.Entry{{Entry: &journalv1.Entry_Command{Command: command}}}
			if result != nil {
				entries = append(entries, &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: &journalv1.Notification{
					Id: &journalv1.Notification_CompletionId{CompletionId: 0}, Result: result,
				}}})
			}
			encoded, err := v0.AppendStart(nil, v0.Start{ID: ids.InvocationID{1}, Entries: entries})
			if err != nil {
				continue // a command that this generation does not have
			}
			frames := frame.NewReader(bytes.NewReader(encoded), math.MaxUint32)
			first, err := frames.Next()
			require.NoError(t, err)
			require.Equal(t, v0.TypeStart, first.Type)
			start := &protocol.StartMessage{}
			require.NoError(t, proto.Unmarshal(first.Payload, start))
			require.Equal(t, uint32(1), start.GetKnownEntries())
			second, err := frames.Next()
			require.NoError(t, err)
			require.Len(t, encoded, 2*frame.HeaderSize+len(first.Payload)+len(second.Payload))
			if result == nil {
				continue
			}
			completed, err := v0.AppendCompletion(nil, 0, result)
			require.NoError(t, err)
			m := &protocol.CompletionMessage{}
			require.NoError(t, proto.Unmarshal(completed[frame.HeaderSize:], m))
			if failure := m.GetFailure(); failure != nil {
				require.Equal(t, reason, failure.GetMessage())
				require.Equal(t, failure.GetCode(), v0.FoldCode(failure.GetCode()), "a code of this generation")
			}
		}
	})
}

func requireReplayed(t *testing.T, command *journalv1.Command, index uint32) {
	stored, err := proto.Marshal(command)
	require.NoError(t, err)
	want := &journalv1.Command{}
	require.NoError(t, proto.Unmarshal(stored, want))
	encoded, err := v0.EncodeCommand(want, nil)
	require.NoError(t, err)
	again, err := v0.Decode(encoded, index)
	require.NoError(t, err)
	want.AckRequested = again.(*journalv1.Command).GetAckRequested()
	require.True(t, proto.Equal(want, again.(*journalv1.Command)), "%v instead of %v", again, want)
}
