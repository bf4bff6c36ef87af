package invoker

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
)

// What an invoker that has ended is asked for, or had in mind, waits for nothing.
func TestNothingWaitsAfterTheEnd(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	v := New(DefaultConfig(), Deps{Metrics: m, Log: slog.New(slog.DiscardHandler)})
	first, second := Invocation{ID: ids.InvocationID{1}, Run: 1}, Invocation{ID: ids.InvocationID{2}, Run: 1}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v.Start(first, nil)
	require.InEpsilon(t, 1.0, testutil.ToFloat64(m.waiting), 0)
	require.NoError(t, v.Run(ctx))
	require.Zero(t, testutil.ToFloat64(m.waiting))
	v.Start(second, nil)
	require.Zero(t, testutil.ToFloat64(m.waiting))
	m.backoff.Inc()
	v.retry(v.tasks[first.ID]) // its timer was too late to be stopped
	require.Zero(t, testutil.ToFloat64(m.waiting))
	require.Zero(t, testutil.ToFloat64(m.backoff))
}
