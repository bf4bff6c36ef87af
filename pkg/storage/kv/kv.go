// Package kv is the ordered key/value interface that the tables of a partition are stored behind.
package kv

import "errors"

// Reader reads one key space.
type Reader interface {
	// Get returns the value of the key; it belongs to the caller. ok is false when there is none.
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan iterates over the keys in [lower, upper) in order; a nil upper means to the end. The caller closes it.
	Scan(lower, upper []byte) Iterator
}

// Sweeper reads much of a key space at a time.
type Sweeper interface {
	// Sweep is Scan for a range that is read as a whole, and not soon again: it reads ahead, and takes no room in the cache
	// from what is.
	Sweep(lower, upper []byte) Iterator
}

// Iterator walks over a range. It starts before the first key.
type Iterator interface {
	// Next moves on; false at the end or after an error.
	Next() bool
	// Key and Value are valid until Next or Close.
	Key() []byte
	Value() []byte
	// Err returns what ended the iteration early.
	Err() error
	Close()
}

// Space is the key space of one partition. Readers and one writer may use it at the same time.
type Space interface {
	Reader
	Sweeper
	// Snapshot fixes what is committed now. The caller closes it.
	Snapshot() Snapshot
	// Write commits all of the batch or nothing. It survives a crash of the process; what a power cut takes is
	// taken from the end, batch by batch, unless Flush came after.
	Write(b *Batch) error
	// Flush makes everything written before durable.
	Flush() error
}

// Snapshot is a state of a space that stays as it is.
type Snapshot interface {
	Reader
	// Brief returns a reader of the snapshot whose scans end with ErrSparse where the store keeps traces of more than so
	// many deleted rows, one after the other. Without a bound, to find the next row may take as long as there are traces.
	Brief(deleted uint64) Reader
	Sweeper
	Close()
}

// ErrSparse ends a scan that is not to step over more deleted rows.
var ErrSparse = errors.New("too many deleted rows before the next one")

// Store holds the spaces of all partitions.
type Store interface {
	Space(partition uint32) (Space, error)
	Close() error
}
