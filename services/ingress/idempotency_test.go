package ingress_test

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
)

// counting answers with the number of invocations that ran.
func counting(r *running) *atomic.Int64 {
	ran := new(atomic.Int64)
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result {
		data, _ := proto.Marshal(wrapperspb.Int64(ran.Add(1))) // field 1, as in CounterValue
		return success(data)
	})
	return ran
}

func TestIdempotencyKey(t *testing.T) {
	r := startWithServices(t)
	ran := counting(r)
	add := func(counter, key string, headers ...string) response {
		headers = append(headers, "Idempotency-Key", key)
		return post(t, r, "/seedera.Counter/Add", `{"counterName":`+strconv.Quote(counter)+`,"delta":1}`, headers...)
	}
	first := add("a", "k")
	require.Equal(t, `{"value":"1"}`, first.body)
	require.EqualValues(t, 1800_000, r.worker.last().GetCompletionRetention())
	expires, err := time.Parse(time.RFC3339, first.header.Get("Idempotency-Expires"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(30*time.Minute), expires, time.Minute)

	require.Equal(t, `{"value":"1"}`, add("a", "k").body, "the same request again")
	require.Equal(t, `{"value":"2"}`, add("a", "other").body, "another key")
	require.Equal(t, `{"value":"3"}`, add("b", "k").body, "another instance")
	require.Equal(t, `{"value":"4"}`, post(t, r, "/seedera.Single/Bump", `{}`, "Idempotency-Key", "k").body, "another service")
	require.EqualValues(t, 4, ran.Load())

	add("a", "short", "Idempotency-Retention-Period", "7")
	require.EqualValues(t, 7_000, r.worker.last().GetCompletionRetention())
	none := post(t, r, "/seedera.Counter/Add", `{"counterName":"a"}`, "Idempotency-Retention-Period", "7")
	require.Empty(t, none.header.Get("Idempotency-Expires"), "without a key nothing is kept")
}

func TestIdempotencyKeyDecidesThePartition(t *testing.T) {
	r := startWithServices(t)
	counting(r)
	for path, c := range map[string]struct {
		body string
		key  []byte
	}{
		"/seedera.Counter/Get":   {`{"counterName":"a"}`, []byte("\x01a")},
		"/seedera.Single/Bump":   {`{}`, nil},
		"/seedera.Greeter/Greet": {`{}`, []byte("k")},
	} {
		post(t, r, path, c.body, "Idempotency-Key", "k")
		id := ids.InvocationID(r.worker.last().GetInvocationId())
		require.Equal(t, keyspace.HashKey(c.key), id.PartitionKey(), path)
	}
}

func TestIdempotentFailuresAreKept(t *testing.T) {
	r := startWithServices(t)
	var ran atomic.Int64
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result {
		ran.Add(1)
		return failed(9, "no")
	})
	for range 2 {
		answer := post(t, r, "/seedera.Greeter/Greet", `{}`, "Idempotency-Key", "k")
		require.Equal(t, http.StatusPreconditionFailed, answer.status)
		require.NotEmpty(t, answer.header.Get("Idempotency-Expires"))
	}
	require.EqualValues(t, 1, ran.Load())
}

func TestIdempotencyOverGRPC(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(&emptypb.Empty{})
	ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k")
	var header metadata.MD
	require.NoError(t, dial(t, r).Invoke(ctx, "/seedera.Greeter/Greet", &emptypb.Empty{}, &emptypb.Empty{}, grpc.Header(&header)))
	require.Len(t, header.Get("idempotency-expires"), 1)
}
