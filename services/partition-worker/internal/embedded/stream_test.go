package embedded_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/embedded"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"

	host "github.com/restate-go/restate/services/partition-worker/internal/embedded"
	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
)

func TestStartBeginsAnOperation(t *testing.T) {
	p := newPartition(t)
	frames := p.start("op", "s1")
	require.Len(t, frames, 2)
	start := &protocol.StartMessage{}
	require.NoError(t, proto.Unmarshal(frames[0].Payload, start))
	id := embedded.InvocationID("op")
	require.Equal(t, id[:], start.GetId())
	require.Equal(t, uint32(1), start.GetKnownEntries())
	require.True(t, start.GetPartialState(), "the client has to ask for state")
	require.Empty(t, start.GetStateMap())
	require.Equal(t, wire.TypePollInputStream, frames[1].Type)
	input := &protocol.PollInputStreamEntryMessage{}
	require.NoError(t, proto.Unmarshal(frames[1].Payload, input))
	require.Equal(t, "in", string(input.GetValue()))

	record := p.record("op")
	require.Equal(t, "s1", record.GetClientStream())
	require.Equal(t, "\x02op", string(record.GetTarget().GetKey()))
	require.Equal(t, uint64(1800_000), record.GetCompletionRetention())
}

func TestStepsAreAcknowledgedCompletedAndReplayed(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	require.Equal(t, "ok", p.send("op", "s1", setState("k", "v"), sideEffect("1"), awakeable()))
	require.Equal(t, "ok", p.send("op", "s1", getState("k"), getState("other")))
	frames, answer := p.recv("op", "s1")
	require.Equal(t, "messages", answer)
	// An acknowledgement looks like a result that is empty, as that of the key that is not there.
	require.Equal(t, []frame.Frame{ack(2), completion(4, "v"), ack(5)}, frames)

	waiting := p.receiving("op", "s1")
	p.resolve("op", 3, "woken")
	require.Equal(t, []frame.Frame{completion(3, "woken")}, (<-waiting).frames)

	// Another client goes on: it has it all, and what comes from now on.
	replayed := p.start("op", "s2")
	var kinds []frame.Type
	for _, f := range replayed[1:] {
		kinds = append(kinds, f.Type)
	}
	require.Equal(t, []frame.Type{
		wire.TypePollInputStream, wire.TypeSetState, wire.TypeCustom + 1, wire.TypeAwakeable, wire.TypeGetState, wire.TypeGetState,
	}, kinds)
	woken := &protocol.AwakeableEntryMessage{}
	require.NoError(t, proto.Unmarshal(replayed[4].Payload, woken))
	require.Equal(t, "woken", string(woken.GetValue()))
	require.Equal(t, "ok", p.send("op", "s2", sideEffect("2")))
	frames, _ = p.recv("op", "s2")
	require.Equal(t, []frame.Frame{ack(6)}, frames)
}

func TestNewStreamFencesTheOneBefore(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	waiting := p.receiving("op", "s1")
	p.start("op", "s2")
	require.Equal(t, "invalid_stream", (<-waiting).answer)
	require.Equal(t, "invalid_stream", p.send("op", "s1", sideEffect("late")))
	require.Equal(t, "invalid_stream", p.ping("op", "s1"))
	_, answer := p.recv("op", "s1")
	require.Equal(t, "invalid_stream", answer)
	require.Equal(t, "ok", p.ping("op", "s2"))
	require.Equal(t, uint32(1), p.record("op").GetJournalLength(), "nothing of the fenced stream is stored")
}

func TestFencedWhileSending(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	release := p.hold()
	// The Start of the second client comes first into the log.
	second := later(t, func() string {
		response, err := p.host.Start(t.Context(), &restatev1.StartRequest{OperationId: "op", StreamId: "s2"}, nil)
		if err != nil {
			return err.Error()
		}
		return nameOf(response)
	})
	p.awaitProposed(1)
	first := later(t, func() string {
		response, err := p.trySend("op", "s1", encode(sideEffect("late")))
		if err != nil {
			return err.Error()
		}
		return nameOf(response)
	})
	p.awaitProposed(2)
	release()
	require.Equal(t, "executing", <-second)
	require.Equal(t, "invalid_stream", <-first)
	require.Equal(t, uint32(1), p.record("op").GetJournalLength())
}

