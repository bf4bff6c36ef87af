package v5_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

func entryOf(command *journalv1.Command) *journalv1.Entry {
	return &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: command}}
}

func arrived(n *journalv1.Notification) *journalv1.Entry {
	return &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: n}}
}

func TestStart(t *testing.T) {
	start := v5.Start{
		ID: ids.InvocationID(rawID(t)), PartialState: true, Key: "k", RetryCount: 3, SinceLastEntry: 1500 * time.Millisecond,
		State:      []v5.StateEntry{{Key: []byte{0xff}, Value: nil}, {Key: []byte("b"), Value: []byte("v")}},
		RandomSeed: 1<<64 - 1, Scope: "s", LimitKey: "l", IdempotencyKey: proto.String(""),
		Entries: []*journalv1.Entry{
			entryOf(&journalv1.Command{Command: &journalv1.Command_Input{Input: &journalv1.Input{}}}),
			// A completion and a signal may come before what asks for them.
			arrived(&journalv1.Notification{Id: &journalv1.Notification_CompletionId{CompletionId: 9}, Result: voidResult()}),
			arrived(&journalv1.Notification{Id: &journalv1.Notification_SignalIndex{SignalIndex: 1}, Result: voidResult()}),
			entryOf(&journalv1.Command{Command: &journalv1.Command_Sleep{Sleep: &journalv1.Sleep{CompletionId: 9}}}),
		},
	}
	want := &wire.Start{
		Id: rawID(t), DebugId: someID, KnownEntries: 4, PartialState: true, Key: "k",
		StateMap:                       []*wire.Start_StateEntry{{Key: []byte{0xff}}, {Key: []byte("b"), Value: []byte("v")}},
		RetryCountSinceLastStoredEntry: 3, DurationSinceLastStoredEntry: 1500, RandomSeed: 1<<64 - 1,
	}
	for version := v5.MinVersion; version <= v5.MaxVersion; version++ {
		if version >= v5.V7 {
			want.Scope, want.LimitKey, want.IdempotencyKey = proto.String("s"), proto.String("l"), proto.String("")
		}
		encoded, completions, err := version.AppendStart([]byte("before"), start)
		require.NoError(t, err)
		require.Equal(t, v5.Completions{9: v5.TypeSleepCompletion}, completions)
		encoded, ok := bytes.CutPrefix(encoded, []byte("before"))
		require.True(t, ok)
		frames := frame.NewReader(bytes.NewReader(encoded), 1<<20)
		f, err := frames.Next()
		require.NoError(t, err)
		got := &wire.Start{}
		require.NoError(t, proto.Unmarshal(f.Payload, got))
		require.True(t, proto.Equal(want, got), "%v", got)
		for _, kind := range []frame.Type{v5.TypeInput, v5.TypeSleepCompletion, v5.TypeSignal, v5.TypeSleep} {
			f, err := frames.Next()
			require.NoError(t, err)
			require.Equal(t, kind, f.Type)
			require.Zero(t, f.Flags)
		}
	}
	// Neither an acknowledgement nor a completion can be told apart by what the journal lacks.
	start.Entries = start.Entries[:2]
	_, _, err := v5.V7.AppendStart(nil, start)
	require.ErrorContains(t, err, "no command has the completion id 9")
}

