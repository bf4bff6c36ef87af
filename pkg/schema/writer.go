package schema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/membership"
)

// Writer changes the registry. Several may: a change that meets another is made again on top of it.
type Writer struct {
	conn *broker.Conn
	// limits are those that Limit was given last. Every change has them: a writer of a release that does not know them,
	// as there is one during an upgrade, writes the document without.
	limits atomic.Pointer[Limits]
}

// NewWriter returns a writer.
func NewWriter(conn *broker.Conn) *Writer { return &Writer{conn: conn} }

// Latest returns what is registered, which a registry may not have seen yet. The error is an *errcode.Error.
func (w *Writer) Latest(ctx context.Context) (*Snapshot, error) {
	ctx, cancel := w.conn.Attach(ctx)
	defer cancel()
	bucket, err := membership.Registry(ctx, w.conn)
	if err != nil {
		return nil, errcode.Wrap(errcode.RegistryUnusable, broker.Explain(ctx, err))
	}
	snapshot, err := latest(ctx, bucket)
	if err != nil {
		return nil, errcode.Wrap(errcode.RegistryUnusable, broker.Explain(ctx, err))
	}
	return snapshot, nil
}

// maxAttempts bounds how often a change is made again because another came first.
const maxAttempts = 100

// change applies a change to the stored document, if it is still the one that the change was computed from. added are
// the descriptors, by hash, that the changed document refers to.
func (w *Writer) change(
	ctx context.Context, added map[string][]byte, apply func(before *Snapshot, d *document) error,
) (*Snapshot, error) {
	ctx, cancel := w.conn.Attach(ctx)
	defer cancel()
	bucket, err := membership.Registry(ctx, w.conn)
	if err != nil {
		return nil, errcode.Wrap(errcode.RegistryUnusable, broker.Explain(ctx, err))
	}
	for range maxAttempts {
		before, d, err := w.begin(ctx, bucket)
		if err != nil {
			return nil, err
		}
		if err := apply(before, d); err != nil {
			return nil, err
		}
		after, err := replace(ctx, bucket, before, d, added)
		if errors.Is(err, jetstream.ErrKeyExists) {
			continue
		}
		if err != nil {
			return nil, errcode.Wrap(errcode.RegistryUnusable, fmt.Errorf("write the registry: %w", broker.Explain(ctx, err)))
		}
		return after, nil
	}
	return nil, errcode.New(errcode.RegistryUnusable, "the registry is changed by others too often")
}

// preview returns the snapshot that a change would give.
func (w *Writer) preview(
	ctx context.Context, added map[string][]byte, apply func(before *Snapshot, d *document) error,
) (*Snapshot, error) {
	ctx, cancel := w.conn.Attach(ctx)
	defer cancel()
	bucket, err := membership.Registry(ctx, w.conn)
	if err != nil {
		return nil, errcode.Wrap(errcode.RegistryUnusable, broker.Explain(ctx, err))
	}
	before, d, err := w.begin(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if err := apply(before, d); err != nil {
		return nil, err
	}
	return newSnapshot(before.Revision(), *d, before, stored(added))
}

// begin returns what is stored, and a copy of its document to be changed, which has the writer's limits. The error is an
// *errcode.Error.
func (w *Writer) begin(ctx context.Context, bucket jetstream.KeyValue) (*Snapshot, *document, error) {
	before, err := latest(ctx, bucket)
	if err != nil {
		return nil, nil, errcode.Wrap(errcode.RegistryUnusable, broker.Explain(ctx, err))
	}
	d, err := before.document.clone()
	if err != nil {
		return nil, nil, errcode.Wrap(errcode.RegistryUnusable, broker.Explain(ctx, err))
	}
	if limits := w.limits.Load(); limits != nil {
		d.Limits = *limits
	}
	return before, d, nil
}

func latest(ctx context.Context, bucket jetstream.KeyValue) (*Snapshot, error) {
	for {
		entry, err := bucket.Get(ctx, documentKey)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return emptySnapshot(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the registry: %w", err)
		}
		snapshot, err := read(ctx, bucket, entry, emptySnapshot())
		if !errors.Is(err, errOutdated) {
			return snapshot, err
		}
	}
}

// replace writes the document in place of the one before, and removes descriptors that nothing refers to any more.
// The error is jetstream.ErrKeyExists when another change came first.
//
// Another registration may need descriptors that this change drops. It stores them, again if they are there, between
// reading the document and replacing it; that gives them a revision that the removal here does not know, so that they
// stay. If it stored them before the revisions are read here, then its document is outdated and it starts anew.
func replace(ctx context.Context, bucket jetstream.KeyValue, before *Snapshot, d *document, added map[string][]byte) (*Snapshot, error) {
	dropped, err := unreferenced(ctx, bucket, before, d)
	if err != nil {
		return nil, err
	}
	for hash, content := range added {
		if _, err := bucket.Put(ctx, descriptorsPrefix+hash, content); err != nil {
			return nil, fmt.Errorf("store the descriptors: %w", err)
		}
	}
	revision, err := store(ctx, bucket, d, before.Revision())
	if err != nil {
		return nil, err
	}
	for key, at := range dropped {
		// What cannot be removed takes some space, which is no reason to fail: the change is made.
		_ = bucket.Purge(ctx, key, jetstream.LastRevision(at))
	}
	return newSnapshot(revision, *d, before, stored(added))
}

// stored returns the content that was just added; a snapshot that is built on the one before needs no other.
func stored(added map[string][]byte) func(hash string) ([]byte, error) {
	return func(hash string) ([]byte, error) {
		content, ok := added[hash]
		if !ok {
			return nil, fmt.Errorf("the descriptors %s are unknown", hash)
		}
		return content, nil
	}
}

// unreferenced returns the keys, with their revisions, of descriptors that the document before needed and d does not.
func unreferenced(ctx context.Context, bucket jetstream.KeyValue, before *Snapshot, d *document) (map[string]uint64, error) {
	keys := map[string]uint64{}
	for _, endpoint := range before.document.Endpoints {
		needed := slices.ContainsFunc(d.Endpoints, func(e *Endpoint) bool { return e.DescriptorsHash == endpoint.DescriptorsHash })
		if needed {
			continue
		}
		entry, err := bucket.Get(ctx, descriptorsPrefix+endpoint.DescriptorsHash)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at stored descriptors: %w", err)
		}
		keys[entry.Key()] = entry.Revision()
	}
	return keys, nil
}

// clone copies the document deeply.
func (d *document) clone() (*document, error) {
	encoded, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	c := &document{}
	if err := json.Unmarshal(encoded, c); err != nil {
		return nil, err
	}
	if c.Services == nil {
		c.Services = map[string]serviceDocument{}
	}
	return c, nil
}

func store(ctx context.Context, bucket jetstream.KeyValue, d *document, revision uint64) (uint64, error) {
	encoded, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		return bucket.Create(ctx, documentKey, encoded)
	}
	return bucket.Update(ctx, documentKey, encoded, revision)
}
