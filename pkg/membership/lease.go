package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/restate-go/restate/pkg/broker"
)

// Candidate is a node that wants to lead a partition.
type Candidate struct {
	conn      *broker.Conn
	partition uint32
	nodeID    string
	log       *slog.Logger
	// lasts is how long a lease lasts that is not renewed.
	lasts time.Duration
	// succeeds says that the node may take over the lease of whoever had its directory before.
	succeeds bool
}

// WorkerID returns the id of a new node that works on the directory with the id. A worker that was restarted is another
// node, so that its leases and epochs are its own; but it can tell who was there before.
func WorkerID(directory string) string { return directory + "_" + uuid.NewString() }

// NewCandidate returns a candidate for the partition, which has to have its directory for itself. Then whichever node
// had that before is gone, and its lease is taken over, in place of waiting until it expires. That is done once: if
// there are copies of a directory after all, their nodes do not go on to take leases from each other.
func NewCandidate(conn *broker.Conn, partition uint32, nodeID string, log *slog.Logger) *Candidate {
	return &Candidate{
		conn: conn, partition: partition, nodeID: nodeID, log: log.With("partition", partition), lasts: ttl, succeeds: true,
	}
}

// follows says that the one node works on the directory that the other worked on, which therefore is gone.
func follows(nodeID, other string) bool {
	ours, _, ok := strings.Cut(nodeID, "_")
	theirs, _, _ := strings.Cut(other, "_")
	return ok && ours == theirs && nodeID != other
}

// Campaign waits until the candidate holds the lease, or the context ends. One goroutine at a time may campaign, and not
// before a lease it held has been released.
func (c *Candidate) Campaign(ctx context.Context) (*Lease, error) {
	for waiting := false; ; {
		taken, err := c.take(ctx)
		if err == nil {
			c.succeeds = false
			lease := &Lease{candidate: c, taken: taken, lost: make(chan struct{})}
			renewing, cancel := context.WithCancel(context.WithoutCancel(ctx))
			lease.cancel = cancel
			lease.done.Go(func() { lease.renew(renewing) })
			return lease, nil
		}
		if !waiting && ctx.Err() == nil {
			waiting = true
			if errors.Is(err, errHeld) {
				c.log.Info("waiting for the lease, which another worker holds or has left behind", "expires_within", c.lasts)
			} else {
				c.log.Warn("cannot take the lease, trying again", "error", err)
			}
		}
		if !c.conn.Pause(ctx, retryPause) {
			return nil, fmt.Errorf("campaign for partition %d: %w", c.partition, ctx.Err())
		}
	}
}

var (
	// errHeld means that another node holds the lease.
	errHeld = errors.New("another node holds the lease")
	// errHeldBefore means that another node held the lease before the candidate did, and no more is known.
	errHeldBefore = errors.New("the broker shows who held the lease before")
)

// taken is where a lease is stored that the candidate has.
type taken struct {
	bucket   jetstream.KeyValue
	revision uint64
}

// take tries once to get the lease: when nobody has it, when the candidate has it, though the answer that said so was
// lost, or when the candidate succeeds the one who has it. With errHeld it returns where the lease of the other is stored.
func (c *Candidate) take(ctx context.Context) (taken, error) {
	ctx, cancel := c.conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	// Opened anew: the broker may have been restarted, and have forgotten the bucket.
	bucket, err := volatile(ctx, c.conn, leasesBucket)
	if err != nil {
		return taken{}, err
	}
	key, value := leaseKey(c.partition), []byte(c.nodeID)
	revision, err := bucket.Create(ctx, key, value)
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return taken{bucket, revision}, err
	}
	entry, err := bucket.Get(ctx, key)
	if err != nil {
		return taken{}, err
	}
	holder := string(entry.Value())
	if inherits := c.succeeds && follows(c.nodeID, holder); holder != c.nodeID && !inherits {
		return taken{bucket, entry.Revision()}, errHeld
	}
	revision, err = bucket.Update(ctx, key, value, entry.Revision())
	if err == nil && holder != c.nodeID {
		c.log.Info("took over the lease that an earlier process on this database has left behind", "process", holder)
	}
	return taken{bucket, revision}, err
}

