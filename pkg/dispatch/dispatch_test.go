package dispatch_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/keyspace"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"
)

// fakeLog hands each record to the test.
type fakeLog struct {
	refuse  error                          // returned by Append
	fail    error                          // given to done
	keep    func(done func(uint64, error)) // gets done in place of the outcome, unless nil
	records chan *logv1.Record
}

func newFakeLog() *fakeLog { return &fakeLog{records: make(chan *logv1.Record, 1024)} }

func (l *fakeLog) Append(_ context.Context, record *logv1.Record, done func(uint64, error)) error {
	if l.refuse != nil {
		return l.refuse
	}
	l.records <- record
	if l.keep != nil {
		l.keep(done)
		return nil
	}
	done(1, l.fail)
	return nil
}

// invoke is a record that asks for a result.
func invoke(sink *logv1.ResponseSink) *logv1.Record {
	return &logv1.Record{Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{ResponseSink: sink}}}
}

func deliver(t *testing.T, d *dispatch.Dispatcher, ingress string, request uint64, value string) {
	t.Helper()
	data, err := proto.Marshal(&workerv1.ResponseBatch{Responses: []*storagev1.IngressResponse{{
		IngressId: ingress, RequestId: request,
		Result: &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte(value)}},
	}}})
	require.NoError(t, err)
	require.NoError(t, d.Deliver(data))
}

func TestCallGetsItsOwnResult(t *testing.T) {
	logs := []*fakeLog{newFakeLog(), newFakeLog()}
	d := dispatch.New("me", keyspace.Layout{Partitions: 2}, []dispatch.Log{logs[0], logs[1]})
	var callers sync.WaitGroup
	for i := range 100 {
		key := uint64(i) << 57 // both halves of the key space
		callers.Go(func() {
			response, err := d.Ask(t.Context(), key, invoke)
			if err != nil || string(response.GetResult().GetValue()) != string(rune('A'+key>>63)) {
				t.Errorf("call %d got %v and %v", i, response, err)
			}
		})
	}
	for range 100 {
		var record *logv1.Record
		var value string
		select {
		case record = <-logs[0].records:
			value = "A"
		case record = <-logs[1].records:
			value = "B"
		}
		sink := record.GetInvoke().GetResponseSink().GetIngress()
		deliver(t, d, "somebody else", sink.GetRequestId(), "not for us")
		deliver(t, d, sink.GetIngressId(), sink.GetRequestId(), value)
		deliver(t, d, sink.GetIngressId(), sink.GetRequestId(), "repeated")
	}
	callers.Wait()
	require.Zero(t, d.Pending())
}

func TestCallerThatLeavesIsForgotten(t *testing.T) {
	log := newFakeLog()
	d := dispatch.New("me", keyspace.Layout{Partitions: 1}, []dispatch.Log{log})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := d.Ask(ctx, 0, invoke)
		done <- err
	}()
	record := <-log.records
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Zero(t, d.Pending())
	deliver(t, d, "me", record.GetInvoke().GetResponseSink().GetIngress().GetRequestId(), "late")
}

func TestAppendErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err, want error
	}{
		"refused":   {cmdlog.ErrRefused, dispatch.ErrRefused},
		"too large": {cmdlog.ErrTooLarge, dispatch.ErrTooLarge},
		"other":     {errors.New("closed"), dispatch.ErrUnconfirmed},
	} {
		t.Run(name, func(t *testing.T) {
			for _, log := range []*fakeLog{{refuse: c.err}, {fail: c.err, records: make(chan *logv1.Record, 2)}} {
				d := dispatch.New("me", keyspace.Layout{Partitions: 1}, []dispatch.Log{log})
				_, askErr := d.Ask(t.Context(), 0, invoke)
				submitErr := d.Submit(t.Context(), 0, invoke(nil))
				for _, err := range []error{askErr, submitErr} {
					require.ErrorIs(t, err, c.want)
					require.ErrorIs(t, err, c.err)
				}
				require.Zero(t, d.Pending())
			}
		})
	}
}

func TestWhereTooManyWait(t *testing.T) {
	log := newFakeLog()
	d := dispatch.New("me", keyspace.Layout{Partitions: 1}, []dispatch.Log{log})
	done := make(chan error)
	go func() {
		_, err := d.Ask(t.Context(), 0, invoke)
		done <- err
	}()
	sink := (<-log.records).GetInvoke().GetResponseSink().GetIngress()
	data, err := proto.Marshal(&workerv1.ResponseBatch{Responses: []*storagev1.IngressResponse{{
		IngressId: "me", RequestId: sink.GetRequestId(), Outcome: storagev1.Outcome_OUTCOME_TOO_MANY_WAIT,
		Result: &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{Message: "so many wait"}}},
	}}})
	require.NoError(t, err)
	require.NoError(t, d.Deliver(data))
	err = <-done
	require.ErrorIs(t, err, dispatch.ErrTooManyWait)
	require.ErrorContains(t, err, "so many wait")
}

func TestCloseEndsWaits(t *testing.T) {
	log := newFakeLog()
	d := dispatch.New("me", keyspace.Layout{Partitions: 1}, []dispatch.Log{log})
	done := make(chan error)
	go func() {
		_, err := d.Ask(t.Context(), 0, invoke)
		done <- err
	}()
	<-log.records
	d.Close()
	require.ErrorIs(t, <-done, dispatch.ErrClosed)
	_, err := d.Ask(t.Context(), 0, invoke)
	require.ErrorIs(t, err, dispatch.ErrClosed, "a wait that begins after Close")
}

func TestDeliverRefusesGarbage(t *testing.T) {
	d := dispatch.New("me", keyspace.Layout{Partitions: 1}, []dispatch.Log{newFakeLog()})
	require.Error(t, d.Deliver([]byte{0xff}))
}
