package statemachine

import (
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// cacheSize bounds how many decoded invocation records are kept between batches.
const cacheSize = 4096

// cache is a write-through cache of invocation records: several records of the log usually concern one invocation
// within a short time, and decoding it from the store each time is most of the cost of applying them.
type cache struct {
	rows map[ids.InvocationID]*storagev1.Invocation // nil = known to be absent
	// dirty holds what the current batch has changed.
	dirty map[ids.InvocationID]struct{}
}

func newCache() cache {
	return cache{rows: map[ids.InvocationID]*storagev1.Invocation{}, dirty: map[ids.InvocationID]struct{}{}}
}

// get returns the record, nil when there is none. Who changes it calls put.
func (c *cache) get(r kv.Reader, id ids.InvocationID) (*storagev1.Invocation, error) {
	if invocation, ok := c.rows[id]; ok {
		return invocation, nil
	}
	invocation, err := storage.GetInvocation(r, id)
	if err != nil {
		return nil, err
	}
	if keep(invocation) {
		c.rows[id] = invocation
	}
	return invocation, nil
}

// keep says whether the record is worth its memory between batches. One of a completed invocation is seldom asked for,
// and holds a result of any size.
func keep(invocation *storagev1.Invocation) bool {
	return invocation.GetState() != storagev1.Invocation_STATE_COMPLETED
}

// put notes that the record was changed; nil deletes it.
func (c *cache) put(id ids.InvocationID, invocation *storagev1.Invocation) {
	c.rows[id] = invocation
	c.dirty[id] = struct{}{}
}

// flush writes what was changed.
func (c *cache) flush(w storage.Writer) error {
	for id := range c.dirty {
		invocation := c.rows[id]
		if invocation == nil {
			w.Delete(storage.InvocationKey(id))
			delete(c.rows, id)
			continue
		}
		if err := storage.PutInvocation(w, id, invocation); err != nil {
			return err
		}
		if !keep(invocation) {
			delete(c.rows, id)
		}
	}
	clear(c.dirty)
	for id := range c.rows {
		if len(c.rows) <= cacheSize {
			break
		}
		delete(c.rows, id)
	}
	return nil
}