func TestStartsAtTheSameTimeLeaveOneStream(t *testing.T) {
	p := newPartition(t)
	const clients = 20
	var started sync.WaitGroup
	for i := range clients {
		started.Go(func() {
			_, err := p.host.Start(context.Background(), &restatev1.StartRequest{
				OperationId: "op", StreamId: "s" + strings.Repeat("x", i),
			}, nil)
			if err != nil && status.Code(err) != codes.Aborted {
				t.Errorf("start: %v", err)
			}
		})
	}
	started.Wait()
	valid := 0
	for i := range clients {
		if p.ping("op", "s"+strings.Repeat("x", i)) == "ok" {
			valid++
		}
	}
	require.Equal(t, 1, valid)
	require.Equal(t, uint32(1), p.record("op").GetJournalLength())
}

func TestOutputEndsTheOperation(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	waiting := p.receiving("op", "s1")
	require.Equal(t, "ok", p.send("op", "s1", setState("k", "v"), output("out")))
	require.Equal(t, "invocation_completed", (<-waiting).answer)
	for _, stream := range []string{"s1", "s2"} {
		require.Equal(t, "invocation_completed", p.send("op", stream, sideEffect("late")))
		require.Equal(t, "invocation_completed", p.ping("op", stream))
		_, answer := p.recv("op", stream)
		require.Equal(t, "invocation_completed", answer)
	}
	response, err := p.host.Start(t.Context(), &restatev1.StartRequest{OperationId: "op", StreamId: "s3"}, nil)
	require.NoError(t, err)
	require.Equal(t, "out", string(response.GetCompleted().GetSuccess()))
	require.Equal(t, p.clock().Add(30*time.Minute).UTC().Format(time.RFC3339), response.GetCompleted().GetExpiryTime())
	require.Equal(t, storagev1.Invocation_STATE_COMPLETED, p.record("op").GetState())
}

func TestFailureEndsTheOperation(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	require.Equal(t, "ok", p.send("op", "s1", makeFrame(wire.TypeOutputStream, 0, &protocol.OutputStreamEntryMessage{
		Result: &protocol.OutputStreamEntryMessage_Failure{Failure: &protocol.Failure{Code: 9, Message: "no"}},
	})))
	result, err := p.host.GetResult(t.Context(), &restatev1.GetResultRequest{OperationId: "op"})
	require.NoError(t, err)
	require.Equal(t, uint32(9), result.GetFailure().GetCode())
	require.Equal(t, "no", result.GetFailure().GetMessage())
}

func TestSendIsAnsweredWhenItIsApplied(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	release := p.hold()
	sent := later(t, func() error {
		_, err := p.trySend("op", "s1", encode(sideEffect("1"), sideEffect("2")))
		return err
	})
	p.awaitProposed(2)
	select {
	case <-sent:
		t.Fatal("answered before it was applied")
	default:
	}
	release()
	require.NoError(t, <-sent)
	require.Equal(t, uint32(3), p.record("op").GetCommandCount())
}

// A client that does not know what of a Send was stored must not go on with the stream.
func TestSendThatIsGivenUpEndsTheStream(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	release := p.hold()
	ctx, cancel := context.WithCancel(t.Context())
	sent := later(t, func() error {
		_, err := p.host.Send(ctx, &restatev1.SendRequest{OperationId: "op", StreamId: "s1", Messages: encode(sideEffect("1"), sideEffect("2"))})
		return err
	})
	p.awaitProposed(2)
	cancel()
	require.Equal(t, codes.Unavailable, status.Code(<-sent))
	release()
	require.Equal(t, "invalid_stream", p.send("op", "s1", sideEffect("1")))
	require.Len(t, p.start("op", "s2"), 4, "what was on its way is in the journal")
}