// renew writes the lease again, under the condition that nobody else has meanwhile.
func (c *Candidate) renew(ctx context.Context, held taken) (taken, error) {
	attempt, cancel := c.conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	revision, err := held.bucket.Update(attempt, leaseKey(c.partition), []byte(c.nodeID), held.revision)
	if err == nil {
		return taken{held.bucket, revision}, nil
	}
	again, err := c.take(ctx)
	if errors.Is(err, errHeld) && again.revision < held.revision {
		// One of several servers answers that has not seen the latest yet, or the broker has forgotten all and the other
		// was faster. In the latter case the lease ends when its time is over, and the term with the other's announcement.
		err = errHeldBefore
	}
	return again, err
}

// Lease is the right to lead a partition. It says who should campaign, not who may act: what keeps two leaders from
// both having an effect is the epoch in the log.
type Lease struct {
	candidate *Candidate
	// taken belongs to renew until that has returned.
	taken  taken
	lost   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// renew keeps the lease until the context ends or it is lost.
func (l *Lease) renew(ctx context.Context) {
	defer close(l.lost)
	// The broker counts from when it stored the renewal, this from before it was sent: the lease ends here first.
	held := time.Now()
	wait := renewEvery
	for l.candidate.conn.Pause(ctx, wait) {
		sent := time.Now()
		attempt, cancel := context.WithDeadline(ctx, held.Add(l.candidate.lasts))
		again, err := l.candidate.renew(attempt, l.taken)
		cancel()
		switch {
		case err == nil:
			l.taken, held, wait = again, sent, renewEvery
		case errors.Is(err, errHeld), time.Since(held) > l.candidate.lasts-retryPause:
			return
		default:
			wait = retryPause
		}
	}
}

// Lost is closed when the lease is no longer held.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

const releaseTimeout = time.Second

// Release gives the lease up, so that another node need not wait for it to expire.
func (l *Lease) Release() {
	l.cancel()
	l.done.Wait()
	ctx, cancel := l.candidate.conn.Attached(context.Background(), releaseTimeout)
	defer cancel()
	// It expires by itself when this fails.
	_ = l.taken.bucket.Delete(ctx, leaseKey(l.candidate.partition), jetstream.LastRevision(l.taken.revision))
}

func leaseKey(partition uint32) string {
	return "partition." + strconv.FormatUint(uint64(partition), 10)
}

// ErrNoLeader means that no worker that is alive holds the lease of a partition.
var ErrNoLeader = errors.New("no worker leads the partition")

// Leader returns the worker that holds the lease of the partition, which leads it, or soon will. The error wraps
// ErrNoLeader where there is none.
func Leader(ctx context.Context, conn *broker.Conn, partition uint32) (Node, error) {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	leases, err := volatile(ctx, conn, leasesBucket)
	if err != nil {
		return Node{}, err
	}
	lease, err := leases.Get(ctx, leaseKey(partition))
	if err != nil {
		return Node{}, noLeader(partition, err)
	}
	nodes, err := volatile(ctx, conn, nodesBucket)
	if err != nil {
		return Node{}, err
	}
	entry, err := nodes.Get(ctx, Node{ID: string(lease.Value()), Role: RoleWorker}.key())
	if err != nil {
		return Node{}, noLeader(partition, err)
	}
	var node Node
	if err := json.Unmarshal(entry.Value(), &node); err != nil {
		return Node{}, fmt.Errorf("look at the leader of partition %d: %w", partition, err)
	}
	return node, nil
}

func noLeader(partition uint32, err error) error {
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("%w %d", ErrNoLeader, partition)
	}
	return fmt.Errorf("look at the leader of partition %d: %w", partition, err)
}
