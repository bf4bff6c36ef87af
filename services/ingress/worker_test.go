package ingress_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/dispatch"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"
)

// worker stands in for the partition workers: it reads the logs and answers with what a test's handler says. As in the
// engine, a second request with the id of an invocation gets the result of the first.
type worker struct {
	t    testing.TB
	conn *broker.Conn

	// Used by the test's goroutine only.
	seenInvokes, seenNotifies int

	mu          sync.Mutex
	handle      func(*logv1.Invoke) *journalv1.Result
	invocations map[string]*storagev1.IngressResponse
	invokes     []*logv1.Invoke
	notifies    []*logv1.Notify
	attaches    []*logv1.Attach
	// full has nobody wait for a result any more.
	full bool
}

func startWorker(t testing.TB, conn *broker.Conn) *worker {
	t.Helper()
	w := &worker{t: t, conn: conn, invocations: make(map[string]*storagev1.IngressResponse)}
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	for partition := range uint32(partitions) {
		require.NoError(t, cmdlog.EnsureStream(ctx, conn, partition))
		reader, err := cmdlog.OpenReader(ctx, conn, partition, 1)
		require.NoError(t, err)
		reading.Go(func() {
			defer reader.Close()
			w.run(ctx, reader)
		})
	}
	t.Cleanup(func() {
		cancel()
		reading.Wait()
	})
	return w
}

// answer sets the handler. One that returns nil leaves the caller waiting.
func (w *worker) answer(handle func(*logv1.Invoke) *journalv1.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handle = handle
}

// reply makes every invocation end with the message.
func (w *worker) reply(message proto.Message) {
	data, err := proto.Marshal(message)
	require.NoError(w.t, err)
	w.answer(func(*logv1.Invoke) *journalv1.Result { return success(data) })
}

func success(data []byte) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: data}}
}

func failed(code uint32, message string) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{Code: code, Message: message}}}
}

// invoked returns the invocations so far.
func (w *worker) invoked() []*logv1.Invoke {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*logv1.Invoke(nil), w.invokes...)
}

// last returns the latest invocation.
func (w *worker) last() *logv1.Invoke {
	all := w.invoked()
	require.NotEmpty(w.t, all)
	return all[len(all)-1]
}

// notified returns the notifications so far.
func (w *worker) notified() []*logv1.Notify {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*logv1.Notify(nil), w.notifies...)
}

func (w *worker) run(ctx context.Context, reader *cmdlog.Reader) {
	for {
		messages, err := reader.Next(ctx)
		if err != nil {
			return
		}
		for _, message := range messages {
			for _, record := range message.Batch.GetRecords() {
				w.apply(record)
			}
		}
	}
}

func (w *worker) apply(record *logv1.Record) {
	switch command := record.GetCommand().(type) {
	case *logv1.Record_Notify:
		w.mu.Lock()
		w.notifies = append(w.notifies, command.Notify)
		w.mu.Unlock()
	case *logv1.Record_Attach:
		w.attach(command.Attach)
	case *logv1.Record_Invoke:
		w.invoke(command.Invoke)
	}
}

