package meta_test

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/membership"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"
)

// worker answers queries from what it was given. It leads the partitions that this is in.
type worker struct {
	workerv1.UnimplementedWorkerServiceServer
	views []*workerv1.InvocationView
	// lists are the partitions that it tells to have listed.
	lists []uint32
	// refuses is how many lists it refuses first.
	refuses atomic.Int32
	// asked is the last question for a list.
	asked atomic.Pointer[workerv1.ListInvocationsRequest]
}

func (w *worker) GetInvocation(_ context.Context, request *workerv1.GetInvocationRequest) (*workerv1.GetInvocationResponse, error) {
	layout := keyspace.Layout{Partitions: partitions}
	of := func(id []byte) uint32 { return layout.PartitionOf(ids.InvocationID(id).PartitionKey()) }
	leads := false
	for _, v := range w.views {
		if bytes.Equal(v.GetInvocationId(), request.GetInvocationId()) {
			return &workerv1.GetInvocationResponse{Invocation: v}, nil
		}
		leads = leads || of(v.GetInvocationId()) == of(request.GetInvocationId())
	}
	if leads {
		return nil, status.Error(codes.NotFound, "it is not known")
	}
	return nil, status.Error(codes.FailedPrecondition, "another worker leads the partition")
}

func (w *worker) ListInvocations(request *workerv1.ListInvocationsRequest, stream workerv1.WorkerService_ListInvocationsServer) error {
	w.asked.Store(request)
	if w.refuses.Add(-1) >= 0 {
		return status.Error(codes.Unavailable, "later")
	}
	for _, v := range w.views {
		if s := request.GetService(); s != "" && s != v.GetInvocation().GetTarget().GetService() {
			continue
		}
		if e := request.GetEndpointId(); e != "" && e != v.GetInvocation().GetPin().GetEndpointId() {
			continue
		}
		if request.GetNotBegun() && v.GetInvocation().GetPin() != nil {
			continue
		}
		if err := stream.Send(&workerv1.ListInvocationsResponse{Invocation: v}); err != nil {
			return err
		}
	}
	if !request.GetTellPartitions() || len(w.lists) == 0 {
		return nil
	}
	return stream.Send(&workerv1.ListInvocationsResponse{Partitions: w.lists})
}

// announce makes a worker known under the address.
func (r *running) announce(id, address string) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		_ = membership.Announce(ctx, r.conn, membership.Node{
			ID: id, Role: membership.RoleWorker, GRPCAddr: address,
			Timeouts: &membership.Timeouts{Inactivity: time.Minute, Abort: 10 * time.Minute},
		}, slog.New(slog.DiscardHandler))
	})
	r.t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	await.True(r.t, await.Deadline, func() bool {
		nodes, err := membership.Nodes(ctx, r.conn, membership.RoleWorker)
		for _, n := range nodes {
			if n.ID == id {
				return err == nil
			}
		}
		return false
	}, "worker "+id)
}

// work starts a worker that says of every partition that it leads it.
func (r *running) work(id string, views ...*workerv1.InvocationView) {
	r.serve(id, &worker{views: views, lists: []uint32{0, 1}})
}

func (r *running) serve(id string, w *worker) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(r.t, err)
	server := grpc.NewServer()
	workerv1.RegisterWorkerServiceServer(server, w)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	r.t.Cleanup(func() {
		server.Stop()
		<-done
	})
	r.announce(id, listener.Addr().String())
}

func newID(t testing.TB, key uint64) ids.InvocationID {
	t.Helper()
	id, err := ids.NewInvocationID(key)
	require.NoError(t, err)
	return id
}

func view(id ids.InvocationID, service string, state storagev1.Invocation_State) *workerv1.InvocationView {
	return &workerv1.InvocationView{
		InvocationId: id[:],
		Invocation: &storagev1.Invocation{
			State: state, CreatedAt: 1700000000000, ModifiedAt: 1700000000500, JournalLength: 3,
			Target: &journalv1.Target{Service: service, Handler: "Do", Key: []byte("\x01k")},
			Pin:    &logv1.PinnedEndpoint{EndpointId: "e"},
		},
	}
}

