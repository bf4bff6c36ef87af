package v5_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wirev5 "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
	v5 "github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol/v5"
)

var (
	plain     = &journalv1.Target{Service: "S", Handler: "h", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED}
	object    = &journalv1.Target{Service: "O", Handler: "h", Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED, Key: []byte("k")}
	sharedOne = &journalv1.Target{
		Service: "O", Handler: "s", Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED, Key: []byte("k"), Shared: true,
	}
	workflow       = &journalv1.Target{Service: "W", Handler: "run", Kind: journalv1.ServiceKind_SERVICE_KIND_WORKFLOW, Key: []byte("k")}
	sharedWorkflow = &journalv1.Target{
		Service: "W", Handler: "s", Kind: journalv1.ServiceKind_SERVICE_KIND_WORKFLOW, Key: []byte("k"), Shared: true,
	}
)

// begin begins an attempt with an input and these entries.
func begin(t testing.TB, version uint32, target *journalv1.Target, entries ...*journalv1.Entry) protocol.Attempt {
	t.Helper()
	codec, ok := v5.New(version)
	require.True(t, ok)
	start := protocol.Start{
		ID: ids.InvocationID{1}, Target: target, CommandCount: 1,
		Entries: append([]*journalv1.Entry{entryOf(&journalv1.Command{Command: &journalv1.Command_Input{}})}, entries...),
	}
	for _, entry := range entries {
		if entry.GetCommand() != nil {
			start.CommandCount++
		}
	}
	_, attempt, err := codec.Begin(nil, start)
	require.NoError(t, err)
	return attempt
}

func entryOf(command *journalv1.Command) *journalv1.Entry {
	return &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: command}}
}

func arrived(n *journalv1.Notification) *journalv1.Entry {
	return &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: n}}
}

func value(s string) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte(s)}}
}

func runEntry(id uint32) *journalv1.Entry {
	return entryOf(&journalv1.Command{Command: &journalv1.Command_Run{Run: &journalv1.Run{CompletionId: id}}})
}

type sent struct {
	kind  frame.Type
	flags uint16
	m     proto.Message
}

// stream is what an endpoint sends.
func stream(t testing.TB, messages ...sent) []byte {
	t.Helper()
	var out []byte
	for _, s := range messages {
		payload, err := proto.Marshal(s.m)
		require.NoError(t, err)
		out = frame.Append(out, frame.Frame{Type: s.kind, Flags: s.flags, Payload: payload})
	}
	return out
}

// drain reads messages until an error.
func drain(attempt protocol.Attempt, stream []byte) ([]protocol.Message, error) {
	decoder := attempt.NewDecoder(bytes.NewReader(stream), 1<<20)
	var messages []protocol.Message
	for {
		message, err := decoder.Next()
		if err != nil {
			return messages, err
		}
		messages = append(messages, message)
	}
}

func run(id uint32) sent { return sent{wire.TypeRun, 0, &wirev5.RunCommand{ResultCompletionId: id}} }

func proposal(id uint32, flags uint16, result string) sent {
	return sent{wire.TypeProposeRunCompletion, flags, &wirev5.ProposeRunCompletion{
		ResultCompletionId: id, Result: &wirev5.ProposeRunCompletion_Value{Value: []byte(result)},
	}}
}

func output(result string) sent {
	return sent{wire.TypeOutput, 0, &wirev5.OutputCommand{
		Result: &wirev5.OutputCommand_Value{Value: &wirev5.Value{Content: []byte(result)}},
	}}
}

var end = sent{wire.TypeEnd, 0, &wirev5.End{}}

func TestVersions(t *testing.T) {
	for version := range uint32(10) {
		codec, ok := v5.New(version)
		require.Equal(t, version >= 5 && version <= 7, ok)
		require.Equal(t, version, codec.Version())
	}
	codec, _ := v5.New(6)
	require.Equal(t, "application/vnd.restate.invocation.v6", codec.ContentType())
}

