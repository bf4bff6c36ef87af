package query_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
	"github.com/restate-go/restate/services/partition-worker/internal/query"
)

// partition is led by this worker, and has a state.
type partition struct {
	leads *invoker.Invoker
	state kv.Space
}

func (p partition) Invoker() *invoker.Invoker { return p.leads }
func (p partition) State() kv.Space           { return p.state }

// listing takes what is streamed.
type listing struct {
	grpc.ServerStream
	ctx   context.Context
	names []string
	// failures are why they failed, of those that did.
	failures []string
	views    []*workerv1.InvocationView
	// partitions are those that were told to be listed.
	partitions []uint32
}

func (l *listing) Context() context.Context { return l.ctx }

func (l *listing) Send(r *workerv1.ListInvocationsResponse) error {
	if r.GetInvocation() == nil {
		l.partitions = append(l.partitions, r.GetPartitions()...)
		return nil
	}
	l.views = append(l.views, r.GetInvocation())
	l.names = append(l.names, r.GetInvocation().GetInvocation().GetTarget().GetHandler())
	if v := r.GetInvocation(); v.GetLastFailure() != "" {
		l.failures = append(l.failures, fmt.Sprintf("%d attempts: [%s] %s", v.GetAttempts(), v.GetLastFailureCode(), v.GetLastFailure()))
	}
	return nil
}