func TestFramesThatAreRefused(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	for name, c := range map[string]struct {
		messages []byte
		code     codes.Code
	}{
		"no header":        {[]byte("xyz"), codes.InvalidArgument},
		"cut short":        {encode(sideEffect("12345"))[:10], codes.InvalidArgument},
		"endless":          {[]byte("\xfc\x01\x00\x01\xff\xff\xff\xff"), codes.InvalidArgument},
		"no message":       {encode(frame.Frame{Type: wire.TypeSetState, Payload: []byte("\xff")}), codes.InvalidArgument},
		"unknown":          {encode(frame.Frame{Type: 0x1234}), codes.InvalidArgument},
		"start":            {encode(frame.Frame{Type: wire.TypeStart}), codes.InvalidArgument},
		"completion":       {encode(completion(1, "x")), codes.InvalidArgument},
		"input":            {encode(frame.Frame{Type: wire.TypePollInputStream}), codes.InvalidArgument},
		"no result":        {encode(frame.Frame{Type: wire.TypeOutputStream}), codes.InvalidArgument},
		"no awakeable":     {encode(makeFrame(wire.TypeCompleteAwakeable, 0, &protocol.CompleteAwakeableEntryMessage{Id: "x"})), codes.InvalidArgument},
		"after the end":    {encode(output("x"), sideEffect("y")), codes.InvalidArgument},
		"after the error":  {encode(frame.Frame{Type: wire.TypeError}, sideEffect("y")), codes.InvalidArgument},
		"sleep":            {encode(makeFrame(wire.TypeSleep, 0, &protocol.SleepEntryMessage{WakeUpTime: 1})), codes.Unimplemented},
		"suspension":       {encode(makeFrame(wire.TypeSuspension, 0, &protocol.SuspensionMessage{EntryIndexes: []uint32{1}})), codes.Unimplemented},
		"nobody to call":   {encode(call("unknown.Service")), codes.NotFound},
		"a long key":       {encode(sideEffect("1"), setState(strings.Repeat("k", schema.MaxKeyLength+1), "v")), codes.InvalidArgument},
		"nothing of it":    {encode(sideEffect("1"), setState("k", "v"), call("unknown.Service")), codes.NotFound},
		"the runtime bare": {encode(call("dev.restate.Awakeables")), codes.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.trySend("op", "s1", c.messages)
			require.Equal(t, c.code, status.Code(err), "%v", err)
			require.Equal(t, uint32(1), p.record("op").GetJournalLength())
			require.Equal(t, "ok", p.ping("op", "s1"), "the stream goes on")
		})
	}
	require.Equal(t, "ok", p.send("op", "s1"), "nothing is no garbage")
	require.Equal(t, "ok", p.send("op", "s1", sideEffect("1")))
	frames, _ := p.recv("op", "s1")
	require.Equal(t, []frame.Frame{ack(1)}, frames)
}

func TestJournalIsBounded(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	large := strings.Repeat("x", 7<<20)
	for range 9 {
		require.Equal(t, "ok", p.send("op", "s1", setState("k", large)))
	}
	_, err := p.trySend("op", "s1", encode(setState("k", large)))
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Equal(t, "ok", p.send("op", "s1", output("end")), "it can still end")
}

// The bounds are those of attempts: commands and results count.
func TestJournalIsBoundedAsThatOfAttempts(t *testing.T) {
	bounded := func(t *testing.T, change func(*invoker.Config)) *partition {
		p := newPartition(t)
		change(&p.invoker)
		p.lead()
		p.start("op", "s1")
		return p
	}
	requireFull := func(t *testing.T, err error) {
		require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
		require.ErrorContains(t, err, "[RT0111]")
	}
	t.Run("entries", func(t *testing.T) {
		p := bounded(t, func(c *invoker.Config) { c.JournalLengthLimit = 5 })
		require.Equal(t, "ok", p.send("op", "s1", sideEffect("1"), awakeable()))
		_, err := p.trySend("op", "s1", encode(sideEffect("2"), sideEffect("3"), sideEffect("4")))
		requireFull(t, err)
		require.Equal(t, uint32(3), p.record("op").GetJournalLength(), "nothing of it is stored")
		p.resolve("op", 2, "woken")
		require.Equal(t, "ok", p.send("op", "s1", sideEffect("2")))
		_, err = p.trySend("op", "s1", encode(sideEffect("3")))
		requireFull(t, err)
		p.start("op", "s2")
		_, err = p.trySend("op", "s2", encode(sideEffect("3")))
		requireFull(t, err)
		require.Equal(t, "ok", p.send("op", "s2", output("end")), "it can still end")
	})
	t.Run("bytes", func(t *testing.T) {
		p := bounded(t, func(c *invoker.Config) { c.JournalSizeLimit = 1000 })
		require.Equal(t, "ok", p.send("op", "s1", setState("k", strings.Repeat("v", 400)), awakeable()))
		_, err := p.trySend("op", "s1", encode(setState("k", strings.Repeat("v", 600))))
		requireFull(t, err)
		p.resolve("op", 2, strings.Repeat("w", 400))
		require.Equal(t, "ok", p.send("op", "s1", sideEffect("1")))
		p.recv("op", "s1")
		_, err = p.trySend("op", "s1", encode(setState("k", strings.Repeat("v", 200))))
		requireFull(t, err)
	})
	t.Run("replay", func(t *testing.T) {
		p := bounded(t, func(c *invoker.Config) { c.JournalSizeLimit = 1000 })
		require.Equal(t, "ok", p.send("op", "s1", awakeable()))
		p.resolve("op", 1, strings.Repeat("w", 1000))
		start := &restatev1.StartRequest{OperationId: "op", StreamId: "s2"}
		_, err := p.host.Start(t.Context(), start, nil)
		requireFull(t, err)
		p.invoker.JournalSizeLimit = 2000
		p.lead()
		p.start("op", "s2")
	})
}

