package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/storage"

	host "github.com/restate-go/restate/services/partition-worker/internal/embedded"
)

type outcome struct {
	result *restatev1.GetResultResponse
	err    error
}

func (p *partition) result(operation string) outcome {
	result, err := p.host.GetResult(context.WithoutCancel(p.t.Context()), &restatev1.GetResultRequest{OperationId: operation})
	return outcome{result, err}
}

// waiting asks for the result, and returns when the request waits for it.
func (p *partition) waiting(operation string) <-chan outcome {
	p.t.Helper()
	result := later(p.t, func() outcome { return p.result(operation) })
	await.True(p.t, await.Deadline, func() bool { return host.Waiting(p.host, operation) == 1 }, "GetResult to wait")
	return result
}

func TestUnknownOperationHasNoResult(t *testing.T) {
	p := newPartition(t)
	got := p.result("op")
	require.NoError(t, got.err)
	require.Equal(t, "none", nameOf(got.result))
	require.Empty(t, got.result.GetExpiryTime())
}

func TestGetResultWaitsForTheResult(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	waiting := p.waiting("op")
	p.start("op", "s2")
	require.Equal(t, "ok", p.send("op", "s2", output("out")))
	got := <-waiting
	require.NoError(t, got.err)
	require.Equal(t, "out", string(got.result.GetSuccess()))
	require.Equal(t, "2023-11-14T22:43:20Z", got.result.GetExpiryTime())
	require.Zero(t, host.Operations(p.host), "nothing is kept in memory of what is over")
}

func TestGetResultEndsWithAKill(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	waiting := p.waiting("op")
	p.kill("op")
	got := <-waiting
	require.NoError(t, got.err)
	require.Equal(t, "killed", got.result.GetFailure().GetMessage())
}

// The client of the operation left while its output was being stored: nobody is there to tell those who wait.
func TestGetResultOfAnOutputWhoseSenderIsGone(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	waiting := p.waiting("op")
	release := p.hold()
	ctx, cancel := context.WithCancel(t.Context())
	sent := later(t, func() error {
		_, err := p.host.Send(ctx, &restatev1.SendRequest{OperationId: "op", StreamId: "s1", Messages: encode(output("out"))})
		return err
	})
	p.awaitProposed(1)
	cancel()
	require.Error(t, <-sent)
	release()
	got := <-waiting
	require.NoError(t, got.err)
	require.Equal(t, "out", string(got.result.GetSuccess()))
}

func TestNobodyWaitsForAClientThatIsGone(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	p.advance(59 * time.Second)
	require.Equal(t, "ok", p.ping("op", "s1"))
	p.advance(59 * time.Second)
	require.Equal(t, "ok", p.send("op", "s1"))
	p.advance(59 * time.Second)
	waiting := p.waiting("op")
	receiving := p.receiving("op", "s1")
	// A client that waits is there, however long that takes.
	p.advance(time.Hour)
	another := later(t, func() outcome { return p.result("op") })
	await.True(t, await.Deadline, func() bool { return host.Waiting(p.host, "op") == 2 }, "another GetResult to wait")
	require.Equal(t, "ok", p.send("op", "s1", awakeable()))
	p.resolve("op", 1, "x")
	require.Equal(t, "messages", (<-receiving).answer)
	p.advance(61 * time.Second)
	require.Equal(t, codes.DeadlineExceeded, status.Code(p.result("op").err))
	// It may come back all the same.
	require.Equal(t, "ok", p.send("op", "s1", output("out")))
	require.Equal(t, "out", string((<-waiting).result.GetSuccess()))
	require.Equal(t, "out", string((<-another).result.GetSuccess()))
}

func TestGetResultGivesUpWhenTheClientFallsSilent(t *testing.T) {
	p := newPartition(t)
	p.cfg.StreamTimeout = time.Second
	p.lead()
	response, err := p.host.Start(t.Context(), &restatev1.StartRequest{OperationId: "op", StreamId: "s1"}, nil)
	require.NoError(t, err)
	require.Equal(t, uint32(1), response.GetStreamTimeoutSec())
	waiting := p.waiting("op")
	p.advance(2 * time.Second)
	require.Equal(t, codes.DeadlineExceeded, status.Code((<-waiting).err))
}

func TestClientsHaveTimeToComeToANewLeader(t *testing.T) {
	p := newPartition(t)
	p.start("op", "s1")
	waiting := p.waiting("op")
	p.advance(time.Hour)
	p.lead()
	require.Equal(t, codes.Unavailable, status.Code((<-waiting).err), "it is asked for again at the new leader")
	waiting = p.waiting("op")
	p.start("op", "s2")
	require.Equal(t, "ok", p.send("op", "s2", output("out")))
	require.Equal(t, "out", string((<-waiting).result.GetSuccess()))

	p.start("other", "s1")
	p.lead()
	p.advance(61 * time.Second)
	require.Equal(t, codes.DeadlineExceeded, status.Code(p.result("other").err))
}

func TestRetention(t *testing.T) {
	p := newPartition(t)
	_, err := p.host.Start(t.Context(), &restatev1.StartRequest{OperationId: "op", StreamId: "s", RetentionPeriodSec: 5}, nil)
	require.NoError(t, err)
	require.Equal(t, "ok", p.send("op", "s", output("out")))
	got := p.result("op")
	require.NoError(t, got.err)
	expiry, err := time.Parse(time.RFC3339, got.result.GetExpiryTime())
	require.NoError(t, err)
	require.Equal(t, 5*time.Second, expiry.Sub(p.clock()))

	p.advance(5 * time.Second)
	var due []storage.TimerID
	require.NoError(t, storage.ScanTimers(p.space, nil, 10, func(timer storage.TimerID) error {
		due = append(due, timer)
		return nil
	}))
	require.Len(t, due, 1)
	p.append(&logv1.Record{Command: &logv1.Record_TimerFired{TimerFired: &logv1.TimerFired{Key: due[0].Key()}}})
	require.Equal(t, "none", nameOf(p.result("op").result))
	require.Equal(t, "invalid_stream", p.ping("op", "s"))
	require.Len(t, p.start("op", "s"), 2, "it is another operation now")
}

func TestCleanup(t *testing.T) {
	p := newPartition(t)
	clean := func() error {
		_, err := p.host.Cleanup(t.Context(), &restatev1.CleanupRequest{OperationId: "op"})
		return err
	}
	require.NoError(t, clean(), "there is nothing to clean up")
	p.start("op", "s")
	require.Equal(t, codes.Aborted, status.Code(clean()))
	require.Equal(t, "ok", p.send("op", "s", output("out")))
	require.NoError(t, clean())
	require.Nil(t, p.record("op"))
	require.Equal(t, "none", nameOf(p.result("op").result))
	require.NoError(t, clean())
}