func TestStartOfAttempt(t *testing.T) {
	target := proto.CloneOf(workflow)
	target.Scope, target.LimitKey = "s", "l"
	codec, _ := v5.New(7)
	encoded, _, err := codec.Begin([]byte("before"), protocol.Start{
		ID: ids.InvocationID{1}, Target: target, IdempotencyKey: proto.String("i"), RandomSeed: 5,
		State:      []protocol.StateEntry{{Key: []byte("k"), Value: []byte("v")}},
		RetryCount: 2, SinceLastEntry: 3 * time.Second,
	})
	require.NoError(t, err)
	encoded, ok := bytes.CutPrefix(encoded, []byte("before"))
	require.True(t, ok)
	f, err := frame.NewReader(bytes.NewReader(encoded), 1<<20).Next()
	require.NoError(t, err)
	got := &wirev5.Start{}
	require.NoError(t, proto.Unmarshal(f.Payload, got))
	id := ids.InvocationID{1}
	require.True(t, proto.Equal(&wirev5.Start{
		Id: id[:], DebugId: id.String(), Key: "k", RandomSeed: 5,
		StateMap:                       []*wirev5.Start_StateEntry{{Key: []byte("k"), Value: []byte("v")}},
		RetryCountSinceLastStoredEntry: 2, DurationSinceLastStoredEntry: 3000,
		Scope: proto.String("s"), LimitKey: proto.String("l"), IdempotencyKey: proto.String("i"),
	}, got), "%v", got)
}

// In version 7, and only where the endpoint asks for it, a result that this very attempt proposed is acknowledged;
// otherwise it is told.
func TestAnswersToProposals(t *testing.T) {
	type answer struct {
		name     string
		version  uint32
		flags    uint16
		proposed string
		want     frame.Type
	}
	for _, c := range []answer{
		{"version 5", 5, wire.FlagAckRequested, "r", wire.TypeRunCompletion},
		{"version 6", 6, wire.FlagAckRequested, "r", wire.TypeRunCompletion},
		{"version 7", 7, wire.FlagAckRequested, "r", wire.TypeProposeRunCompletionAck},
		{"not asked for", 7, 0, "r", wire.TypeRunCompletion},
		{"not proposed", 7, 0, "", wire.TypeRunCompletion},
		// The one that was stored is of an attempt before.
		{"another result", 7, wire.FlagAckRequested, "s", wire.TypeRunCompletion},
	} {
		t.Run(c.name, func(t *testing.T) {
			attempt := begin(t, c.version, plain, runEntry(4))
			if c.proposed != "" {
				messages, err := drain(attempt, stream(t, proposal(4, c.flags, c.proposed)))
				require.Equal(t, io.ErrUnexpectedEOF, err)
				require.Len(t, messages, 1)
				require.Equal(t, uint32(4), messages[0].RunCompletion.GetCompletionId())
				require.True(t, proto.Equal(value(c.proposed), messages[0].RunCompletion.GetResult()))
			}
			for _, want := range []frame.Type{c.want, wire.TypeRunCompletion} { // told again, it is told whole
				encoded, err := attempt.AppendNotification(nil, completion(4, value("r")))
				require.NoError(t, err)
				f, err := frame.NewReader(bytes.NewReader(encoded), 1<<20).Next()
				require.NoError(t, err)
				require.Equal(t, want, f.Type)
			}
		})
	}
}

func TestProposalsThatAreRefused(t *testing.T) {
	sleep := entryOf(&journalv1.Command{Command: &journalv1.Command_Sleep{Sleep: &journalv1.Sleep{CompletionId: 2}}})
	for name, messages := range map[string][]sent{
		"no command":      {proposal(9, 0, "r")},
		"another command": {proposal(2, 0, "r")},
		"completed":       {proposal(1, 0, "r")},
		"twice":           {run(3), proposal(3, 0, "r"), proposal(3, 0, "r")},
	} {
		attempt := begin(t, 7, plain, runEntry(1), sleep, arrived(completion(1, value("r"))))
		_, err := drain(attempt, stream(t, messages...))
		require.ErrorIs(t, err, protocol.ErrViolation, name)
	}
}

