package v5_test

import (
	"bytes"
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

// An endpoint sends commands, but no input, and six control messages.
func TestFramesThatAnEndpointMayNotSend(t *testing.T) {
	for version := v5.MinVersion; version <= v5.MaxVersion; version++ {
		for kind := range math.MaxUint16 + 1 {
			kind := frame.Type(kind)
			allowed := kind >= v5.TypeSuspension && kind <= v5.TypeEnd || kind == v5.TypeProposeRunCompletion ||
				kind == v5.TypeAwaitingOn && version == v5.V7 ||
				v5.CommandName(kind) != "" && kind != v5.TypeInput
			_, err := version.Decode(frame.Frame{Type: kind})
			if allowed {
				if err != nil {
					require.NotContains(t, err.Error(), "may not send", "%#04x", uint16(kind))
				}
				continue
			}
			require.ErrorIs(t, err, frame.ErrViolation, "%#04x", uint16(kind))
			require.ErrorContains(t, err, "may not send", "%#04x", uint16(kind))
		}
	}
}

type refusal struct {
	name    string
	version v5.Version
	kind    frame.Type
	wire    proto.Message
	want    error
}

func TestRefusals(t *testing.T) {
	for _, c := range append(incompleteFrames(), refusedCommands()...) {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.version.Decode(frameOf(t, c.kind, c.wire))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func incompleteFrames() []refusal {
	value := &wire.Value{}
	return []refusal{
		{"output of nothing", v5.V7, v5.TypeOutput, &wire.OutputCommand{Name: "n"}, frame.ErrViolation},
		{"state without value", v5.V7, v5.TypeSetState, &wire.SetStateCommand{Key: []byte("k")}, frame.ErrViolation},
		{"read without result", v5.V7, v5.TypeGetEagerState, &wire.GetEagerStateCommand{Key: []byte("k")}, frame.ErrViolation},
		{"keys without result", v5.V7, v5.TypeGetEagerStateKeys, &wire.GetEagerStateKeysCommand{}, frame.ErrViolation},
		{"promise without result", v5.V7, v5.TypeCompletePromise, &wire.CompletePromiseCommand{Key: "p", ResultCompletionId: 1}, frame.ErrViolation},
		{"signal without id", v5.V7, v5.TypeSendSignal, &wire.SendSignalCommand{
			TargetInvocationId: someID, Result: &wire.SendSignalCommand_Value{Value: value},
		}, frame.ErrViolation},
		{"signal without result", v5.V7, v5.TypeSendSignal, &wire.SendSignalCommand{
			TargetInvocationId: someID, SignalId: &wire.SendSignalCommand_Idx{Idx: 17},
		}, frame.ErrViolation},
		{"awakeable without result", v5.V7, v5.TypeCompleteAwakeable, &wire.CompleteAwakeableCommand{AwakeableId: someAwakeable}, frame.ErrViolation},
		{"attach to nothing", v5.V7, v5.TypeAttachInvocation, &wire.AttachInvocationCommand{ResultCompletionId: 1}, frame.ErrViolation},
		{"output of nobody", v5.V7, v5.TypeGetInvocationOutput, &wire.AttachInvocationCommand{ResultCompletionId: 1}, frame.ErrViolation},
		{"proposal of nothing", v5.V7, v5.TypeProposeRunCompletion, &wire.ProposeRunCompletion{ResultCompletionId: 1}, frame.ErrViolation},
		{"suspension on nothing", v5.V6, v5.TypeSuspension, &wire.Suspension{}, frame.ErrViolation},
		{"suspension on no future", v5.V7, v5.TypeSuspension, &wire.Suspension{}, frame.ErrViolation},
		{"suspension on an empty tree", v5.V7, v5.TypeSuspension, &wire.Suspension{
			AwaitingOn: &wire.Future{NestedFutures: []*wire.Future{{}, {NestedFutures: []*wire.Future{{}}}}},
		}, frame.ErrViolation},
		{"list in version 7", v5.V7, v5.TypeSuspension, &wire.Suspension{WaitingSignals: []uint32{1}}, frame.ErrViolation},
		{"tree in version 6", v5.V6, v5.TypeSuspension, &wire.Suspension{
			AwaitingOn: &wire.Future{WaitingSignals: []uint32{1}},
		}, frame.ErrViolation},
		{"scope in version 6", v5.V6, v5.TypeCall, &wire.CallCommand{Scope: proto.String("s")}, frame.ErrViolation},
		{"limit key in version 5", v5.V5, v5.TypeOneWayCall, &wire.OneWayCallCommand{LimitKey: proto.String("s")}, frame.ErrViolation},
		{"scope of a target in version 6", v5.V6, v5.TypeAttachInvocation, &wire.AttachInvocationCommand{
			Target: &wire.AttachInvocationCommand_WorkflowTarget{WorkflowTarget: &wire.WorkflowTarget{Scope: proto.String("s")}},
		}, frame.ErrViolation},
	}
}

func refusedCommands() []refusal {
	return []refusal{
		{"empty idempotency key", v5.V5, v5.TypeCall, &wire.CallCommand{IdempotencyKey: proto.String("")}, v5.ErrRefused},
		{"empty idempotency key, one way", v5.V5, v5.TypeOneWayCall, &wire.OneWayCallCommand{IdempotencyKey: proto.String("")}, v5.ErrRefused},
		{"empty idempotency key of a target", v5.V5, v5.TypeAttachInvocation, &wire.AttachInvocationCommand{
			Target: &wire.AttachInvocationCommand_IdempotentRequestTarget{IdempotentRequestTarget: &wire.IdempotentRequestTarget{ServiceName: "S"}},
		}, v5.ErrRefused},
		{"bad id of a target", v5.V5, v5.TypeGetInvocationOutput, &wire.AttachInvocationCommand{
			Target: &wire.AttachInvocationCommand_InvocationId{InvocationId: "inv_1"},
		}, v5.ErrRefused},
		{"signal to a bad id", v5.V5, v5.TypeSendSignal, &wire.SendSignalCommand{
			TargetInvocationId: "inv_1", SignalId: &wire.SendSignalCommand_Idx{Idx: 1}, Result: &wire.SendSignalCommand_Void{Void: &wire.Void{}},
		}, v5.ErrRefused},
		{"signal 0", v5.V5, v5.TypeSendSignal, &wire.SendSignalCommand{
			TargetInvocationId: someID, SignalId: &wire.SendSignalCommand_Idx{}, Result: &wire.SendSignalCommand_Void{Void: &wire.Void{}},
		}, v5.ErrRefused},
		{"bad awakeable", v5.V5, v5.TypeCompleteAwakeable, &wire.CompleteAwakeableCommand{
			AwakeableId: someID, Result: &wire.CompleteAwakeableCommand_Value{Value: &wire.Value{}},
		}, v5.ErrRefused},
		{"empty scope", v5.V7, v5.TypeCall, &wire.CallCommand{Scope: proto.String("")}, v5.ErrScope},
		{"bad scope", v5.V7, v5.TypeOneWayCall, &wire.OneWayCallCommand{Scope: proto.String("a b")}, v5.ErrScope},
		{"empty limit key", v5.V7, v5.TypeCall, &wire.CallCommand{Scope: proto.String("s"), LimitKey: proto.String("")}, v5.ErrScope},
		{"limit key without scope", v5.V7, v5.TypeCall, &wire.CallCommand{LimitKey: proto.String("l")}, v5.ErrScope},
		{"bad scope of a target", v5.V7, v5.TypeAttachInvocation, &wire.AttachInvocationCommand{
			Target: &wire.AttachInvocationCommand_IdempotentRequestTarget{IdempotentRequestTarget: &wire.IdempotentRequestTarget{
				IdempotencyKey: "i", Scope: proto.String("/"),
			}},
		}, v5.ErrScope},
	}
}

func TestGarbage(t *testing.T) {
	for name, payload := range map[string][]byte{
		"cut tag":           {0x80},
		"cut length":        {0x72},
		"length over end":   {0x72, 0x05, 0x01},
		"field 0":           {0x02, 0x00},
		"end without start": {0x74},
	} {
		for kind := range payloads {
			if kind == v5.TypeEnd || kind == v5.TypeStart || kind >= v5.TypeCommandAck && kind < v5.TypeOutput {
				continue
			}
			_, err := v5.V7.Decode(frame.Frame{Type: kind, Payload: payload})
			require.ErrorIs(t, err, frame.ErrViolation, "%s in %#04x", name, uint16(kind))
		}
	}
	for kind := v5.TypeOutput; v5.CommandName(kind) != ""; kind++ {
		_, err := v5.V7.Decode(frame.Frame{Type: kind, Payload: []byte{0x62, 0x01, 0xff}})
		require.ErrorIs(t, err, frame.ErrViolation, "a name in %#04x that is not UTF-8", uint16(kind))
		require.ErrorContains(t, err, "UTF-8")
	}
	_, err := v5.V7.Decode(frame.Frame{Type: v5.TypeOutput, Payload: []byte{0x72, 0x02, 0x0a, 0x05}})
	require.ErrorIs(t, err, frame.ErrViolation, "a value that ends after the output")
}

// nest returns the payload of a suspension on futures nested this deeply, the outermost being one.
func nest(depth int) []byte {
	future := []byte{2 << 3, 1} // waits for signal 1
	for range depth - 1 {
		future = append(protowire.AppendVarint([]byte{4<<3 | 2}, uint64(len(future))), future...)
	}
	return append(protowire.AppendVarint([]byte{4<<3 | 2}, uint64(len(future))), future...)
}

func TestDepthOfFutures(t *testing.T) {
	message, err := v5.V7.Decode(frame.Frame{Type: v5.TypeSuspension, Payload: nest(1000)})
	require.NoError(t, err)
	depth := 0
	for f := message.(v5.Suspension).Future; ; f = f.GetNested()[0] {
		depth++
		if len(f.GetNested()) == 0 {
			require.Equal(t, []uint32{1}, f.GetSignals())
			break
		}
	}
	require.Equal(t, 1000, depth)
	// Such a future can be stored.
	stored, err := proto.Marshal(message.(v5.Suspension).Future)
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(stored, &journalv1.Future{}))
	for _, depth := range []int{1001, 12_000} {
		_, err = v5.V7.Decode(frame.Frame{Type: v5.TypeSuspension, Payload: nest(depth)})
		require.ErrorIs(t, err, v5.ErrTooDeep)
		awaiting := append([]byte{1<<3 | 2}, nest(depth)[1:]...)
		_, err = v5.V7.Decode(frame.Frame{Type: v5.TypeAwaitingOn, Payload: awaiting})
		require.ErrorIs(t, err, v5.ErrTooDeep)
	}
}

// A payload of the largest size cannot be made to take many times as much memory.
func TestPayloadsOfManyFields(t *testing.T) {
	const size = 7 << 20
	for name, f := range map[string]frame.Frame{
		"futures":  {Type: v5.TypeSuspension, Payload: protowire.AppendBytes([]byte{4<<3 | 2}, bytes.Repeat([]byte{4<<3 | 2, 0}, size/2))},
		"headers":  {Type: v5.TypeCall, Payload: bytes.Repeat([]byte{4<<3 | 2, 0}, size/2)},
		"keys":     {Type: v5.TypeGetEagerStateKeys, Payload: protowire.AppendBytes([]byte{14<<3 | 2}, bytes.Repeat([]byte{1<<3 | 2, 0}, size/2))},
		"metadata": {Type: v5.TypeOutput, Payload: protowire.AppendBytes([]byte{15<<3 | 2}, bytes.Repeat([]byte{3<<3 | 2, 0}, size/2))},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := v5.V7.Decode(f)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, frame.ErrViolation, name)
		require.ErrorContains(t, err, "fields", name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(size), name)
	}
}

func TestError(t *testing.T) {
	decode := func(m *wire.Error) *v5.EndpointError {
		message, err := v5.V5.Decode(frameOf(t, v5.TypeError, m))
		require.NoError(t, err)
		return message.(*v5.EndpointError)
	}
	index, delay := uint32(0), time.Duration(0)
	require.Equal(t, &v5.EndpointError{
		Code: 500, Message: "m", Stacktrace: "s", RelatedIndex: &index, RelatedName: "n", RelatedType: "Run",
		RetryDelay: &delay, Behavior: v5.BehaviorPause,
	}, decode(&wire.Error{
		Code: 500, Message: "m", Stacktrace: "s", RelatedCommandIndex: proto.Uint32(0), RelatedCommandName: proto.String("n"),
		RelatedCommandType: proto.Uint32(0x0411), NextRetryDelay: proto.Uint64(0), Behavior: wire.Behavior_BEHAVIOR_PAUSE,
	}))
	require.Equal(t, &v5.EndpointError{}, decode(&wire.Error{}))
	require.Equal(t, &v5.EndpointError{Behavior: v5.BehaviorFail}, decode(&wire.Error{
		Behavior: wire.Behavior_BEHAVIOR_FAIL, RelatedCommandType: proto.Uint32(0x10411),
	}))
	require.Equal(t, &v5.EndpointError{}, decode(&wire.Error{Behavior: 99}), "unknown behaviors are left to the retry policy")
	require.Positive(t, *decode(&wire.Error{NextRetryDelay: proto.Uint64(math.MaxUint64)}).RetryDelay)

	long := decode(&wire.Error{Message: strings.Repeat("€", 1<<20), Stacktrace: strings.Repeat("x", 1<<20)})
	require.True(t, utf8.ValidString(long.Message))
	encoded, err := json.Marshal(long)
	require.NoError(t, err)
	require.Less(t, len(encoded), 128<<10)
}

// What a later release combines in another way wakes the handler when anything has arrived.
func TestUnknownCombinator(t *testing.T) {
	message, err := v5.V7.Decode(frameOf(t, v5.TypeSuspension, &wire.Suspension{
		AwaitingOn: &wire.Future{WaitingSignals: []uint32{1}, CombinatorType: 17},
	}))
	require.NoError(t, err)
	require.Equal(t, journalv1.Future_COMBINATOR_UNSPECIFIED, message.(v5.Suspension).Future.GetCombinator())
}

// Repeated numbers come packed or not.
func TestUnpackedFuture(t *testing.T) {
	message, err := v5.V5.Decode(frame.Frame{Type: v5.TypeSuspension, Payload: []byte{1 << 3, 5, 1 << 3, 6, 2<<3 | 2, 2, 1, 17}})
	require.NoError(t, err)
	future := message.(v5.Suspension).Future
	require.Equal(t, []uint32{5, 6}, future.GetCompletions())
	require.Equal(t, []uint32{1, 17}, future.GetSignals())
}