func TestNotifications(t *testing.T) {
	completions := v5.Completions{1: v5.TypeCallInvocationIDCompletion, 2: v5.TypeGetLazyStateKeysCompletion}
	for _, c := range []struct {
		kind frame.Type
		n    *journalv1.Notification
		want *wire.Notification
	}{
		{
			v5.TypeCallInvocationIDCompletion,
			&journalv1.Notification{
				Id:     &journalv1.Notification_CompletionId{CompletionId: 1},
				Result: &journalv1.Result{Result: &journalv1.Result_InvocationId{InvocationId: someID}},
			},
			&wire.Notification{
				Id: &wire.Notification_CompletionId{CompletionId: 1}, Result: &wire.Notification_InvocationId{InvocationId: someID},
			},
		},
		{
			v5.TypeGetLazyStateKeysCompletion,
			&journalv1.Notification{
				Id: &journalv1.Notification_CompletionId{CompletionId: 2},
				Result: &journalv1.Result{Result: &journalv1.Result_StateKeys{
					StateKeys: &journalv1.StateKeys{Keys: [][]byte{{0xff}, []byte("b")}},
				}},
			},
			&wire.Notification{
				Id:     &wire.Notification_CompletionId{CompletionId: 2},
				Result: &wire.Notification_StateKeys{StateKeys: &wire.StateKeys{Keys: [][]byte{{0xff}, []byte("b")}}},
			},
		},
		{
			v5.TypeSignal,
			&journalv1.Notification{Id: &journalv1.Notification_SignalIndex{SignalIndex: 17}, Result: valueResult("")},
			&wire.Notification{Id: &wire.Notification_SignalId{SignalId: 17}, Result: &wire.Notification_Value{Value: &wire.Value{}}},
		},
		{
			v5.TypeSignal,
			&journalv1.Notification{Id: &journalv1.Notification_SignalName{SignalName: "s"}, Result: failureResult()},
			&wire.Notification{Id: &wire.Notification_SignalName{SignalName: "s"}, Result: &wire.Notification_Failure{Failure: wireFailure()}},
		},
	} {
		encoded, err := v5.V6.AppendNotification(nil, completions, c.n)
		require.NoError(t, err)
		requireSame(t, frame.Append(nil, frameOf(t, c.kind, c.want)), encoded)
	}
	for _, n := range []*journalv1.Notification{
		{Result: voidResult()},
		{Id: &journalv1.Notification_CompletionId{CompletionId: 1}},
		{Id: &journalv1.Notification_CompletionId{CompletionId: 3}, Result: voidResult()},
	} {
		_, err := v5.V6.AppendNotification(nil, completions, n)
		require.Error(t, err)
	}
}

// Each command that is answered is answered in frames of its own types.
func TestCompletionTypes(t *testing.T) {
	type answer struct{ command, completion frame.Type }
	got := map[answer]bool{}
	for _, c := range commandCases(t) {
		completions := v5.Completions{}
		require.NoError(t, completions.Add(c.command))
		for _, kind := range completions {
			got[answer{c.kind, kind}] = true
		}
		if len(completions) > 0 {
			require.ErrorIs(t, completions.Add(c.command), frame.ErrViolation, c.name)
		}
	}
	require.Equal(t, map[answer]bool{
		{v5.TypeGetLazyState, 0x8002}: true, {v5.TypeGetLazyStateKeys, 0x8006}: true, {v5.TypeGetPromise, 0x8009}: true,
		{v5.TypePeekPromise, 0x800a}: true, {v5.TypeCompletePromise, 0x800b}: true, {v5.TypeSleep, 0x800c}: true,
		{v5.TypeCall, 0x800d}: true, {v5.TypeCall, 0x800e}: true, {v5.TypeOneWayCall, 0x800e}: true, {v5.TypeRun, 0x8011}: true,
		{v5.TypeAttachInvocation, 0x8012}: true, {v5.TypeGetInvocationOutput, 0x8013}: true,
	}, got)
}

// A completion id is wanted for a result, and not for the id of a callee.
func TestMissingCompletionIDs(t *testing.T) {
	for _, c := range commandCases(t) {
		command := proto.CloneOf(c.command)
		completions := v5.Completions{}
		require.NoError(t, completions.Add(command))
		answered := len(completions) > 0
		m := command.ProtoReflect()
		field := m.WhichOneof(m.Descriptor().Oneofs().ByName("command"))
		body := m.Mutable(field).Message()
		id := body.Descriptor().Fields().ByName("completion_id")
		if id == nil || c.kind == v5.TypeCompleteAwakeable {
			continue
		}
		require.True(t, answered, c.name)
		body.Clear(id)
		require.ErrorIs(t, v5.Completions{}.Add(command), frame.ErrViolation, c.name)
	}
	require.NoError(t, v5.Completions{}.Add(&journalv1.Command{Command: &journalv1.Command_OneWayCall{}}))
}