func TestEnd(t *testing.T) {
	_, err := drain(begin(t, 5, plain), stream(t, end))
	require.ErrorIs(t, err, protocol.ErrViolation)

	for name, attempt := range map[string]protocol.Attempt{
		"in the journal": begin(t, 5, plain, entryOf(&journalv1.Command{
			Command: &journalv1.Command_Output{Output: &journalv1.Output{Result: value("v")}},
		})),
		"new": begin(t, 5, plain),
	} {
		messages := []sent{end}
		if name == "new" { // of several the last counts
			messages = []sent{output("a"), output("b"), end}
		}
		got, err := drain(attempt, stream(t, messages...))
		require.Equal(t, io.ErrUnexpectedEOF, err)
		require.Len(t, got, len(messages))
		require.True(t, got[len(got)-1].Ended, name)
	}
}

func TestCommandIndexes(t *testing.T) {
	messages, err := drain(begin(t, 6, plain, runEntry(1), arrived(completion(1, value("r")))), stream(t, run(2), proposal(2, 0, "r"), run(7)))
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Len(t, messages, 3)
	require.Equal(t, uint32(2), messages[0].CommandIndex)
	require.Equal(t, uint32(3), messages[2].CommandIndex)
}

func TestCompletionIDsAreTakenOnce(t *testing.T) {
	for name, messages := range map[string][]sent{
		"in the journal": {run(1)},
		"before":         {run(2), run(2)},
		"none":           {run(0)},
		"call with both the same": {{wire.TypeCall, 0, &wirev5.CallCommand{
			ServiceName: "S", HandlerName: "h", InvocationIdNotificationIdx: 2, ResultCompletionId: 2,
		}}},
	} {
		_, err := drain(begin(t, 6, plain, runEntry(1)), stream(t, messages...))
		require.ErrorIs(t, err, protocol.ErrViolation, name)
	}
}

func TestSuspension(t *testing.T) {
	future := &wirev5.Future{
		WaitingSignals: []uint32{1},
		NestedFutures: []*wirev5.Future{{
			WaitingCompletions: []uint32{1, 2}, CombinatorType: wirev5.Combinator_COMBINATOR_ALL_COMPLETED,
		}},
		WaitingNamedSignals: []string{"s"},
		CombinatorType:      wirev5.Combinator_COMBINATOR_FIRST_COMPLETED,
	}
	messages, err := drain(begin(t, 7, plain, runEntry(1)), stream(t, run(2),
		sent{wire.TypeAwaitingOn, 0, &wirev5.AwaitingOn{AwaitingOn: future}},
		sent{wire.TypeSuspension, 0, &wirev5.Suspension{AwaitingOn: future}}))
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Len(t, messages, 3)
	want := &journalv1.Future{
		Signals: []uint32{1}, NamedSignals: []string{"s"},
		Nested: []*journalv1.Future{{
			Completions: []uint32{1, 2}, Combinator: journalv1.Future_COMBINATOR_ALL_COMPLETED,
		}},
		Combinator: journalv1.Future_COMBINATOR_FIRST_COMPLETED,
	}
	require.True(t, proto.Equal(want, messages[1].AwaitingOn))
	require.True(t, proto.Equal(want, messages[2].Suspended))

	// What no command asks for never arrives.
	_, err = drain(begin(t, 7, plain, runEntry(1)), stream(t, sent{wire.TypeSuspension, 0, &wirev5.Suspension{AwaitingOn: future}}))
	require.ErrorIs(t, err, protocol.ErrViolation)
	_, err = drain(begin(t, 5, plain), stream(t, sent{wire.TypeSuspension, 0, &wirev5.Suspension{WaitingCompletions: []uint32{1}}}))
	require.ErrorIs(t, err, protocol.ErrViolation)
}

