package dispatch_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/keyspace"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"
)

// attaching asks for the result of the invocation with the id.
func attaching(id string, wait bool) func(sink *logv1.ResponseSink) *logv1.Record {
	return func(sink *logv1.ResponseSink) *logv1.Record {
		return &logv1.Record{Command: &logv1.Record_Attach{Attach: &logv1.Attach{
			InvocationId: []byte(id), ResponseSink: sink, Wait: wait,
		}}}
	}
}

// asker asks and leaves.
type asker struct {
	t   *testing.T
	log *fakeLog
	d   *dispatch.Dispatcher
}

// leave asks, leaves without an answer, and returns the sink.
func (a *asker) leave(ask func(sink *logv1.ResponseSink) *logv1.Record) *logv1.IngressSink {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	cancel()
	_, err := a.d.Ask(ctx, 0, ask)
	require.ErrorIs(a.t, err, context.Canceled)
	record := <-a.log.records
	if invoke := record.GetInvoke(); invoke != nil {
		return invoke.GetResponseSink().GetIngress()
	}
	return record.GetAttach().GetResponseSink().GetIngress()
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	log := newFakeLog()
	return &asker{t, log, dispatch.New("me", keyspace.Layout{Partitions: 1}, []dispatch.Log{log})}
}

// TestWhoAsksAgainSaysWhoHasLeft has callers leave and others ask for the same result.
func TestWhoAsksAgainSaysWhoHasLeft(t *testing.T) {
	a := newAsker(t)
	first := a.leave(attaching("x", true))
	require.Empty(t, first.GetLeft())
	require.Empty(t, a.leave(attaching("y", true)).GetLeft(), "another invocation")
	require.Empty(t, a.leave(attaching("x", false)).GetLeft(), "it does not wait, and takes no place")
	second := a.leave(func(sink *logv1.ResponseSink) *logv1.Record {
		record := invoke(sink)
		record.GetInvoke().InvocationId = []byte("x")
		return record
	})
	require.Equal(t, []uint64{first.GetRequestId()}, second.GetLeft())
	third := a.leave(attaching("x", true))
	require.Equal(t, []uint64{second.GetRequestId()}, third.GetLeft(), "what has been said is not said again")

	// One whose answer has come takes no place any more.
	deliverResult(t, a.d, "x", third.GetRequestId())
	require.Empty(t, a.leave(attaching("x", true)).GetLeft())
}

// TestManyThatLeaveAtOnce bounds what one record says of them: the next says the rest.
func TestManyThatLeaveAtOnce(t *testing.T) {
	const many, atOnce = 250, 100
	a := newAsker(t)
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range many {
		callers.Go(func() {
			if _, err := a.d.Ask(ctx, 0, attaching("x", true)); !errors.Is(err, context.Canceled) {
				t.Errorf("a caller that left got %v", err)
			}
		})
	}
	gone := map[uint64]bool{}
	for range many {
		gone[(<-a.log.records).GetAttach().GetResponseSink().GetIngress().GetRequestId()] = true
	}
	cancel()
	callers.Wait()
	for _, want := range []int{atOnce, atOnce, many + 2 - 2*atOnce} { // the last with the two that asked after them
		sink := a.leave(attaching("x", true))
		require.Len(t, sink.GetLeft(), want)
		for _, request := range sink.GetLeft() {
			delete(gone, request)
		}
	}
	require.Empty(t, gone)
}

// TestMoreThatLeaveThanAreRemembered fills what is remembered: the oldest make room.
func TestMoreThatLeaveThanAreRemembered(t *testing.T) {
	const most = 1 << 14
	a := newAsker(t)
	for n := range most {
		a.leave(attaching(strconv.Itoa(n), true))
	}
	last := a.leave(attaching("x", true))
	require.Equal(t, []uint64{last.GetRequestId()}, a.leave(attaching("x", true)).GetLeft())
	require.Empty(t, a.leave(attaching("0", true)).GetLeft())
	require.Len(t, a.leave(attaching(strconv.Itoa(most-1), true)).GetLeft(), 1)
}

// TestWhoLeavesBeforeTheLogFails has callers leave whose requests never come to have an answer.
func TestWhoLeavesBeforeTheLogFails(t *testing.T) {
	for _, reason := range []error{cmdlog.ErrRefused, cmdlog.ErrUnconfirmed} {
		a := newAsker(t)
		a.leave(attaching("x", true))
		var fail func(uint64, error)
		a.log.keep = func(done func(uint64, error)) { fail = done }
		gone := a.leave(attaching("y", true))
		fail(0, reason)
		a.log.keep = nil
		require.Empty(t, a.leave(attaching("y", true)).GetLeft(), "%d got its end", gone.GetRequestId())
	}
}

// TestWhoLeavesAsTheLogFails has it at the same time.
func TestWhoLeavesAsTheLogFails(t *testing.T) {
	a := newAsker(t)
	for range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		var both sync.WaitGroup
		a.log.keep = func(done func(uint64, error)) { both.Go(func() { done(0, cmdlog.ErrRefused) }) }
		both.Go(cancel)
		_, err := a.d.Ask(ctx, 0, attaching("x", true))
		require.Error(t, err)
		both.Wait()
		require.Empty(t, (<-a.log.records).GetAttach().GetResponseSink().GetIngress().GetLeft())
	}
}

// TestWhatCouldNotBeSaidIsSaidLater has the log not take what says who has left.
func TestWhatCouldNotBeSaidIsSaidLater(t *testing.T) {
	a := newAsker(t)
	first := a.leave(attaching("x", true))
	a.log.refuse = cmdlog.ErrRefused
	_, err := a.d.Ask(t.Context(), 0, attaching("x", true))
	require.ErrorIs(t, err, dispatch.ErrRefused)

	a.log.refuse, a.log.fail = nil, cmdlog.ErrUnconfirmed
	_, err = a.d.Ask(t.Context(), 0, attaching("x", true))
	require.ErrorIs(t, err, dispatch.ErrUnconfirmed)
	said := []uint64{first.GetRequestId()}
	require.Equal(t, said, (<-a.log.records).GetAttach().GetResponseSink().GetIngress().GetLeft())

	a.log.fail = nil
	require.Equal(t, said, a.leave(attaching("x", true)).GetLeft())
}

// deliverResult has the answer to a request come.
func deliverResult(t *testing.T, d *dispatch.Dispatcher, invocation string, request uint64) {
	t.Helper()
	data, err := proto.Marshal(&workerv1.ResponseBatch{Responses: []*storagev1.IngressResponse{{
		IngressId: "me", RequestId: request, InvocationId: []byte(invocation),
	}}})
	require.NoError(t, err)
	require.NoError(t, d.Deliver(data))
}
