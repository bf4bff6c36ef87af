package load_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/load"
)

// counting is a client whose calls fail from some number on; zero: never.
type counting struct {
	calls  *atomic.Int64
	limit  int64
	closed *atomic.Int64
}

var errFull = errors.New("enough")

func (c counting) Call() error {
	if n := c.calls.Add(1); c.limit > 0 && n > c.limit {
		return errFull
	}
	time.Sleep(time.Millisecond) //nolint:forbidigo // a call takes its time
	return nil
}

func (c counting) Close() error { c.closed.Add(1); return nil }

func plan(duration time.Duration, notes *[]string) load.Plan {
	note := func(text string) func() error { return func() error { *notes = append(*notes, text); return nil } }
	return load.Plan{Clients: 4, Warmup: 20 * time.Millisecond, Duration: duration, Began: note("began"), Ended: note("ended")}
}

func TestMeasuresBetweenBeginAndEnd(t *testing.T) {
	var calls, closed atomic.Int64
	var notes []string
	measures := plan(50*time.Millisecond, &notes)
	began := measures.Began
	measures.Began = func() error {
		await.True(t, await.Deadline, func() bool { return calls.Load() > int64(measures.Clients) }, "a call to end in the warm-up")
		return began()
	}
	result, err := load.Run(t.Context(), measures, func(int) (load.Client, error) {
		return counting{calls: &calls, closed: &closed}, nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"began", "ended"}, notes)
	require.EqualValues(t, 4, closed.Load())
	require.NotEmpty(t, result.Latencies)
	require.Less(t, int64(len(result.Latencies)), calls.Load(), "those of the warm-up do not count")
	require.GreaterOrEqual(t, result.Quantile(0), time.Millisecond)
	require.GreaterOrEqual(t, result.Elapsed, 50*time.Millisecond)
}

func TestAFailedCallEndsTheRun(t *testing.T) {
	var calls, closed atomic.Int64
	var notes []string
	_, err := load.Run(t.Context(), plan(time.Hour, &notes), func(int) (load.Client, error) {
		return counting{calls: &calls, closed: &closed, limit: 100}, nil
	})
	require.ErrorIs(t, err, errFull)
	require.EqualValues(t, 4, closed.Load())
}

func TestTheContextEndsTheRun(t *testing.T) {
	var calls, closed atomic.Int64
	var notes []string
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := load.Run(ctx, plan(time.Hour, &notes), func(int) (load.Client, error) {
		return counting{calls: &calls, closed: &closed}, nil
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestQuantilesAreNearestRanks(t *testing.T) {
	var result load.Result
	require.Zero(t, result.Quantile(0.5))
	for i := range 100 {
		result.Latencies = append(result.Latencies, time.Duration(i+1))
	}
	result.Elapsed = 2 * time.Second
	require.EqualValues(t, 50, result.Quantile(0.5))
	require.EqualValues(t, 99, result.Quantile(0.99))
	require.EqualValues(t, 100, result.Quantile(1))
	require.InDelta(t, 50, result.PerSecond(), 0)
}

func TestConnKeepsItsConnection(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusConflict)
		}
		_, _ = w.Write([]byte(strings.Repeat(string(body), 3)))
		_ = http.NewResponseController(w).Flush() // so that the answer comes in chunks
		_, _ = w.Write([]byte("."))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	conn, err := load.Dial(t.Context(), strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	for _, body := range []string{"", "x", strings.Repeat("long", 1000)} {
		answer, err := conn.Post("/path", body)
		require.NoError(t, err)
		require.Equal(t, body+body+body+".", string(answer))
	}
	_, err = conn.Post("/refused", "why")
	require.ErrorContains(t, err, "409 Conflict: whywhywhy.")
	_, err = conn.Post("/path", "")
	require.NoError(t, err)
	require.EqualValues(t, 1, connections.Load())
}

// slow takes longer for a call than is measured.
type slow struct{}

func (slow) Call() error {
	time.Sleep(20 * time.Millisecond) //nolint:forbidigo // this is how long the call takes
	return nil
}

func (slow) Close() error { return nil }

func TestACallIsMeasuredHoweverLongItTakes(t *testing.T) {
	nothing := func() error { return nil }
	plan := load.Plan{Clients: 1, Duration: time.Millisecond, Began: nothing, Ended: nothing}
	result, err := load.Run(t.Context(), plan, func(int) (load.Client, error) { return slow{}, nil })
	require.NoError(t, err)
	require.NotEmpty(t, result.Latencies)
}