func TestInvocations(t *testing.T) {
	r := start(t)
	running, failing, scheduled, caller := newID(t, 1), newID(t, 2), newID(t, 1<<63), newID(t, 5)
	retried := view(failing, "b.B", storagev1.Invocation_STATE_INVOKED)
	retried.Attempts, retried.LastFailure, retried.LastFailureCode, retried.NextAttemptAt = 4, "refused", "RT0010", 1700000001000
	later := view(scheduled, "a.A", storagev1.Invocation_STATE_SCHEDULED)
	later.Invocation.ExecutionTime, later.Invocation.CallerInvocationId = 1700000002000, caller[:]
	r.work("one", view(running, "a.A", storagev1.Invocation_STATE_INVOKED), retried)
	r.work("two", later)

	const common = `"method":"Do","key":"AWs=","key_encoding":"base64","created_at":"2023-11-14T22:13:20Z","modified_at":"2023-11-14T22:13:20.5Z","endpoint_id":"e","journal_length":3`
	one := `{"id":"` + running.String() + `","service":"a.A","status":"running",` + common + `}`
	two := `{"id":"` + failing.String() + `","service":"b.B","status":"backing-off","attempts":4,"last_failure":"refused","last_failure_code":"RT0010","next_attempt_at":"2023-11-14T22:13:21Z",` + common + `}`
	three := `{"id":"` + scheduled.String() + `","service":"a.A","status":"scheduled","invoked_by":"` + caller.String() + `","scheduled_at":"2023-11-14T22:13:22Z",` + common + `}`
	require.JSONEq(t, one, r.call("GET", "/invocations/"+running.String(), "").body)
	require.JSONEq(t, two, r.call("GET", "/invocations/"+failing.String(), "").body)
	require.JSONEq(t, three, r.call("GET", "/invocations/"+scheduled.String(), "").body)
	missing := r.call("GET", "/invocations/"+newID(t, 7).String(), "")
	require.Equal(t, 404, missing.status)

	list := func(query string) []any {
		answer := r.call("GET", "/invocations"+query, "")
		require.Equal(t, 200, answer.status, answer.body)
		return answer.json(t).(map[string]any)["invocations"].([]any)
	}
	require.Len(t, list(""), 3)
	require.Len(t, list("?limit=2"), 2)
	require.Len(t, list("?service=a.A"), 2)
	require.Empty(t, list("?service=c.C"))

	// A worker that has just died is named, and what the others know is still told.
	r.announce("dead", "127.0.0.1:1")
	require.Len(t, list(""), 3)
	require.Contains(t, r.call("GET", "/invocations", "").body, "127.0.0.1:1")
	require.Equal(t, 200, r.call("GET", "/invocations/"+running.String(), "").status)
	require.Equal(t, 404, r.call("GET", "/invocations/"+newID(t, 7).String(), "").status, "the one that leads its partition does not know it")
}

// The worker of the test does not know the question, as one of a release before: what is asked for is told all the same.
func TestInvocationsOfAStatus(t *testing.T) {
	r := start(t)
	of := map[string]*workerv1.InvocationView{}
	for i, c := range []struct {
		status string
		state  storagev1.Invocation_State
	}{
		{"scheduled", storagev1.Invocation_STATE_SCHEDULED}, {"pending", storagev1.Invocation_STATE_INBOXED},
		{"running", storagev1.Invocation_STATE_INVOKED}, {"backing-off", storagev1.Invocation_STATE_INVOKED},
		{"suspended", storagev1.Invocation_STATE_SUSPENDED}, {"paused", storagev1.Invocation_STATE_PAUSED},
		{"completed", storagev1.Invocation_STATE_COMPLETED},
	} {
		of[c.status] = view(newID(t, uint64(i)), "S", c.state)
	}
	of["backing-off"].NextAttemptAt = 1700000001000
	w := &worker{views: slices.Collect(maps.Values(of))}
	r.serve("one", w)
	for status, v := range of {
		answer := r.call("GET", "/invocations?status="+status, "")
		require.Equal(t, 200, answer.status, answer.body)
		found := answer.member(t, "invocations").([]any)
		require.Len(t, found, 1, status)
		require.Equal(t, ids.InvocationID(v.GetInvocationId()).String(), found[0].(map[string]any)["id"])
		asked := w.asked.Load()
		require.Equal(t, v.GetInvocation().GetState(), asked.GetState())
		require.Equal(t, status == "completed", asked.GetIncludeCompleted())
		require.Equal(t, status == "running" || status == "backing-off", asked.BackingOff != nil)
		require.Equal(t, status == "backing-off", asked.GetBackingOff())

		printed, err := r.run("invocations", "list", "--status", status)
		require.NoError(t, err)
		require.Equal(t, 2, strings.Count(printed, "\n"), printed)
		require.Contains(t, printed, " "+status+" ")
	}
	answer := r.call("GET", "/invocations?status=foo", "")
	require.Equal(t, 400, answer.status)
	message, _ := answer.failure(t)
	require.Contains(t, message, `status is "foo", and has to be scheduled, pending,`)
}

func TestHowInvocationsEnded(t *testing.T) {
	r := start(t)
	value := &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
	killed := &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{Code: 409, Message: "killed"}}}
	var views []*workerv1.InvocationView
	for i, result := range []*journalv1.Result{value, killed, nil} {
		v := view(newID(t, uint64(i)), "S", storagev1.Invocation_STATE_COMPLETED)
		v.Invocation.Result = result
		views = append(views, v)
	}
	r.work("one", views...)
	for i, want := range []struct{ json, people string }{
		{`,"completion_result":"success"}`, "Result: success"},
		{`,"completion_result":"failure","completion_failure":"killed","completion_failure_code":409}`, "Result: failure 409: killed"},
		{`"journal_length":3}`, "Status: completed\nCreated"},
	} {
		id := ids.InvocationID(views[i].GetInvocationId()).String()
		require.Contains(t, r.call("GET", "/invocations/"+id, "").body, want.json)
		printed, err := r.run("invocations", "describe", id)
		require.NoError(t, err)
		require.Contains(t, squeezed(printed), want.people)
	}
}