func TestListInvocations(t *testing.T) {
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	batch := &kv.Batch{}
	for i, c := range []struct {
		handler, service, endpoint string
		state                      storagev1.Invocation_State
	}{
		{"running", "S", "one", storagev1.Invocation_STATE_INVOKED},
		{"suspended", "S", "two", storagev1.Invocation_STATE_SUSPENDED},
		{"inboxed", "S", "", storagev1.Invocation_STATE_INBOXED},
		{"elsewhere", "T", "", storagev1.Invocation_STATE_SCHEDULED},
		{"completed", "T", "one", storagev1.Invocation_STATE_COMPLETED},
	} {
		record := &storagev1.Invocation{State: c.state, Target: &journalv1.Target{Service: c.service, Handler: c.handler}}
		if c.endpoint != "" {
			record.Pin = &logv1.PinnedEndpoint{EndpointId: c.endpoint}
		}
		require.NoError(t, storage.PutInvocation(batch, ids.InvocationID{byte(i)}, record))
	}
	require.NoError(t, space.Write(batch))
	led := partition{invoker.New(invoker.DefaultConfig(), invoker.Deps{}), space}
	for name, c := range map[string]struct {
		request *workerv1.ListInvocationsRequest
		want    []string
	}{
		"all that are not over":   {&workerv1.ListInvocationsRequest{}, []string{"running", "suspended", "inboxed", "elsewhere"}},
		"those that are over too": {&workerv1.ListInvocationsRequest{IncludeCompleted: true, Service: "T"}, []string{"elsewhere", "completed"}},
		"a service":               {&workerv1.ListInvocationsRequest{Service: "S"}, []string{"running", "suspended", "inboxed"}},
		"an endpoint":             {&workerv1.ListInvocationsRequest{EndpointId: "two"}, []string{"suspended"}},
		"not begun":               {&workerv1.ListInvocationsRequest{NotBegun: true}, []string{"inboxed", "elsewhere"}},
		"not begun, of a service": {&workerv1.ListInvocationsRequest{NotBegun: true, Service: "S"}, []string{"inboxed"}},
		"as many as are wanted":   {&workerv1.ListInvocationsRequest{Limit: 2}, []string{"running", "suspended"}},
		"a state":                 {&workerv1.ListInvocationsRequest{State: storagev1.Invocation_STATE_SUSPENDED}, []string{"suspended"}},
		"a state, not backing off": {
			&workerv1.ListInvocationsRequest{State: storagev1.Invocation_STATE_INVOKED, BackingOff: proto.Bool(false)}, []string{"running"},
		},
		"backing off":                 {&workerv1.ListInvocationsRequest{BackingOff: proto.Bool(true)}, nil},
		"what matches is what counts": {&workerv1.ListInvocationsRequest{Limit: 1, EndpointId: "two"}, []string{"suspended"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := &listing{ctx: t.Context()}
			require.NoError(t, query.New(keyspace.Layout{Partitions: 1}, []query.Partition{led}).ListInvocations(c.request, got))
			require.Equal(t, c.want, got.names)
			require.Empty(t, got.partitions, "nobody has asked")
		})
	}
	following := query.New(keyspace.Layout{Partitions: 1}, []query.Partition{partition{nil, space}})
	got := &listing{ctx: t.Context()}
	require.NoError(t, following.ListInvocations(&workerv1.ListInvocationsRequest{}, got))
	require.Empty(t, got.names, "who leads the partition tells")
	err = following.ListInvocations(&workerv1.ListInvocationsRequest{Limit: 10001}, got)
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

// A list of what is not over reads no more of the rest than that it is over: a row that breaks off behind that is as good as
// any other.
func TestListReadsNoResults(t *testing.T) {
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	completed, err := proto.Marshal(&storagev1.Invocation{State: storagev1.Invocation_STATE_COMPLETED})
	require.NoError(t, err)
	batch := &kv.Batch{}
	batch.Put(storage.InvocationKey(ids.InvocationID{1}), append(completed, 0xff))
	require.NoError(t, storage.PutInvocation(batch, ids.InvocationID{2}, &storagev1.Invocation{
		State: storagev1.Invocation_STATE_INVOKED, Target: &journalv1.Target{Service: "S", Handler: "h"},
	}))
	require.NoError(t, space.Write(batch))
	service := query.New(keyspace.Layout{Partitions: 1}, []query.Partition{partition{invoker.New(invoker.DefaultConfig(), invoker.Deps{}), space}})
	got := &listing{ctx: t.Context()}
	require.NoError(t, service.ListInvocations(&workerv1.ListInvocationsRequest{}, got))
	require.Equal(t, []string{"h"}, got.names)
	require.ErrorIs(t, service.ListInvocations(&workerv1.ListInvocationsRequest{IncludeCompleted: true}, got), storage.ErrCorrupt)
}

// Who asks whether there are any has to know of which partitions nothing was told.
func TestListInvocationsTellsThePartitions(t *testing.T) {
	store := mem.New(4)
	var partitions []query.Partition
	for i := range uint32(4) {
		space, err := store.Space(i)
		require.NoError(t, err)
		batch := &kv.Batch{}
		require.NoError(t, storage.PutInvocation(batch, ids.InvocationID{byte(i)}, &storagev1.Invocation{
			State: storagev1.Invocation_STATE_INVOKED, Target: &journalv1.Target{Service: "S", Handler: "h"},
		}))
		require.NoError(t, space.Write(batch))
		led := partition{invoker.New(invoker.DefaultConfig(), invoker.Deps{}), space}
		if i == 1 {
			led.leads = nil
		}
		partitions = append(partitions, led)
	}
	service := query.New(keyspace.Layout{Partitions: 4}, partitions)
	got := &listing{ctx: t.Context()}
	require.NoError(t, service.ListInvocations(&workerv1.ListInvocationsRequest{TellPartitions: true, Service: "T"}, got))
	require.Empty(t, got.names)
	require.Equal(t, []uint32{0, 2, 3}, got.partitions)

	got = &listing{ctx: t.Context()}
	require.NoError(t, service.ListInvocations(&workerv1.ListInvocationsRequest{TellPartitions: true, Limit: 2}, got))
	require.Len(t, got.names, 2)
	require.Equal(t, []uint32{0, 2}, got.partitions, "the last one has more")
}

// Nobody makes attempts of one that is paused: why it is, is in its record.
func TestListInvocationsTellsWhyOneIsPaused(t *testing.T) {
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	batch := &kv.Batch{}
	for i, paused := range []*storagev1.Invocation{
		{}, {PausedWith: &journalv1.Failure{Code: 500, Message: "it is broken"}, PausedCode: "RT0007", PausedAttempts: 2},
	} {
		paused.State = storagev1.Invocation_STATE_PAUSED
		require.NoError(t, storage.PutInvocation(batch, ids.InvocationID{byte(i)}, paused))
	}
	require.NoError(t, space.Write(batch))
	led := partition{invoker.New(invoker.DefaultConfig(), invoker.Deps{}), space}
	got := &listing{ctx: t.Context()}
	service := query.New(keyspace.Layout{Partitions: 1}, []query.Partition{led})
	require.NoError(t, service.ListInvocations(&workerv1.ListInvocationsRequest{}, got))
	require.Len(t, got.names, 2)
	require.Equal(t, []string{"2 attempts: [RT0007] it is broken"}, got.failures)
}

// An invocation whose record is as large as can be is told of in a message that gRPC lets its receiver take, with all that
// meta shows and decides by.
func TestAnswersFit(t *testing.T) {
	const receives = 4 << 20 // by default
	id, caller := ids.InvocationID{1}, ids.InvocationID{2}
	told := &storagev1.Invocation{
		State:              storagev1.Invocation_STATE_COMPLETED,
		Target:             &journalv1.Target{Service: "S", Handler: "h", Key: make([]byte, schema.MaxKeyLength), Scope: "tenant"},
		Result:             &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}},
		Pin:                &logv1.PinnedEndpoint{EndpointId: "dp_1", ServiceProtocolVersion: 5},
		CreatedAt:          1,
		ModifiedAt:         2,
		ExecutionTime:      3,
		ExpiresAt:          4,
		JournalLength:      5,
		CallerInvocationId: caller[:],
		ClientStream:       "stream",
	}
	record := proto.CloneOf(told)
	record.Result = &journalv1.Result{Result: &journalv1.Result_Value{Value: make([]byte, 7<<20)}}
	record.IdempotencyKey = new(strings.Repeat("i", schema.MaxKeyLength))
	record.SpanContext = &journalv1.SpanContext{Tracestate: strings.Repeat("t", receives)}
	record.CallerTarget = &journalv1.Target{Key: make([]byte, receives)}
	record.PausedWith = &journalv1.Failure{Message: strings.Repeat("f", frame.MaxErrorText)}
	record.Awaiting = &journalv1.Future{NamedSignals: []string{strings.Repeat("s", receives)}}
	for range 1000 {
		record.ResponseSinks = append(record.ResponseSinks, &logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{
			Ingress: &logv1.IngressSink{IngressId: strings.Repeat("i", 8<<10)},
		}})
	}
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	batch := &kv.Batch{}
	require.NoError(t, storage.PutInvocation(batch, id, record))
	require.NoError(t, space.Write(batch))
	service := query.New(keyspace.Layout{Partitions: 1}, []query.Partition{partition{invoker.New(invoker.DefaultConfig(), invoker.Deps{}), space}})

	got, err := service.GetInvocation(t.Context(), &workerv1.GetInvocationRequest{InvocationId: id[:]})
	require.NoError(t, err)
	require.Less(t, proto.Size(got), receives)
	require.True(t, proto.Equal(told, got.GetInvocation().GetInvocation()))
	listed := &listing{ctx: t.Context()}
	require.NoError(t, service.ListInvocations(&workerv1.ListInvocationsRequest{IncludeCompleted: true}, listed))
	require.Len(t, listed.views, 1)
	require.True(t, proto.Equal(got.GetInvocation(), listed.views[0]))
}

