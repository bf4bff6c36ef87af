package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/restate-go/restate/pkg/broker"
)

// Role is what a node does.
type Role string

// The roles.
const (
	RoleWorker  Role = "worker"
	RoleIngress Role = "ingress"
)

// Node is a daemon that is alive.
type Node struct {
	ID   string `json:"id"`
	Role Role   `json:"role"`
	// GRPCAddr is where a worker answers queries.
	GRPCAddr string `json:"grpc_addr,omitempty"`
	// Timeouts are in force in a worker for handlers that ask for no others; nil where it does not tell.
	Timeouts *Timeouts `json:"timeouts,omitempty"`
}

// Timeouts are how long an attempt may go without a message before the handler is asked to suspend, and how long it has for
// that.
type Timeouts struct {
	Inactivity time.Duration `json:"inactivity"`
	Abort      time.Duration `json:"abort"`
}

func (n Node) key() string { return string(n.Role) + "." + n.ID }

// Announce makes the node known until the context ends, and forgets it then.
func Announce(ctx context.Context, conn *broker.Conn, node Node, log *slog.Logger) error {
	encoded, err := json.Marshal(node)
	if err != nil {
		return err
	}
	for first := true; ; {
		wait := renewEvery
		switch err := tryAnnounce(ctx, conn, node.key(), encoded); {
		case err == nil && first:
			first = false
			forget(ctx, conn, node)
		case err != nil && ctx.Err() == nil:
			log.Warn("could not announce this node, trying again", "error", err)
			wait = retryPause
		}
		if !conn.Pause(ctx, wait) {
			break
		}
	}
	farewell, cancel := conn.Attached(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if nodes, err := volatile(farewell, conn, nodesBucket); err == nil {
		_ = nodes.Delete(farewell, node.key()) // it expires by itself when this fails
	}
	return nil
}

// tryAnnounce opens the bucket each time: the broker may have been restarted, and have forgotten it.
func tryAnnounce(ctx context.Context, conn *broker.Conn, key string, node []byte) error {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	nodes, err := volatile(ctx, conn, nodesBucket)
	if err != nil {
		return err
	}
	_, err = nodes.Put(ctx, key, node)
	return err
}

// forget removes those from the list whose place the node has taken, so that nobody asks them any more. They expire by
// themselves when this fails.
func forget(ctx context.Context, conn *broker.Conn, node Node) {
	all, err := Nodes(ctx, conn, node.Role)
	if err != nil {
		return
	}
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	nodes, err := volatile(ctx, conn, nodesBucket)
	if err != nil {
		return
	}
	for _, other := range all {
		if follows(node.ID, other.ID) {
			_ = nodes.Delete(ctx, other.key())
		}
	}
}

// Nodes returns the nodes of the role that are alive.
func Nodes(ctx context.Context, conn *broker.Conn, role Role) ([]Node, error) {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	bucket, err := volatile(ctx, conn, nodesBucket)
	if err != nil {
		return nil, err
	}
	keys, err := bucket.ListKeysFiltered(ctx, string(role)+".*")
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	var nodes []Node
	for key := range keys.Keys() {
		entry, err := bucket.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at the node %s: %w", key, err)
		}
		var node Node
		if err := json.Unmarshal(entry.Value(), &node); err != nil {
			return nil, fmt.Errorf("look at the node %s: %w", key, err)
		}
		nodes = append(nodes, node)
	}
	if ctx.Err() != nil { // the list ends early then
		return nil, fmt.Errorf("list the nodes: %w", context.Cause(ctx))
	}
	return nodes, nil
}