func TestServiceError(t *testing.T) {
	index, delay := uint32(3), 250*time.Millisecond
	for _, c := range []struct {
		wire *wirev5.Error
		want *protocol.ServiceError
	}{
		{&wirev5.Error{Code: 500, Message: "m"}, &protocol.ServiceError{Code: 500, Message: "m"}},
		{
			&wirev5.Error{
				Code: 570, Message: "m", Stacktrace: "s", RelatedCommandIndex: &index, RelatedCommandName: proto.String("n"),
				RelatedCommandType: proto.Uint32(uint32(wire.TypeSleep)), NextRetryDelay: proto.Uint64(250),
				Behavior: wirev5.Behavior_BEHAVIOR_FAIL,
			},
			&protocol.ServiceError{
				Code: 570, Message: "m", Stacktrace: "s", Mismatch: true, RetryDelay: &delay, Behavior: protocol.BehaviorFail,
				Related: &protocol.RelatedCommand{Index: &index, Name: "n", Type: "Sleep"},
			},
		},
		{
			&wirev5.Error{RelatedCommandName: proto.String("n"), Behavior: wirev5.Behavior_BEHAVIOR_PAUSE},
			&protocol.ServiceError{Behavior: protocol.BehaviorPause, Related: &protocol.RelatedCommand{Name: "n"}},
		},
	} {
		_, err := drain(begin(t, 5, plain), stream(t, sent{wire.TypeError, 0, c.wire}))
		require.Equal(t, c.want, err)
	}
}

func TestStreamErrors(t *testing.T) {
	broken := errors.New("broken")
	_, err := begin(t, 5, plain).NewDecoder(iotest.ErrReader(broken), 1<<20).Next()
	require.ErrorIs(t, err, broken)
	_, err = drain(begin(t, 5, plain), stream(t, run(1))[:9])
	require.Equal(t, io.ErrUnexpectedEOF, err)
	_, err = begin(t, 5, plain).NewDecoder(bytes.NewReader(stream(t, output("0123456789"))), 10).Next()
	require.ErrorIs(t, err, protocol.ErrTooLarge)
}

func TestCodesOfRefusals(t *testing.T) {
	deep := &wirev5.Future{WaitingSignals: []uint32{1}}
	for range 1000 {
		deep = &wirev5.Future{NestedFutures: []*wirev5.Future{deep}}
	}
	for code, message := range map[errcode.Code]sent{
		errcode.CommandRefused: {wire.TypeCall, 0, &wirev5.CallCommand{IdempotencyKey: proto.String("")}},
		errcode.ScopeRefused:   {wire.TypeCall, 0, &wirev5.CallCommand{LimitKey: proto.String("l")}},
		errcode.FutureTooDeep:  {wire.TypeSuspension, 0, &wirev5.Suspension{AwaitingOn: deep}},
	} {
		_, err := drain(begin(t, 7, plain), stream(t, message))
		require.Equal(t, code, errcode.Of(err, errcode.InvocationFailed))
		require.NotErrorIs(t, err, protocol.ErrViolation)
	}
}

// What restate-server refuses, by the kind of the service and the mode of the handler.
func TestWhatHandlersMayAskFor(t *testing.T) {
	void := &wirev5.Void{}
	reads := []sent{
		{wire.TypeGetLazyState, 0, &wirev5.GetLazyStateCommand{ResultCompletionId: 1}},
		{wire.TypeGetLazyStateKeys, 0, &wirev5.GetLazyStateKeysCommand{ResultCompletionId: 1}},
		{wire.TypeGetEagerState, 0, &wirev5.GetEagerStateCommand{Result: &wirev5.GetEagerStateCommand_Void{Void: void}}},
		{wire.TypeGetEagerStateKeys, 0, &wirev5.GetEagerStateKeysCommand{Value: &wirev5.StateKeys{}}},
	}
	writes := []sent{
		{wire.TypeSetState, 0, &wirev5.SetStateCommand{Value: &wirev5.Value{}}},
		{wire.TypeClearState, 0, &wirev5.ClearStateCommand{}},
		{wire.TypeClearAllState, 0, &wirev5.ClearAllStateCommand{}},
	}
	promises := []sent{
		{wire.TypeGetPromise, 0, &wirev5.GetPromiseCommand{ResultCompletionId: 1}},
		{wire.TypePeekPromise, 0, &wirev5.PeekPromiseCommand{ResultCompletionId: 1}},
		{wire.TypeCompletePromise, 0, &wirev5.CompletePromiseCommand{
			ResultCompletionId: 1, Completion: &wirev5.CompletePromiseCommand_CompletionValue{CompletionValue: &wirev5.Value{}},
		}},
	}
	others := []sent{
		run(1), output(""),
		{wire.TypeSleep, 0, &wirev5.SleepCommand{ResultCompletionId: 1}},
		{wire.TypeCall, 0, &wirev5.CallCommand{ResultCompletionId: 1}},
		{wire.TypeOneWayCall, 0, &wirev5.OneWayCallCommand{}},
	}
	for _, c := range []struct {
		name                    string
		target                  *journalv1.Target
		reads, writes, promises bool
	}{
		{"service", plain, false, false, false},
		{"object", object, true, true, false},
		{"shared handler of an object", sharedOne, true, false, false},
		{"run of a workflow", workflow, true, true, true},
		{"shared handler of a workflow", sharedWorkflow, true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := func(messages []sent, allowed bool) {
				for _, message := range messages {
					got, err := drain(begin(t, 7, c.target), stream(t, message, run(99)))
					if allowed {
						require.Equal(t, io.ErrUnexpectedEOF, err, "%#04x", uint16(message.kind))
						require.Len(t, got, 2)
						continue
					}
					require.Equal(t, errcode.CommandRefused, errcode.Of(err, errcode.InvocationFailed), "%#04x", uint16(message.kind))
					require.ErrorContains(t, err, c.target.GetService()+"/"+c.target.GetHandler())
					require.Empty(t, got)
				}
			}
			check(reads, c.reads)
			check(writes, c.writes)
			check(promises, c.promises)
			check(others, true)
		})
	}
}