// A failure is told as far as there is room for it, whole characters of it.
func TestHowInvocationsEnded(t *testing.T) {
	for message, want := range map[string]string{
		"killed": "killed", strings.Repeat("f", 4096): strings.Repeat("f", 4096),
		"x" + strings.Repeat("ü", 4<<20): "x" + strings.Repeat("ü", 2047) + "…",
	} {
		id := ids.InvocationID{1}
		space, err := mem.New(1).Space(0)
		require.NoError(t, err)
		batch := &kv.Batch{}
		require.NoError(t, storage.PutInvocation(batch, id, &storagev1.Invocation{
			State: storagev1.Invocation_STATE_COMPLETED,
			Result: &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{
				Code: 409, Message: message, Metadata: []*journalv1.FailureMetadata{{Key: "k"}},
			}}},
		}))
		require.NoError(t, space.Write(batch))
		led := partition{invoker.New(invoker.DefaultConfig(), invoker.Deps{}), space}
		got, err := query.New(keyspace.Layout{Partitions: 1}, []query.Partition{led}).
			GetInvocation(t.Context(), &workerv1.GetInvocationRequest{InvocationId: id[:]})
		require.NoError(t, err)
		require.True(t, proto.Equal(&journalv1.Failure{Code: 409, Message: want}, got.GetInvocation().GetInvocation().GetResult().GetFailure()))
	}
}
