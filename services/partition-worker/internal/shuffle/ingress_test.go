package shuffle

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/broker/brokertest"
	"github.com/restate-go/restate/pkg/dispatch"
)

func resultOf(request uint64, size int) *storagev1.IngressResponse {
	return &storagev1.IngressResponse{RequestId: request, Result: &journalv1.Result{
		Result: &journalv1.Result_Value{Value: make([]byte, size)},
	}}
}

// TestResultsAreTakenTogether looks at how queued results are made into messages: bounded in number and in size.
func TestResultsAreTakenTogether(t *testing.T) {
	sizes := func(size, count int) (sizes []int) {
		i := &ingress{queue: make(chan response, ingressQueue)}
		for n := range count {
			i.queue <- response{message: resultOf(uint64(n), size)}
		}
		var left *response
		next := uint64(0)
		for left != nil || len(i.queue) > 0 {
			var batch []response
			var err error
			batch, left, err = i.next(t.Context(), left)
			require.NoError(t, err)
			for _, r := range batch {
				require.Equal(t, next, r.message.GetRequestId(), "out of order, or lost")
				next++
			}
			sizes = append(sizes, len(batch))
		}
		require.Equal(t, uint64(count), next)
		return sizes
	}
	require.Equal(t, []int{1}, sizes(10, 1))
	require.Equal(t, []int{responseBatch, responseBatch, 3}, sizes(10, 2*responseBatch+3))
	require.Equal(t, []int{4, 4, 1}, sizes(maxResponseBytes/4, 9))
	require.Equal(t, []int{1, 1}, sizes(maxResponseBytes+1, 2), "a result that is too large for company goes alone")

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := (&ingress{queue: make(chan response)}).next(stopped, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// TestResultsAreRepeatedUntilTaken has an ingress that comes late, and first takes nothing.
func TestResultsAreRepeatedUntilTaken(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	defer server.Close()
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	defer conn.Close()

	ctx, cancel := context.WithCancel(t.Context())
	destination := &ingress{
		id: "i1", conn: conn, queue: make(chan response, ingressQueue), log: log, patience: 100 * time.Millisecond,
	}
	stopped := make(chan error, 1)
	go func() { stopped <- destination.Run(ctx) }()
	var arrived atomic.Int32
	for n := range uint64(10) {
		message := &storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_IngressResponse{
			IngressResponse: resultOf(n, 1),
		}}
		require.NoError(t, destination.Send(ctx, n, message, func() { arrived.Add(1) }))
	}

	var mu sync.Mutex
	taken := map[uint64]int{}
	refused := false
	subscription, err := conn.NC.Subscribe(dispatch.ResponseSubject("i1"), func(message *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		batch := &workerv1.ResponseBatch{}
		if proto.Unmarshal(message.Data, batch) != nil {
			return
		}
		for _, r := range batch.GetResponses() {
			taken[r.GetRequestId()]++
		}
		if !refused {
			refused = true
			return
		}
		_ = message.Respond(nil)
	})
	require.NoError(t, err)
	defer func() { _ = subscription.Unsubscribe() }()
	await.True(t, await.Deadline, func() bool { return arrived.Load() == 10 }, "all results to arrive")
	mu.Lock()
	require.Len(t, taken, 10)
	require.GreaterOrEqual(t, taken[0], 2, "the first time was not acknowledged")
	mu.Unlock()
	cancel()
	require.ErrorIs(t, <-stopped, context.Canceled)
}

// TestResultsOfALostConnection has the broker go away before an ingress has acknowledged its results: they are repeated
// then, and not only when the patience with the ingress is at its end.
func TestResultsOfALostConnection(t *testing.T) {
	server := brokertest.Start(t)
	conn, there := server.Connect(), server.Connect()
	asked := make(chan *nats.Msg, 1)
	_, err := there.NC.ChanSubscribe(dispatch.ResponseSubject("i1"), asked)
	require.NoError(t, err)
	require.NoError(t, there.NC.Flush())
	ctx, cancel := context.WithCancel(t.Context())
	destination := &ingress{
		id: "i1", conn: conn, queue: make(chan response, 1), log: slog.New(slog.DiscardHandler), patience: time.Hour,
	}
	stopped := make(chan error, 1)
	go func() { stopped <- destination.Run(ctx) }()
	arrived := make(chan struct{})
	destination.queue <- response{message: resultOf(1, 1), arrived: func() { close(arrived) }}
	<-asked
	server.Restart()
	require.NoError(t, (<-asked).Respond(nil))
	<-arrived
	cancel()
	require.ErrorIs(t, <-stopped, context.Canceled)
}
