package partitionworker_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	partitionworker "github.com/restate-go/restate/services/partition-worker"
	"github.com/restate-go/restate/services/partition-worker/internal/embedded"
	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
	"github.com/restate-go/restate/services/partition-worker/internal/query"
)

// slow is a partition, led by this worker, whose rows are read when the test lets go on.
type slow struct {
	kv.Space
	leads *invoker.Invoker
	// step is received from before each row.
	step chan struct{}
	// read is how many rows were read, open how many snapshots may read more.
	read, open int
}

func (s *slow) Invoker() *invoker.Invoker { return s.leads }
func (s *slow) State() kv.Space           { return s }

func (s *slow) Snapshot() kv.Snapshot {
	s.open++
	return slowSnapshot{s.Space.Snapshot(), s}
}

type slowSnapshot struct {
	kv.Snapshot
	partition *slow
}

func (s slowSnapshot) Sweep(lower, upper []byte) kv.Iterator {
	return slowIterator{s.Snapshot.Sweep(lower, upper), s.partition}
}

func (s slowSnapshot) Close() {
	s.Snapshot.Close()
	s.partition.open--
}

type slowIterator struct {
	kv.Iterator
	partition *slow
}

func (i slowIterator) Next() bool {
	<-i.partition.step
	i.partition.read++
	return i.Iterator.Next()
}

// The database is closed when nobody is answered any more, so a list that reads it has to be over by then. That it ends does
// not depend on how many rows are left, whether they are listed or not.
func TestStopWaitsForLists(t *testing.T) {
	for name, stop := range map[string]func(context.CancelFunc, net.Listener) error{
		"the worker stops":          func(cancel context.CancelFunc, _ net.Listener) error { cancel(); return nil },
		"nobody can connect longer": func(_ context.CancelFunc, listener net.Listener) error { return listener.Close() },
	} {
		for _, state := range []storagev1.Invocation_State{storagev1.Invocation_STATE_INVOKED, storagev1.Invocation_STATE_COMPLETED} {
			t.Run(name+", "+state.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { stopDuringList(t, state, stop) })
			})
		}
	}
}

func stopDuringList(t *testing.T, state storagev1.Invocation_State, stop func(context.CancelFunc, net.Listener) error) {
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	rows := &kv.Batch{}
	for i := range byte(100) {
		require.NoError(t, storage.PutInvocation(rows, ids.InvocationID{i}, &storagev1.Invocation{State: state}))
	}
	require.NoError(t, space.Write(rows))
	partition := &slow{Space: space, leads: invoker.New(invoker.DefaultConfig(), invoker.Deps{}), step: make(chan struct{})}
	layout := keyspace.Layout{Partitions: 1}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listener := bufconn.Listen(1 << 16)
	served := make(chan error, 1)
	go func() {
		served <- partitionworker.Serve(ctx, listener, query.New(layout, []query.Partition{partition}), embedded.NewService(layout, nil))
	}()
	conn, err := grpc.NewClient("passthrough:///worker", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	list, err := workerv1.NewWorkerServiceClient(conn).ListInvocations(t.Context(), &workerv1.ListInvocationsRequest{})
	require.NoError(t, err)
	partition.step <- struct{}{}
	synctest.Wait() // the second row is about to be read

	require.NoError(t, stop(cancel, listener))
	synctest.Wait()
	select {
	case <-served:
		t.Fatal("a list still reads the database")
	default:
	}
	require.Equal(t, 1, partition.open)
	close(partition.step)
	failed := <-served
	require.Equal(t, ctx.Err() == nil, failed != nil, failed)
	require.Zero(t, partition.open)
	require.Equal(t, 2, partition.read, "what is not over by then ends with its context")
	for err == nil {
		_, err = list.Recv()
	}
	require.Equal(t, codes.Unavailable, status.Code(err), err)
}
