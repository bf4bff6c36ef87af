package rocks

import (
	"fmt"
	"strings"

	"github.com/linxGnu/grocksdb"

	"github.com/restate-go/restate/pkg/storage/kv"
)

// space is one column family.
type space struct {
	store  *Store
	handle *grocksdb.ColumnFamilyHandle
	family uint32
}

// Family is the id that batches for this space name.
func (s *space) Family() uint32 { return s.family }

func (s *space) Get(key []byte) ([]byte, bool, error) { return s.get(s.store.read, key) }

func (s *space) get(options *grocksdb.ReadOptions, key []byte) ([]byte, bool, error) {
	pinned, err := s.store.db.GetPinnedCF(options, s.handle, key)
	if err != nil {
		return nil, false, fmt.Errorf("read from the database: %w", err)
	}
	defer pinned.Destroy()
	if !pinned.Exists() {
		return nil, false, nil
	}
	return append([]byte{}, pinned.Data()...), true, nil
}

func (s *space) Scan(lower, upper []byte) kv.Iterator {
	return s.scan(grocksdb.NewDefaultReadOptions(), lower, upper)
}

func (s *space) Sweep(lower, upper []byte) kv.Iterator { return s.scan(sweeping(), lower, upper) }

// readAhead is how much a sweep reads at a time.
const readAhead = 1 << 20

func sweeping() *grocksdb.ReadOptions {
	options := grocksdb.NewDefaultReadOptions()
	options.SetFillCache(false)
	options.SetReadaheadSize(readAhead)
	return options
}

func (s *space) scan(options *grocksdb.ReadOptions, lower, upper []byte) kv.Iterator {
	if upper != nil {
		options.SetIterateUpperBound(upper)
	}
	return &iterator{options: options, iter: s.store.db.NewIteratorCF(options, s.handle), lower: lower}
}

func (s *space) Snapshot() kv.Snapshot {
	taken := s.store.db.NewSnapshot()
	read := grocksdb.NewDefaultReadOptions()
	read.SetSnapshot(taken)
	return &snapshot{space: s, taken: taken, read: read}
}

func (s *space) Write(b *kv.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	batch := grocksdb.WriteBatchFrom(b.Encoded())
	defer batch.Destroy()
	if err := s.store.db.Write(s.store.write, batch); err != nil {
		return fmt.Errorf("write to the database: %w", err)
	}
	return nil
}

func (s *space) Flush() error {
	if err := s.store.db.FlushCF(s.handle, s.store.flush); err != nil {
		return fmt.Errorf("flush the database: %w", err)
	}
	return nil
}

type snapshot struct {
	space *space
	taken *grocksdb.Snapshot
	read  *grocksdb.ReadOptions
}

func (s *snapshot) Get(key []byte) ([]byte, bool, error) { return s.space.get(s.read, key) }

func (s *snapshot) Scan(lower, upper []byte) kv.Iterator { return s.scan(lower, upper, 0) }

func (s *snapshot) scan(lower, upper []byte, deleted uint64) kv.Iterator {
	options := grocksdb.NewDefaultReadOptions()
	options.SetSnapshot(s.taken)
	options.SetMaxSkippableInternalKeys(deleted)
	return s.space.scan(options, lower, upper)
}

func (s *snapshot) Sweep(lower, upper []byte) kv.Iterator {
	options := sweeping()
	options.SetSnapshot(s.taken)
	return s.space.scan(options, lower, upper)
}

func (s *snapshot) Brief(deleted uint64) kv.Reader { return &brief{snapshot: s, deleted: deleted} }

// brief reads a snapshot, and steps over so many deleted rows at a time.
type brief struct {
	*snapshot
	deleted uint64
}

func (b *brief) Scan(lower, upper []byte) kv.Iterator { return b.scan(lower, upper, b.deleted) }

func (s *snapshot) Close() {
	s.read.Destroy()
	s.space.store.db.ReleaseSnapshot(s.taken)
}

// iterator owns the read options: they hold the upper bound, which has to outlive the iteration.
type iterator struct {
	options *grocksdb.ReadOptions
	iter    *grocksdb.Iterator
	lower   []byte
	started bool
}

func (i *iterator) Next() bool {
	if i.started {
		i.iter.Next()
	} else {
		i.started = true
		i.iter.Seek(i.lower)
	}
	return i.iter.Valid()
}

// incomplete is how RocksDB begins to say that it has not stepped over more.
const incomplete = "Result incomplete"

// The iterator owns the memory of these slices: they are not to be freed.
func (i *iterator) Key() []byte   { return i.iter.Key().Data() }
func (i *iterator) Value() []byte { return i.iter.Value().Data() }

func (i *iterator) Err() error {
	err := i.iter.Err()
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(err.Error(), incomplete):
		return fmt.Errorf("scan the database: %w", kv.ErrSparse)
	default:
		return fmt.Errorf("scan the database: %w", err)
	}
}

func (i *iterator) Close() {
	i.iter.Close()
	i.options.Destroy()
}