// Frames that only a runtime sends are violations, whatever is in them.
func TestForeignFrames(t *testing.T) {
	for _, kind := range []frame.Type{
		wire.TypeStart, wire.TypeCommandAck, wire.TypeProposeRunCompletionAck, wire.TypeInput, wire.TypeSleepCompletion,
		wire.TypeSignal, 0x0008, 0x03ff, 0x040f, 0x0415, 0x7fff, 0x8001, 0xfc00, 0xffff,
	} {
		_, err := drain(begin(t, 7, object), stream(t, sent{kind, 0, &wirev5.End{}}))
		require.ErrorIs(t, err, protocol.ErrViolation, "%#04x", uint16(kind))
	}
	_, err := drain(begin(t, 6, object), stream(t, sent{wire.TypeAwaitingOn, 0, &wirev5.AwaitingOn{}}))
	require.ErrorIs(t, err, protocol.ErrViolation)
}

// Both directions go on at the same time; the race detector watches.
func TestBothDirections(t *testing.T) {
	const runs = 200
	attempt := begin(t, 7, plain)
	var all []byte
	for id := range uint32(runs) {
		all = append(all, stream(t, run(id+1), proposal(id+1, wire.FlagAckRequested, "r"))...)
	}
	proposed := make(chan uint32, runs)
	go func() {
		defer close(proposed)
		for decoder := attempt.NewDecoder(iotest.HalfReader(bytes.NewReader(all)), 1<<20); ; {
			message, err := decoder.Next()
			if err != nil {
				return
			}
			if message.RunCompletion != nil {
				proposed <- message.RunCompletion.GetCompletionId()
			}
		}
	}()
	var answers []byte
	for id := range proposed {
		var err error
		answers, err = attempt.AppendNotification(answers, completion(id, value("r")))
		require.NoError(t, err)
	}
	for frames, n := frame.NewReader(bytes.NewReader(answers), 1<<20), 0; n < runs; n++ {
		f, err := frames.Next()
		require.NoError(t, err)
		require.Equal(t, wire.TypeProposeRunCompletionAck, f.Type)
	}
}

// However often a handler names the same signal, and in however many futures, what it waits for is bounded.
func TestSuspensionOnMany(t *testing.T) {
	suspended := func(n int) error {
		half := &wirev5.Future{WaitingSignals: make([]uint32, n/2)}
		future := &wirev5.Future{WaitingSignals: make([]uint32, n-n/2), NestedFutures: []*wirev5.Future{half}}
		_, err := drain(begin(t, 7, object), stream(t, sent{wire.TypeSuspension, 0, &wirev5.Suspension{AwaitingOn: future}}))
		return err
	}
	require.Equal(t, errcode.CommandRefused, errcode.Of(suspended(protocol.MaxWaits+1), ""))
	require.ErrorIs(t, suspended(protocol.MaxWaits), io.ErrUnexpectedEOF) // since nothing follows
}
