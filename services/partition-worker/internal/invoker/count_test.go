package invoker

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	wirev5 "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

// startOf reads the first message of a request.
func startOf(r *http.Request) *wirev5.Start {
	first, err := frame.NewReader(r.Body, 1<<20).Next()
	start := &wirev5.Start{}
	if err != nil || first.Type != wire.TypeStart || proto.Unmarshal(first.Payload, start) != nil {
		panic(http.ErrAbortHandler) //nolint:forbidigo // this is how net/http is told
	}
	return start
}

// Handlers count how often they have tried a step by what they are told of attempts. Those in which they had no part, for
// want of memory or of an endpoint that takes them, do not count.
func TestAttemptsThatHandlersAreToldOf(t *testing.T) {
	told := make(chan uint32, 10)
	requests := 0 // one at a time
	w := newWorld(t, func(cfg *Config) {
		cfg.MemoryLimit = 16 << 20
		cfg.RetryPolicy.InitialInterval = config.Duration(time.Millisecond)
	}, serve(t, map[string]http.HandlerFunc{"S": func(w http.ResponseWriter, r *http.Request) {
		requests++
		switch requests {
		case 1, 2:
			told <- startOf(r).GetRetryCountSinceLastStoredEntry()
			w.WriteHeader(http.StatusTooManyRequests)
		case 3, 4:
			told <- startOf(r).GetRetryCountSinceLastStoredEntry()
			_, _ = begins(w).Write(frameOf(wire.TypeError, &wirev5.Error{Code: 500, Message: "oh"}))
		default:
			told <- startOf(r).GetRetryCountSinceLastStoredEntry()
			answers(w, r)
		}
	}}))
	require.True(t, w.invoker.memory.Take("Other", 10<<20))
	lost := &losing{times: 2, next: w.invoker.deps.Transport}
	w.invoker.deps.Transport = lost.to
	id := w.startWith("S", make([]byte, 6<<20))
	code, message := w.awaitFailure(t, id)
	require.Equal(t, string(errcode.MemoryExhausted), code, message)
	w.invoker.memory.Release("Other", 10<<20)
	require.NotNil(t, w.awaitEnd(t, id).GetEnded())
	close(told)
	var counts []uint32
	for count := range told {
		counts = append(counts, count)
	}
	require.Equal(t, []uint32{0, 0, 0, 1, 2}, counts)
	require.Zero(t, lost.times)
}

// losing is a network that loses some requests on their way. It is used by one goroutine at a time.
type losing struct {
	times int
	next  Transport
}

func (l *losing) to(e *schema.Endpoint) http.RoundTripper {
	if l.times > 0 {
		l.times--
		return refusing{http.ErrServerClosed}
	}
	return l.next(e)
}