// Keys of today's services are text, and those of services with protobuf messages base64, by what the id is a hash of.
func TestKeys(t *testing.T) {
	r := start(t)
	views := map[string]*workerv1.InvocationView{}
	for want, c := range map[string]struct {
		partitionKey uint64
		key, scope   string
	}{
		`"key":"user-42",`:                               {keyspace.HashText("user-42"), "user-42", ""},
		`"key":"dmVy",`:                                  {keyspace.HashText("dmVy"), "dmVy", ""},
		`"key":"scoped",`:                                {keyspace.HashText("tenant"), "scoped", "tenant"},
		`"key":"/w==","key_encoding":"base64",`:          {keyspace.HashText("\xff"), "\xff", ""},
		`"key":"AWs=","key_encoding":"base64",`:          {keyspace.HashKey([]byte("\x01k")), "\x01k", ""},
		`"service":"S","method":"Do","status":"running"`: {1, "", ""},
	} {
		v := view(newID(t, c.partitionKey), "S", storagev1.Invocation_STATE_INVOKED)
		v.Invocation.Target.Key, v.Invocation.Target.Scope = []byte(c.key), c.scope
		views[want] = v
	}
	r.work("one", slices.Collect(maps.Values(views))...)
	for want, v := range views {
		require.Contains(t, r.call("GET", "/invocations/"+ids.InvocationID(v.GetInvocationId()).String(), "").body, want)
	}
}

// An order depends on what is known of an invocation, so none is given while no worker leads its partition.
func TestNobodyLeads(t *testing.T) {
	r := start(t)
	r.work("follows")
	id := newID(t, 1)
	for call, status := range map[string]int{
		"GET ": 503, "PATCH /cancel": 503, "PATCH /kill": 503, "PATCH /resume?deployment=latest": 503, "PATCH /restart-as-new": 503,
		"DELETE ?mode=kill": 503, "DELETE ?mode=cancel": 503, "DELETE ": 503,
	} {
		method, path, _ := strings.Cut(call, " ")
		answer := r.call(method, "/invocations/"+id.String()+path, "")
		require.Equal(t, status, answer.status, "%s: %s", call, answer.body)
		_, code := answer.failure(t)
		require.Equal(t, "META0503", code)
	}
}

func TestNoWorkerAnswers(t *testing.T) {
	r := start(t)
	r.announce("dead", "127.0.0.1:1")
	answer := r.call("GET", "/invocations", "")
	require.Equal(t, 503, answer.status)
	message, code := answer.failure(t)
	require.Equal(t, "META0503", code)
	require.Contains(t, message, "127.0.0.1:1")
}

// A kill is in the log of the invocation's partition when it is answered, in whatever form the id is written.
func TestKill(t *testing.T) {
	r := start(t)
	const invoked = storagev1.Invocation_STATE_INVOKED
	r.work("one", view(newID(t, 0), "S", invoked), view(newID(t, 1<<63), "S", invoked)) // it knows none of those below
	layout := keyspace.Layout{Partitions: partitions}
	for i, key := range []uint64{0, 1 << 63} {
		id := newID(t, key)
		answer := r.call("DELETE", "/invocations/"+id.String(), "")
		require.Equal(t, 200, answer.status, answer.body)
		require.Empty(t, answer.body)
		partition := layout.PartitionOf(key)
		require.Equal(t, uint32(i), partition)
		reader, err := cmdlog.OpenReader(t.Context(), r.conn, partition, 1)
		require.NoError(t, err)
		t.Cleanup(reader.Close)
		messages, err := reader.Next(t.Context())
		require.NoError(t, err)
		require.Len(t, messages, 1)
		require.NotEmpty(t, messages[0].Batch.GetProducer())
		records := messages[0].Batch.GetRecords()
		require.Len(t, records, 1)
		require.Equal(t, id[:], records[0].GetTerminate().GetInvocationId(), strconv.Itoa(i))
		require.Equal(t, logv1.TerminationMode_TERMINATION_MODE_KILL, records[0].GetTerminate().GetMode())
	}
	require.Equal(t, 200, r.call("DELETE", "/invocations/T4pIkIJIGAsBiiGDV2dxK7PkkKnWyWHE", "").status, "an id of 2023")
}

// Meta starts before anybody has fixed the layout: it registers endpoints, is not ready, and refuses to kill.
func TestBeforeThereIsALayout(t *testing.T) {
	conn := connect(t)
	r := launch(t, conn)
	uri := sdk(t, typedServices)
	await.True(t, await.Deadline, func() bool { return r.call("POST", "/endpoints", registration(uri, true)).status == 201 }, "a registration")
	require.Equal(t, 503, r.call("GET", "/ready", "").status)
	require.Equal(t, 503, r.call("DELETE", "/invocations/"+newID(t, 1).String(), "").status)
	_, err := membership.EnsureLayout(t.Context(), conn, 1)
	require.NoError(t, err)
	await.True(t, await.Deadline, func() bool { return r.call("GET", "/ready", "").status == 200 }, "meta is ready")
}
