package leadership_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/storage"

	"github.com/restate-go/restate/services/partition-worker/internal/leadership"
)

// TestTwoLeaders has two workers lead a partition at once: the first does not learn that it was replaced, runs its
// invocation to the end and says so to the log. Nothing of that has an effect, on either worker.
func TestTwoLeaders(t *testing.T) {
	c := newCluster(t)
	results, err := c.conn.NC.SubscribeSync(dispatch.ResponseSubject("ingress"))
	require.NoError(t, err)
	first := c.start(t, "first", 1)
	first.awaitLeads(t, true)
	c.invoke(t, "ingress")
	old := first.nextAttempt(t)

	first.space.mu.Lock()
	open := sync.OnceFunc(first.space.mu.Unlock)
	t.Cleanup(open)
	second := c.start(t, "second", 1)
	second.awaitLeads(t, true)
	current := second.nextAttempt(t)
	require.NotNil(t, first.leadership.Invoker(), "the first leads too, as far as it knows")

	old.send(t, "old")
	await.True(t, await.Deadline, func() bool { return c.effects(t, 1) == 2 }, "the first to propose what its service did")
	ignored := c.head(t)
	second.awaitApplied(t, ignored)
	require.NotContains(t, state(t, second), "x")

	current.send(t, "new")
	message := receive(t, results)
	require.Equal(t, "new", message)
	open()
	first.awaitLeads(t, false)
	await.True(t, await.Deadline, func() bool {
		head := c.head(t)
		return first.processor.Applied() == head && second.processor.Applied() == head && head > ignored
	}, "both to apply the log")
	second.stop()
	first.stop()
	first.awaitApplied(t, c.head(t))
	require.Equal(t, second.rows(), first.rows())
	require.Equal(t, "new", state(t, first)["x"])
	_, err = results.NextMsg(10 * time.Millisecond)
	require.ErrorIs(t, err, nats.ErrTimeout, "one result and no more")
}

// TestCommittedUnnoticed has the leader miss what was committed, because the database had said that it failed: it finds
// out from the state what is to be done.
func TestCommittedUnnoticed(t *testing.T) {
	c := newCluster(t)
	results, err := c.conn.NC.SubscribeSync(dispatch.ResponseSubject("ingress"))
	require.NoError(t, err)
	w := c.start(t, "worker", 2)
	w.awaitLeads(t, true)
	w.space.lie.Store(true)
	c.invoke(t, "ingress")
	w.nextAttempt(t).send(t, "done")
	require.Equal(t, "done", receive(t, results))
	require.Greater(t, w.processor.LeaderEpoch(), uint64(1))
}

// TestSameEpochOfAnother has another worker, which had the lease before, announce the epoch that this one announces too, and
// come first. This one has lost nothing but a number, and takes the next.
func TestSameEpochOfAnother(t *testing.T) {
	c := newCluster(t)
	asked, granted := make(chan struct{}), make(chan struct{})
	terms := campaign(1)
	w := c.startCampaigning(t, "worker", func(ctx context.Context) (leadership.Lease, error) {
		lease, err := terms(ctx)
		if err != nil {
			return nil, err
		}
		close(asked)
		select {
		case <-granted:
			return lease, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	select {
	case <-asked:
	case <-time.After(await.Deadline):
		t.Fatal("nobody asks for the lease")
	}
	w.space.mu.Lock()
	open := sync.OnceFunc(w.space.mu.Unlock)
	t.Cleanup(open)
	c.append(t, &logv1.Batch{Producer: "announce/other", ProposedAt: 1, Records: []*logv1.Record{{
		Sequence: 1, Command: &logv1.Record_AnnounceLeader{AnnounceLeader: &logv1.AnnounceLeader{LeaderEpoch: 1, NodeId: "other"}},
	}}})
	announced := c.head(t) + 1
	close(granted)
	await.True(t, await.Deadline, func() bool { return c.head(t) == announced }, "this one to announce the epoch, too")
	open()
	w.awaitLeads(t, true)
	require.Equal(t, uint64(2), w.processor.LeaderEpoch())
}

// effects returns how many effects of invocations a leader has proposed.
func (c *cluster) effects(t *testing.T, epoch uint64) int {
	t.Helper()
	reader, err := cmdlog.OpenReader(t.Context(), c.conn, 0, 1)
	require.NoError(t, err)
	defer reader.Close()
	count := 0
	for last, head := uint64(0), c.head(t); last < head; {
		messages, err := reader.Next(t.Context())
		require.NoError(t, err)
		for _, m := range messages {
			last = m.Sequence
			for _, r := range m.Batch.GetRecords() {
				if r.GetInvokerEffect() != nil && m.Batch.GetLeaderEpoch() == epoch {
					count++
				}
			}
		}
	}
	return count
}

// state returns the state of the counter k.
func state(t *testing.T, w *worker) map[string]string {
	t.Helper()
	values := map[string]string{}
	for key, value := range w.rows() {
		if storage.Table(key[0]) == storage.TableState {
			values[key[len(key)-1:]] = value
		}
	}
	return values
}

// receive takes the next result and acknowledges it.
func receive(t *testing.T, results *nats.Subscription) string {
	t.Helper()
	message, err := results.NextMsg(await.Deadline)
	require.NoError(t, err)
	require.NoError(t, message.Respond(nil))
	var batch workerv1.ResponseBatch
	require.NoError(t, proto.Unmarshal(message.Data, &batch))
	require.Len(t, batch.GetResponses(), 1)
	return string(batch.GetResponses()[0].GetResult().GetValue())
}