func (w *worker) invoke(invoke *logv1.Invoke) {
	w.mu.Lock()
	known := w.invocations[string(invoke.GetInvocationId())]
	handle, full := w.handle, w.full
	w.invokes = append(w.invokes, invoke)
	w.mu.Unlock()
	response := known
	if known == nil {
		response = &storagev1.IngressResponse{
			InvocationId: invoke.GetInvocationId(), Target: invoke.GetTarget(), ExecutionTime: invoke.GetExecutionTime(),
		}
		if handle != nil {
			response.Result = handle(invoke)
		}
		if retention := invoke.GetCompletionRetention(); retention > 0 && handle != nil {
			response.ExpiresAt = uint64(time.Now().UnixMilli()) + retention
			w.mu.Lock()
			w.invocations[string(invoke.GetInvocationId())] = response
			w.mu.Unlock()
		}
	}
	sink := invoke.GetResponseSink().GetIngress()
	switch {
	case sink == nil:
	case sink.GetAcceptance():
		outcome := storagev1.Outcome_OUTCOME_ACCEPTED
		if known != nil {
			outcome = storagev1.Outcome_OUTCOME_PREVIOUSLY_ACCEPTED
		}
		w.send(&storagev1.IngressResponse{
			InvocationId: invoke.GetInvocationId(), Outcome: outcome, ExecutionTime: response.GetExecutionTime(),
		}, sink)
	case full:
		w.send(tooManyWait(invoke.GetInvocationId()), sink)
	case response.GetResult() != nil:
		answer := proto.CloneOf(response)
		answer.Retained = known != nil
		w.send(answer, sink)
	}
}

// turnAway has no request wait for a result from now on.
func (w *worker) turnAway() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = true
}

func tooManyWait(invocationID []byte) *storagev1.IngressResponse {
	return &storagev1.IngressResponse{
		InvocationId: invocationID, Outcome: storagev1.Outcome_OUTCOME_TOO_MANY_WAIT,
		Result: failed(429, "[RT0101] 1000 wait for the result already: try again later"),
	}
}

func (w *worker) attach(attach *logv1.Attach) {
	w.mu.Lock()
	full := w.full
	known := w.invocations[string(attach.GetInvocationId())]
	w.attaches = append(w.attaches, attach)
	w.mu.Unlock()
	answer := &storagev1.IngressResponse{InvocationId: attach.GetInvocationId()}
	switch {
	case known == nil:
		answer.Outcome = storagev1.Outcome_OUTCOME_UNKNOWN_INVOCATION
	case known.GetResult() != nil:
		answer = proto.CloneOf(known)
		answer.Retained = true
	case attach.GetWait() && full:
		answer = tooManyWait(attach.GetInvocationId())
	case attach.GetWait():
		return // until a test ends it
	default:
		answer.Outcome = storagev1.Outcome_OUTCOME_NOT_READY
	}
	w.send(answer, attach.GetResponseSink().GetIngress())
}

// attached returns the requests for results so far.
func (w *worker) attached() []*logv1.Attach {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*logv1.Attach(nil), w.attaches...)
}

// send delivers a result as a worker does: as a request that the ingress replies to.
func (w *worker) send(response *storagev1.IngressResponse, sink *logv1.IngressSink) {
	response.IngressId, response.RequestId = sink.GetIngressId(), sink.GetRequestId()
	data, err := proto.Marshal(&workerv1.ResponseBatch{Responses: []*storagev1.IngressResponse{response}})
	if err != nil {
		w.t.Errorf("encode a result: %v", err)
		return
	}
	if _, err := w.conn.NC.Request(dispatch.ResponseSubject(sink.GetIngressId()), data, 5*time.Second); err != nil {
		w.t.Errorf("the ingress did not take a result: %v", err)
	}
}

// finish answers an invocation that the handler left without a result.
func (w *worker) finish(invoke *logv1.Invoke, result *journalv1.Result) {
	w.send(&storagev1.IngressResponse{InvocationId: invoke.GetInvocationId(), Result: result}, invoke.GetResponseSink().GetIngress())
}

// next waits for an invocation that next has not returned yet.
func (w *worker) next() *logv1.Invoke {
	await.True(w.t, await.Deadline, func() bool { return len(w.invoked()) > w.seenInvokes }, "an invocation")
	w.seenInvokes++
	return w.invoked()[w.seenInvokes-1]
}

// nextNotify waits for a notification that nextNotify has not returned yet.
func (w *worker) nextNotify() *logv1.Notify {
	await.True(w.t, await.Deadline, func() bool { return len(w.notified()) > w.seenNotifies }, "a notification")
	w.seenNotifies++
	return w.notified()[w.seenNotifies-1]
}
