package invoker

import (
	"math"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	wirev5 "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/schema"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

// A pause that no duration has room for would be a negative one, and none would have the endpoint called without end.
func TestPausesOfPolicies(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for name, c := range map[string]struct {
		initial, most time.Duration
		factor        float64
		attempt       uint32
		from, to      time.Duration
	}{
		"the first":                  {time.Second, time.Hour, 2, 1, time.Second, 1300 * time.Millisecond},
		"the third":                  {time.Second, time.Hour, 2, 3, 4 * time.Second, 5200 * time.Millisecond},
		"the longest":                {time.Second, time.Minute, 2, 70, time.Minute, 78 * time.Second},
		"one that grows beyond":      {time.Second, time.Minute, schema.MaxFactor, math.MaxUint32, time.Minute, 78 * time.Second},
		"years":                      {forever, forever, 2, 1, forever, forever},
		"nearly as many":             {forever / 100 * 99, forever, 1, 1, forever / 100 * 99, forever},
		"years that double":          {time.Second, forever, 2, math.MaxUint32, forever, forever},
		"none":                       {0, 0, 2, 1, shortestDelay, 2 * shortestDelay},
		"none that doubles for long": {0, 0, 2, math.MaxUint32, shortestDelay, 2 * shortestDelay},
		"none, up to an hour":        {0, time.Hour, 2, math.MaxUint32, time.Hour, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			policy := schema.RetryPolicy{InitialInterval: c.initial, MaxInterval: c.most, Factor: c.factor}
			for range 100 { // they are stretched at random
				pause, again := delayOf(policy, c.attempt)
				require.True(t, again)
				require.GreaterOrEqual(t, pause, c.from)
				require.LessOrEqual(t, pause, c.to)
			}
		})
	}
}

// A pause of centuries is as long as it can be, and ends when somebody says so.
func TestPausesOfCenturies(t *testing.T) {
	for name, failure := range map[string]*wirev5.Error{
		"of the policy": {Code: 500, Message: "oh"},
		"of an error":   {Code: 500, Message: "oh", NextRetryDelay: proto.Uint64(math.MaxUint64)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var repaired atomic.Bool
			w := newWorld(t, func(cfg *Config) {
				if failure.NextRetryDelay == nil {
					cfg.RetryPolicy.InitialInterval, cfg.RetryPolicy.MaxInterval = config.Duration(math.MaxInt64), config.Duration(math.MaxInt64)
				}
			}, serve(t, map[string]http.HandlerFunc{"S": func(w http.ResponseWriter, r *http.Request) {
				if repaired.Load() {
					answers(w, r)
					return
				}
				_, _ = begins(w).Write(frameOf(wire.TypeError, failure))
			}}))
			id := w.start("S")
			w.awaitFailure(t, id)
			view, _ := w.invoker.View(id)
			require.Equal(t, uint32(1), view.Attempts)
			require.Greater(t, time.UnixMilli(int64(view.NextAttemptAt)).Year(), 2300)
			repaired.Store(true)
			await.True(t, await.Deadline, func() bool {
				w.invoker.RetryNow(id, 1) // until the task waits
				return w.end(id) != nil
			}, "the next attempt")
			require.NotNil(t, w.end(id).GetEnded())
		})
	}
}
