// Package membership keeps what daemons know of each other in the broker: the layout of the key space, the nodes that
// are alive, and the leases of partitions.
package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/keyspace"
)

const (
	// RegistryBucket holds what has to last: the layout and the schema.
	RegistryBucket = "restate_registry"
	nodesBucket    = "restate_nodes"
	leasesBucket   = "restate_leases"

	layoutKey = "layout"

	// ttl is how long a node or a lease lasts that is not renewed, renewEvery how often it is.
	ttl        = 10 * time.Second
	renewEvery = 3 * time.Second
	retryPause = 500 * time.Millisecond
)

// Registry opens the bucket of what has to last. It tries until the context ends.
func Registry(ctx context.Context, conn *broker.Conn) (jetstream.KeyValue, error) {
	return open(ctx, conn, jetstream.KeyValueConfig{
		Bucket: RegistryBucket, Description: "Layout and schema", Storage: jetstream.FileStorage, History: 1,
	})
}

// volatile opens a bucket whose entries vanish when they are not renewed. It is kept in memory: after a restart of the
// broker everybody writes anew what is still true.
func volatile(ctx context.Context, conn *broker.Conn, bucket string) (jetstream.KeyValue, error) {
	return open(ctx, conn, jetstream.KeyValueConfig{
		Bucket: bucket, Storage: jetstream.MemoryStorage, History: 1, TTL: ttl,
	})
}

func open(ctx context.Context, conn *broker.Conn, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	cfg.Replicas = conn.Replicas
	for {
		bucket, err := tryOpen(ctx, conn, cfg)
		if err == nil {
			return bucket, nil
		}
		if !conn.Pause(ctx, retryPause) {
			return nil, fmt.Errorf("open the bucket %s: %w", cfg.Bucket, err)
		}
	}
}

func tryOpen(ctx context.Context, conn *broker.Conn, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	bucket, err := conn.JS.KeyValue(ctx, cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return conn.JS.CreateKeyValue(ctx, cfg)
	}
	return bucket, err
}

// EnsureLayout returns the layout of the cluster. The first to ask fixes it to the wanted number of partitions.
func EnsureLayout(ctx context.Context, conn *broker.Conn, wanted uint32) (keyspace.Layout, error) {
	encoded, err := json.Marshal(keyspace.Layout{Partitions: wanted})
	if err != nil {
		return keyspace.Layout{}, err
	}
	registry, err := Registry(ctx, conn)
	if err != nil {
		return keyspace.Layout{}, err
	}
	for {
		err := tryCreate(ctx, conn, registry, layoutKey, encoded)
		if err == nil || errors.Is(err, jetstream.ErrKeyExists) {
			return Layout(ctx, conn)
		}
		if !conn.Pause(ctx, retryPause) {
			return keyspace.Layout{}, fmt.Errorf("write the layout: %w", err)
		}
	}
}

func tryCreate(ctx context.Context, conn *broker.Conn, bucket jetstream.KeyValue, key string, value []byte) error {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	_, err := bucket.Create(ctx, key, value)
	return err
}

// Layout waits until a worker has fixed the layout of the cluster, and returns it.
func Layout(ctx context.Context, conn *broker.Conn) (keyspace.Layout, error) {
	registry, err := Registry(ctx, conn)
	if err != nil {
		return keyspace.Layout{}, err
	}
	for {
		encoded, err := tryGet(ctx, conn, registry, layoutKey)
		if err == nil {
			return parseLayout(encoded)
		}
		if !conn.Pause(ctx, retryPause) {
			return keyspace.Layout{}, fmt.Errorf("read the layout: %w", err)
		}
	}
}

func tryGet(ctx context.Context, conn *broker.Conn, bucket jetstream.KeyValue, key string) ([]byte, error) {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	entry, err := bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return entry.Value(), nil
}

func parseLayout(encoded []byte) (keyspace.Layout, error) {
	var layout keyspace.Layout
	if err := json.Unmarshal(encoded, &layout); err != nil {
		return keyspace.Layout{}, fmt.Errorf("read the layout: %w", err)
	}
	if layout.Partitions < 1 || layout.Partitions > keyspace.MaxPartitions {
		return keyspace.Layout{}, fmt.Errorf("the layout has %d partitions, which is not 1 to %d",
			layout.Partitions, keyspace.MaxPartitions)
	}
	return layout, nil
}
