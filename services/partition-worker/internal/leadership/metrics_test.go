package leadership_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
)

// figure returns a gauge of the partition.
func (w *worker) figure(t *testing.T, name string) int {
	t.Helper()
	families, err := w.figures.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			require.Len(t, family.GetMetric(), 1)
			metric := family.GetMetric()[0]
			require.Equal(t, "0", metric.GetLabel()[0].GetValue())
			return int(metric.GetGauge().GetValue())
		}
	}
	require.Fail(t, "there is no figure "+name)
	return 0
}

const (
	outboxMessages = "restate_partition_outbox_messages"
	logQueuedBytes = "restate_partition_log_queued_bytes"
	timersInMemory = "restate_partition_timers"
)

func TestFiguresOfWhatWaits(t *testing.T) {
	c := newCluster(t)
	results, err := c.conn.NC.SubscribeSync(dispatch.ResponseSubject("ingress"))
	require.NoError(t, err)
	w := c.start(t, "worker", 1)
	w.awaitLeads(t, true)
	for _, name := range []string{outboxMessages, logQueuedBytes, timersInMemory} {
		require.Zero(t, w.figure(t, name), name)
	}

	c.invoke(t, "ingress")
	w.nextAttempt(t).send(t, "done")
	result, err := results.NextMsg(await.Deadline)
	require.NoError(t, err)
	require.Equal(t, 1, w.figure(t, outboxMessages))
	require.NoError(t, result.Respond(nil))
	await.True(t, await.Deadline, func() bool { return w.figure(t, outboxMessages) == 0 }, "the outbox to be truncated")

	c.invokeAt(t, "late", time.Now().Add(time.Hour))
	await.True(t, await.Deadline, func() bool { return w.figure(t, timersInMemory) == 1 }, "the timer of the delayed call")

	c.invoke(t, "another")
	running := w.nextAttempt(t)
	log, err := c.conn.JS.Stream(t.Context(), cmdlog.StreamName(0))
	require.NoError(t, err)
	full := log.CachedInfo().Config
	full.MaxMsgs = int64(c.head(t))
	_, err = c.conn.JS.UpdateStream(t.Context(), full)
	require.NoError(t, err)
	await.True(t, await.Deadline, func() bool {
		// The first is on its way, those after it wait.
		_, err := running.answer.Write(frame.Append(nil, frame.Frame{
			Type: v0.TypeSetState, Payload: []byte{1<<3 | 2, 1, 'x', 3<<3 | 2, 1, 'y'},
		}))
		require.NoError(t, err)
		return w.figure(t, logQueuedBytes) > 0
	}, "what the leader proposes to wait")

	w.stop()
	require.Equal(t, 0, w.figure(t, logQueuedBytes))
	require.Equal(t, 0, w.figure(t, timersInMemory))
}
