package membership

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/broker/brokertest"
)

// lasts is so long that what a test sees is not that a lease expires.
const lasts = time.Hour

// setting is a broker with leases that last long.
type setting struct {
	*testing.T
	conn   *broker.Conn
	leases jetstream.KeyValue
}

func newSetting(t *testing.T, conn *broker.Conn) setting {
	t.Helper()
	leases, err := conn.JS.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{
		Bucket: leasesBucket, Storage: jetstream.MemoryStorage, TTL: lasts,
	})
	require.NoError(t, err)
	return setting{t, conn, leases}
}

func (s setting) candidate(nodeID string) *Candidate {
	candidate := NewCandidate(s.conn, 0, nodeID, slog.New(slog.DiscardHandler))
	candidate.lasts = lasts
	return candidate
}

func (s setting) campaign(c *Candidate) *Lease {
	s.Helper()
	lease, err := c.Campaign(s.Context())
	require.NoError(s, err)
	s.Cleanup(lease.Release)
	return lease
}

// hold gives the lease to the node.
func (s setting) hold(nodeID string) {
	s.Helper()
	_, err := s.leases.PutString(s.Context(), leaseKey(0), nodeID)
	require.NoError(s, err)
}

func (s setting) holder() string {
	entry, err := s.leases.Get(s.Context(), leaseKey(0))
	if err != nil {
		return err.Error()
	}
	return string(entry.Value())
}

func (s setting) awaitLost(lease *Lease) {
	s.Helper()
	select {
	case <-lease.Lost():
	case <-time.After(await.Deadline):
		s.Fatal("the lease is not given up")
	}
}

// A worker that was killed leaves its lease behind. The next one on the same database takes it, and no other.
func TestLeaseThatWasLeftBehind(t *testing.T) {
	s := newSetting(t, brokertest.Start(t).Connect())
	for _, left := range []string{WorkerID("here"), "here"} {
		s.hold(left)
		for _, other := range []string{WorkerID("elsewhere"), "here", "elsewhere"} {
			if other != left {
				_, err := s.candidate(other).take(t.Context())
				require.ErrorIs(t, err, errHeld, "%s after %s", other, left)
			}
		}
	}
	killed := WorkerID("here")
	s.hold(killed)
	next := s.candidate(WorkerID("here"))
	require.NotEqual(t, killed, next.nodeID)
	lease := s.campaign(next)
	require.Equal(t, next.nodeID, s.holder())

	// With a copy of the database elsewhere, two could go on to take it from each other.
	twin := s.candidate(WorkerID("here"))
	s.campaign(twin)
	s.awaitLost(lease)
	_, err := next.take(t.Context())
	require.ErrorIs(t, err, errHeld)
	require.Equal(t, twin.nodeID, s.holder())
}

// The broker may have given the lease to a node, and the answer was lost.
func TestLeaseThatWasGivenUnnoticed(t *testing.T) {
	s := newSetting(t, brokertest.Start(t).Connect())
	s.hold("node")
	lease := s.campaign(s.candidate("node"))
	s.hold("another")
	s.awaitLost(lease)
}

// A server of a cluster may answer that has not seen the latest yet, and show who held the lease before.
func TestLeaseThatIsSeenLate(t *testing.T) {
	s := newSetting(t, brokertest.Start(t).Connect())
	s.hold("another")
	entry, err := s.leases.Get(t.Context(), leaseKey(0))
	require.NoError(t, err)
	node := s.candidate("node")
	_, err = node.renew(t.Context(), taken{s.leases, entry.Revision() + 1})
	require.ErrorIs(t, err, errHeldBefore)
	require.NotErrorIs(t, err, errHeld)
	_, err = node.renew(t.Context(), taken{s.leases, entry.Revision() - 1})
	require.ErrorIs(t, err, errHeld)
}

// A broker that is away does not end a lease before its time is over.
func TestLeaseWithoutABroker(t *testing.T) {
	server := brokertest.Start(t)
	s := newSetting(t, server.Connect())
	candidate := s.candidate("node")
	candidate.lasts = ttl
	began := time.Now()
	lease := s.campaign(candidate)
	server.Stop()
	s.awaitLost(lease)
	require.Greater(t, time.Since(began), ttl-retryPause)
}

// Nobody is to ask a worker that is gone, once another one works on its database.
func TestWorkerThatWasReplaced(t *testing.T) {
	conn := brokertest.Start(t).Connect()
	worker := func(directory string) Node { return Node{ID: WorkerID(directory), Role: RoleWorker} }
	gone, other, next := worker("here"), worker("elsewhere"), worker("here")
	for _, node := range []Node{gone, other} {
		encoded, err := json.Marshal(node)
		require.NoError(t, err)
		require.NoError(t, tryAnnounce(t.Context(), conn, node.key(), encoded))
	}
	forget(t.Context(), conn, next)
	nodes, err := Nodes(t.Context(), conn, RoleWorker)
	require.NoError(t, err)
	require.Equal(t, []Node{other}, nodes)
}

func TestReleasedLease(t *testing.T) {
	s := newSetting(t, brokertest.Start(t).Connect())
	s.campaign(s.candidate("one")).Release()
	s.campaign(s.candidate("another"))
	require.Equal(t, "another", s.holder())
}

// A broker that was restarted knows neither who is alive nor who holds which lease. It is told so again.
func TestBrokerThatForgets(t *testing.T) {
	server := brokertest.Start(t)
	s := newSetting(t, server.Connect())
	lease := s.campaign(s.candidate("node"))
	announced := make(chan error, 1)
	go func() {
		announced <- Announce(t.Context(), s.conn, Node{ID: "node", Role: RoleWorker, GRPCAddr: "here"}, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() { require.NoError(t, <-announced) })
	for range 3 {
		await.True(t, await.Deadline, func() bool {
			leader, err := Leader(t.Context(), s.conn, 0)
			return err == nil && leader.GRPCAddr == "here"
		}, "the leader to be known")
		server.Restart()
	}
	select {
	case <-lease.Lost():
		t.Fatal("the lease was given up, though nobody else wants it")
	default:
	}
}
