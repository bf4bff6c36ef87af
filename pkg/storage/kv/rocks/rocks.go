// Package rocks keeps spaces in RocksDB, a column family for each partition. It is the only importer of grocksdb.
package rocks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/linxGnu/grocksdb"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// ErrLocked means that another process has the database open for writing.
var ErrLocked = errors.New("the database is in use by another process")

// Options of the database.
type Options struct {
	// BlockCacheBytes is shared by all partitions. Default 64 MiB.
	BlockCacheBytes config.Size `yaml:"block_cache_bytes" split_words:"true"`
	// WriteBufferBytes bounds the memtables of all partitions together. Default 16 MiB: rows that come and go are cheaper in
	// small memtables, and state that stays costs the same.
	WriteBufferBytes config.Size `yaml:"write_buffer_bytes" split_words:"true"`
	// MaxWALBytes is how much write-ahead log is kept before memtables are flushed. Default 128 MiB.
	MaxWALBytes config.Size `yaml:"max_wal_bytes" split_words:"true"`
	// BackgroundJobs is how many flushes and compactions run at a time. Default 2.
	BackgroundJobs int `yaml:"background_jobs" split_words:"true"`
}

// DefaultOptions are for a small machine.
func DefaultOptions() Options {
	return Options{BlockCacheBytes: 64 << 20, WriteBufferBytes: 16 << 20, MaxWALBytes: 128 << 20, BackgroundJobs: 2}
}

// Store is an open database. It owns all C objects and frees them in Close.
type Store struct {
	db      *grocksdb.DB
	options *grocksdb.Options
	tables  *grocksdb.BlockBasedTableOptions
	cache   *grocksdb.Cache
	read    *grocksdb.ReadOptions
	write   *grocksdb.WriteOptions
	flush   *grocksdb.FlushOptions
	handles grocksdb.ColumnFamilyHandles
	spaces  []*space
}

// filterBits is what a filter spends on a key, which tells most keys that a table does not have without reading it: the id of
// each new invocation is looked up, and found nowhere.
const filterBits = 10

// divide fits what each partition's memtable takes at the least to how many of them share the write buffer: if that filled
// it, every write would be followed by a flush.
func (s *Store) divide(writeBuffer uint64, partitions uint32) {
	const share, least, most = 16, 4 << 10, 1 << 20
	part := min(max(writeBuffer/share/uint64(max(partitions, 1)), least), most)
	s.options.SetArenaBlockSize(part)
	// A filter for keys that are not in the memtable, as in tables.
	s.options.SetMemtableWholeKeyFiltering(true)
	s.options.SetMemTablePrefixBloomSizeRatio(float64(part) / float64(s.options.GetWriteBufferSize()))
}

const defaultFamily = "default"

func familyName(partition uint32) string { return fmt.Sprintf("p%05d", partition) }

func families(partitions uint32) []string {
	names := []string{defaultFamily}
	for i := range partitions {
		names = append(names, familyName(i))
	}
	return names
}

// Open opens the database in the directory for reading and writing, and creates it when there is none.
func Open(dir string, partitions uint32, o Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the directory of the database: %w", err)
	}
	s := newStore(o)
	s.options.SetCreateIfMissing(true)
	s.options.SetCreateIfMissingColumnFamilies(true)
	s.divide(o.WriteBufferBytes.Uint64(), partitions)
	names := families(partitions)
	options := make([]*grocksdb.Options, len(names))
	for i := range options {
		options[i] = s.options
	}
	db, handles, err := grocksdb.OpenDbColumnFamilies(s.options, dir, names, options)
	if err != nil {
		s.free()
		if strings.Contains(err.Error(), "LOCK") || strings.Contains(err.Error(), "lock ") {
			return nil, errcode.Wrap(errcode.DatabaseLocked, fmt.Errorf("open %s: %w: %w", dir, ErrLocked, err))
		}
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	s.attach(db, handles)
	return s, nil
}

func newStore(o Options) *Store {
	s := &Store{
		options: grocksdb.NewDefaultOptions(),
		tables:  grocksdb.NewDefaultBlockBasedTableOptions(),
		cache:   grocksdb.NewLRUCache(o.BlockCacheBytes.Uint64()),
		read:    grocksdb.NewDefaultReadOptions(),
		write:   grocksdb.NewDefaultWriteOptions(),
		flush:   grocksdb.NewDefaultFlushOptions(),
	}
	s.tables.SetBlockCache(s.cache)
	s.tables.SetFilterPolicy(grocksdb.NewBloomFilterFull(filterBits))
	s.options.SetBlockBasedTableFactory(s.tables)
	s.options.SetCompression(grocksdb.LZ4Compression)
	s.options.SetDbWriteBufferSize(o.WriteBufferBytes.Uint64())
	s.options.SetMaxTotalWalSize(o.MaxWALBytes.Uint64())
	s.options.SetMaxBackgroundJobs(max(o.BackgroundJobs, 1))
	s.options.SetKeepLogFileNum(4)
	s.options.SetStatsDumpPeriodSec(0)
	s.options.SetStatsPersistPeriodSec(0)
	s.flush.SetWait(true)
	return s
}

func (s *Store) attach(db *grocksdb.DB, handles grocksdb.ColumnFamilyHandles) {
	s.db, s.handles = db, handles
	for _, handle := range handles[1:] {
		s.spaces = append(s.spaces, &space{store: s, handle: handle, family: handle.ID()})
	}
}

// ID returns what tells this database from others. It stays the same for as long as there is the database; copies of its
// directory have it too.
func (s *Store) ID() (string, error) {
	id, err := os.ReadFile(filepath.Join(s.db.Name(), "IDENTITY"))
	if err != nil {
		return "", fmt.Errorf("read the identity of the database: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// Space implements kv.Store.
func (s *Store) Space(partition uint32) (kv.Space, error) {
	if int(partition) >= len(s.spaces) {
		return nil, fmt.Errorf("the database has no partition %d", partition)
	}
	return s.spaces[partition], nil
}

// Close closes the database. No space, snapshot or iterator may be in use.
func (s *Store) Close() error {
	for _, handle := range s.handles {
		handle.Destroy()
	}
	if s.db != nil {
		s.db.Close()
	}
	s.free()
	return nil
}

func (s *Store) free() {
	s.flush.Destroy()
	s.write.Destroy()
	s.read.Destroy()
	s.options.Destroy()
	s.cache.Destroy()
}