func TestReportedErrorEndsTheStream(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	waiting := p.receiving("op", "s1")
	report := makeFrame(wire.TypeError, 0, &protocol.ErrorMessage{Code: 13, Message: "try again"})
	require.Equal(t, "ok", p.send("op", "s1", setState("k", "v"), report))
	require.Equal(t, "invalid_stream", (<-waiting).answer)
	require.Equal(t, "invalid_stream", p.ping("op", "s1"))
	require.Len(t, p.start("op", "s2"), 3, "what came before the error is kept")
	require.Equal(t, "ok", p.send("op", "s2", output("out")))
}

func TestClientsBeginAnewWithANewLeader(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	require.Equal(t, "ok", p.send("op", "s1", sideEffect("1")))
	p.recv("op", "s1")
	waiting := p.receiving("op", "s1")
	p.lead()
	require.Equal(t, codes.Unavailable, status.Code((<-waiting).err))
	require.Equal(t, "invalid_stream", p.send("op", "s1", sideEffect("2")))
	require.Equal(t, "invalid_stream", p.ping("op", "s1"))
	_, answer := p.recv("op", "s1")
	require.Equal(t, "invalid_stream", answer)
	require.Len(t, p.start("op", "s1"), 3, "the same name is as good as another")
	require.Equal(t, "ok", p.send("op", "s1", sideEffect("2")))
	require.Equal(t, uint32(3), p.record("op").GetCommandCount())
}

func TestKilledOperationIsOver(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	waiting := p.receiving("op", "s1")
	p.kill("op")
	require.Equal(t, "invocation_completed", (<-waiting).answer)
	require.Equal(t, "invocation_completed", p.send("op", "s1", output("late")))
	response, err := p.host.Start(t.Context(), &restatev1.StartRequest{OperationId: "op", StreamId: "s2"}, nil)
	require.NoError(t, err)
	require.Equal(t, uint32(codes.Aborted), response.GetCompleted().GetFailure().GetCode())
	require.Equal(t, "killed", response.GetCompleted().GetFailure().GetMessage())
}

func TestRecvIsAnsweredWithoutAnythingAfterAWhile(t *testing.T) {
	p := newPartition(t)
	p.cfg.RecvWait = 20 * time.Millisecond
	p.lead()
	p.start("op", "s1")
	frames, answer := p.recv("op", "s1")
	require.Empty(t, frames)
	require.Equal(t, "messages", answer)
}

func TestLastRecvGetsWhatComes(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	require.Equal(t, "ok", p.send("op", "s1", awakeable()))
	abandoned := p.receiving("op", "s1")
	current := p.receiving("op", "s1")
	require.Empty(t, (<-abandoned).frames)
	p.resolve("op", 1, "x")
	require.Equal(t, []frame.Frame{completion(1, "x")}, (<-current).frames)
}

func TestRecvGetsAsMuchAsFits(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	large := strings.Repeat("x", 700<<10)
	for index := range uint32(3) {
		require.Equal(t, "ok", p.send("op", "s1", awakeable()))
		p.resolve("op", 1+index, large)
	}
	frames, _ := p.recv("op", "s1")
	require.Equal(t, []frame.Frame{completion(1, large), completion(2, large)}, frames)
	frames, _ = p.recv("op", "s1")
	require.Equal(t, []frame.Frame{completion(3, large)}, frames)
}

func TestStateGoesWithTheOperation(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	require.Equal(t, "ok", p.send("op", "s1", setState("k", "v"), output("out")))
	_, err := p.host.Cleanup(t.Context(), &restatev1.CleanupRequest{OperationId: "op"})
	require.NoError(t, err)
	it := p.space.Scan(nil, nil)
	defer it.Close()
	var left int
	for it.Next() {
		left++
	}
	require.Equal(t, 2, left, "deduplication and meta only")
	require.Len(t, p.start("op", "s1"), 2, "the id is free again")
	require.Equal(t, "ok", p.send("op", "s1", getState("k")))
	frames, _ := p.recv("op", "s1")
	require.Equal(t, []frame.Frame{ack(1)}, frames, "there is no value")
}

func TestStreamsWhoseClientsAreGoneMakeRoom(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	for i := range uint64(host.MaxStreams) {
		p.host.Begin(host.Run{ID: embedded.InvocationID(strings.Repeat("x", int(i%100)) + time.Duration(i).String()), Number: i, Stream: "s"})
	}
	_, err := p.host.Start(t.Context(), &restatev1.StartRequest{OperationId: "next", StreamId: "s"}, nil)
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	p.advance(2 * time.Minute)
	require.Equal(t, "ok", p.ping("op", "s1"), "it is kept as long as there is room")
	p.start("next", "s")
	require.Equal(t, "ok", p.ping("op", "s1"), "its client is there")
}
