// Package mem keeps spaces in memory: the twin of package rocks for tests and simulations.
package mem

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/tidwall/btree"

	"github.com/restate-go/restate/pkg/storage/kv"
)

// Store holds spaces in memory.
type Store struct{ spaces []*Space }

// New returns a store with empty spaces for the partitions 0 to n-1.
func New(n uint32) *Store {
	s := &Store{spaces: make([]*Space, n)}
	for i := range s.spaces {
		s.spaces[i] = &Space{}
	}
	return s
}

// Space implements kv.Store.
func (s *Store) Space(partition uint32) (kv.Space, error) {
	if int(partition) >= len(s.spaces) {
		return nil, fmt.Errorf("partition %d of %d", partition, len(s.spaces))
	}
	return s.spaces[partition], nil
}

// Close implements kv.Store.
func (s *Store) Close() error { return nil }

// Space is one ordered key space. The zero value is empty.
type Space struct {
	mu   sync.RWMutex
	rows btree.Map[string, []byte]
}

// Get implements kv.Reader.
func (s *Space) Get(key []byte) ([]byte, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, ok := s.rows.Get(string(key))
	return bytes.Clone(value), ok, nil
}

// Scan implements kv.Reader. It sees the space as it is now.
func (s *Space) Scan(lower, upper []byte) kv.Iterator {
	snapshot := s.snapshot()
	return snapshot.Scan(lower, upper)
}

// Sweep implements kv.Sweeper. There is no cache.
func (s *Space) Sweep(lower, upper []byte) kv.Iterator { return s.Scan(lower, upper) }

// Snapshot implements kv.Space.
func (s *Space) Snapshot() kv.Snapshot { return s.snapshot() }

func (s *Space) snapshot() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &snapshot{rows: s.rows.Copy()}
}

// Write implements kv.Space.
func (s *Space) Write(b *kv.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.Replay(writer{&s.rows})
	return nil
}

// writer changes the rows.
type writer struct{ rows *btree.Map[string, []byte] }

func (w writer) Put(key, value []byte) { w.rows.Set(string(key), append([]byte{}, value...)) }

func (w writer) Delete(key []byte) { w.rows.Delete(string(key)) }

func (w writer) DeleteRange(lower, upper []byte) {
	var keys []string
	w.rows.Ascend(string(lower), func(key string, _ []byte) bool {
		if key >= string(upper) {
			return false
		}
		keys = append(keys, key)
		return true
	})
	for _, key := range keys {
		w.rows.Delete(key)
	}
}

// Flush implements kv.Space.
func (s *Space) Flush() error { return nil }

type snapshot struct{ rows *btree.Map[string, []byte] }

func (s *snapshot) Get(key []byte) ([]byte, bool, error) {
	value, ok := s.rows.Get(string(key))
	return bytes.Clone(value), ok, nil
}

func (s *snapshot) Scan(lower, upper []byte) kv.Iterator {
	return &iterator{iter: s.rows.Iter(), lower: string(lower), upper: string(upper), bounded: upper != nil}
}

// Brief implements kv.Snapshot: deleted rows leave no traces here.
func (s *snapshot) Brief(uint64) kv.Reader { return s }

func (s *snapshot) Sweep(lower, upper []byte) kv.Iterator { return s.Scan(lower, upper) }

func (s *snapshot) Close() {}

type iterator struct {
	iter         btree.MapIter[string, []byte]
	lower, upper string
	bounded      bool
	started      bool
}

func (i *iterator) Next() bool {
	var ok bool
	if i.started {
		ok = i.iter.Next()
	} else {
		i.started = true
		ok = i.iter.Seek(i.lower)
	}
	return ok && (!i.bounded || i.iter.Key() < i.upper)
}

func (i *iterator) Key() []byte   { return []byte(i.iter.Key()) }
func (i *iterator) Value() []byte { return i.iter.Value() }
func (i *iterator) Err() error    { return nil }
func (i *iterator) Close()        {}
