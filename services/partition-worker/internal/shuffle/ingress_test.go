package shuffle

import (
	"context"
	"log/slog"
	"slices"
	"strings"
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
	"github.com/restate-go/restate/pkg/ids"
)

func resultOf(request uint64, size int) *storagev1.IngressResponse {
	return &storagev1.IngressResponse{RequestId: request, Result: &journalv1.Result{
		Result: &journalv1.Result_Value{Value: make([]byte, size)},
	}}
}

func failureOf(request uint64, size int) *storagev1.IngressResponse {
	return &storagev1.IngressResponse{RequestId: request, Result: &journalv1.Result{
		Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{Code: 500, Message: strings.Repeat("x", size)}},
	}}
}

func resultWithKey(request uint64, size int) *storagev1.IngressResponse {
	message := resultOf(request, 1)
	message.Target = &journalv1.Target{Service: "Counter", Key: make([]byte, size), Handler: "add"}
	return message
}

// TestResultsAreTakenTogether looks at how queued results are made into messages: bounded in number and in size.
func TestResultsAreTakenTogether(t *testing.T) {
	sizesOf := func(count int, result func(uint64) *storagev1.IngressResponse) (sizes []int) {
		i := &ingress{queue: make(chan response, ingressQueue)}
		for n := range count {
			i.queue <- newResponse(result(uint64(n)), nil)
		}
		var left *response
		next := uint64(0)
		for left != nil || len(i.queue) > 0 {
			var batch []response
			var err error
			batch, left, err = i.next(t.Context(), left)
			require.NoError(t, err)
			message := &workerv1.ResponseBatch{}
			for _, r := range batch {
				require.Equal(t, next, r.message.GetRequestId(), "out of order, or lost")
				next++
				message.Responses = append(message.Responses, r.message)
			}
			if len(batch) > 1 {
				require.LessOrEqual(t, proto.Size(message), maxResponseBytes)
			}
			sizes = append(sizes, len(batch))
		}
		require.Equal(t, uint64(count), next)
		return sizes
	}
	sizes := func(size, count int) []int {
		return sizesOf(count, func(n uint64) *storagev1.IngressResponse { return resultOf(n, size) })
	}
	require.Equal(t, []int{1}, sizes(10, 1))
	require.Equal(t, []int{responseBatch, responseBatch, 3}, sizes(10, 2*responseBatch+3))
	require.Equal(t, []int{4, 4, 1}, sizes(maxResponseBytes/4-100, 9))
	require.Equal(t, []int{1, 1}, sizes(maxResponseBytes+1, 2), "a result that is too large for company goes alone")
	require.Equal(t, []int{4, 4, 1}, sizesOf(9, func(n uint64) *storagev1.IngressResponse {
		return failureOf(n, maxResponseBytes/4-100)
	}), "failures")
	require.Equal(t, []int{64, 64, 2}, sizesOf(130, func(n uint64) *storagev1.IngressResponse {
		return resultWithKey(n, maxResponseBytes/64-100)
	}), "keys")

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := (&ingress{queue: make(chan response)}).next(stopped, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// waiting is an ingress that takes what it is sent, and the destination that sends it results.
type waiting struct {
	destination *ingress
	mu          sync.Mutex
	taken       []*storagev1.IngressResponse
}

func (w *waiting) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.taken)
}

// deliver sends the results, all of which are queued before the first is taken, and returns what came of them.
func deliver(t *testing.T, conn *broker.Conn, results ...*storagev1.IngressResponse) []*storagev1.IngressResponse {
	t.Helper()
	w := &waiting{destination: newIngress("i1", conn, slog.New(slog.DiscardHandler))}
	subscription, err := conn.NC.Subscribe(dispatch.ResponseSubject("i1"), func(message *nats.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		batch := &workerv1.ResponseBatch{}
		if proto.Unmarshal(message.Data, batch) == nil {
			w.taken = append(w.taken, batch.GetResponses()...)
			_ = message.Respond(nil)
		}
	})
	require.NoError(t, err)
	var arrived atomic.Int32
	for _, result := range results {
		w.destination.queue <- newResponse(result, func() { arrived.Add(1) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- w.destination.Run(ctx) }()
	await.True(t, await.Deadline, func() bool { return int(arrived.Load()) == len(results) }, "all results to arrive")
	cancel()
	require.ErrorIs(t, <-stopped, context.Canceled)
	require.NoError(t, subscription.Unsubscribe())
	require.Equal(t, len(results), w.count())
	for n, result := range results {
		require.Equal(t, result.GetRequestId(), w.taken[n].GetRequestId(), "out of order")
	}
	return w.taken
}

// results returns so many, with numbers from first on.
func results(first, count uint64, result func(request uint64, size int) *storagev1.IngressResponse, size int) []*storagev1.IngressResponse {
	var all []*storagev1.IngressResponse
	for n := range count {
		all = append(all, result(first+n, size))
	}
	return all
}

// TestResultsFitTheBroker has what makes a message large besides values.
func TestResultsFitTheBroker(t *testing.T) {
	server := brokertest.Start(t)
	deliver(t, server.Connect(), slices.Concat(
		results(0, 64, failureOf, 200<<10), results(64, 200, resultWithKey, 60<<10), results(264, 9, resultOf, 1<<20),
	)...)
}

// TestResultThatIsTooLarge has one that the broker does not take even alone: whoever waits for it hears so, and the others get
// theirs.
func TestResultThatIsTooLarge(t *testing.T) {
	server := brokertest.Start(t)
	id, err := ids.NewInvocationID(1)
	require.NoError(t, err)
	large := resultOf(2, broker.MaxPayload)
	large.IngressId, large.InvocationId, large.Retained, large.ExpiresAt = "i1", id[:], true, 7
	taken := deliver(t, server.Connect(), resultOf(1, 10), large, failureOf(3, broker.MaxPayload), resultOf(4, 10))
	require.Len(t, taken[0].GetResult().GetValue(), 10)
	require.Len(t, taken[3].GetResult().GetValue(), 10)
	require.Equal(t, []any{"i1", id[:], true, uint64(7)}, []any{
		taken[1].GetIngressId(), taken[1].GetInvocationId(), taken[1].GetRetained(), taken[1].GetExpiresAt(),
	})
	failure := taken[1].GetResult().GetFailure()
	require.Equal(t, uint32(500), failure.GetCode())
	require.Contains(t, failure.GetMessage(), "[RT0115] the result of "+id.String())
	require.Contains(t, taken[2].GetResult().GetFailure().GetMessage(), "[RT0115]")
}

// TestBrokerThatTakesLess has one that takes less than what goes together elsewhere, as after connecting to another server.
func TestBrokerThatTakesLess(t *testing.T) {
	cfg := brokertest.External(t, func(o *brokertest.Options) { o.MaxPayload = 64 << 10 })
	conn, err := broker.Connect(t.Context(), nil, cfg, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	taken := deliver(t, conn, slices.Concat(results(0, 40, resultOf, 10<<10), results(40, 1, resultOf, 65<<10), results(41, 9, resultOf, 60<<10))...)
	for n, result := range taken {
		require.Equal(t, n == 40, result.GetResult().GetFailure() != nil, n)
	}
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
	destination := newIngress("i1", conn, log)
	destination.patience = 100 * time.Millisecond
	stopped := make(chan error, 1)
	go func() { stopped <- destination.Run(ctx) }()
	var arrived atomic.Int32
	for n := range uint64(10) {
		message := &storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_IngressResponse{
			IngressResponse: resultOf(n, 1),
		}}
		taken, err := destination.Send(ctx, n, message, func() { arrived.Add(1) })
		require.NoError(t, err)
		require.True(t, taken)
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
	destination := newIngress("i1", conn, slog.New(slog.DiscardHandler))
	destination.patience = time.Hour
	stopped := make(chan error, 1)
	go func() { stopped <- destination.Run(ctx) }()
	arrived := make(chan struct{})
	destination.queue <- newResponse(resultOf(1, 1), func() { close(arrived) })
	<-asked
	server.Restart()
	require.NoError(t, (<-asked).Respond(nil))
	<-arrived
	cancel()
	require.ErrorIs(t, <-stopped, context.Canceled)
}

// TestIngressHasRoomForSoMuch refuses results instead of waiting, by their number and by their size, until others have arrived.
func TestIngressHasRoomForSoMuch(t *testing.T) {
	server := brokertest.Start(t)
	conn := server.Connect()
	for size, most := range map[int]int{1: ingressQueue, 1 << 20: 15, maxHeldBytes: 1} {
		destination := newIngress("i1", conn, slog.New(slog.DiscardHandler))
		fill := func() int {
			for n := 0; ; n++ {
				message := &storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_IngressResponse{IngressResponse: resultOf(1, size)}}
				if taken, err := destination.Send(t.Context(), 1, message, func() {}); err != nil || !taken {
					require.NoError(t, err)
					return n
				}
			}
		}
		require.Equal(t, most, fill())
		subscription, err := conn.NC.Subscribe(dispatch.ResponseSubject("i1"), func(message *nats.Msg) { _ = message.Respond(nil) })
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- destination.Run(ctx) }()
		await.True(t, await.Deadline, func() bool { return destination.held.Load() == 0 }, "all to arrive")
		cancel()
		require.ErrorIs(t, <-stopped, context.Canceled)
		require.NoError(t, subscription.Unsubscribe())
		require.Equal(t, most, fill(), "there is room again")
	}
}

// TestIngressThatIsGone has one that the broker does not know, and one that it knows and that is silent.
func TestIngressThatIsGone(t *testing.T) {
	server := brokertest.Start(t)
	conn := server.Connect()
	gone := func(destination *ingress) {
		destination.queue <- newResponse(resultOf(1, 1), func() { t.Error("it has not arrived") })
		require.ErrorIs(t, destination.Run(t.Context()), ErrGone)
	}
	unknown := newIngress("i1", conn, slog.New(slog.DiscardHandler))
	unknown.goneAfter, unknown.silentAfter = 300*time.Millisecond, time.Hour
	gone(unknown)

	_, err := conn.NC.Subscribe(dispatch.ResponseSubject("i2"), func(*nats.Msg) {})
	require.NoError(t, err)
	silent := newIngress("i2", conn, slog.New(slog.DiscardHandler))
	silent.patience, silent.goneAfter, silent.silentAfter = 100*time.Millisecond, time.Hour, 300*time.Millisecond
	gone(silent)
}
