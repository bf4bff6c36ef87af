package kv

import "encoding/binary"

// Record types of RocksDB's write batch format, for a column family that is named by its id.
const (
	rocksPut         = 0x05
	rocksDelete      = 0x04
	rocksDeleteRange = 0x0e
)

// A write batch begins with a sequence number (8 bytes, set when it is written) and a count of records (4 bytes).
const batchHeader = 12

// Batch collects changes to one space. It is encoded as a RocksDB write batch while it is filled, so that committing
// it is a single call into the C library. The zero value is a batch for column family 0.
type Batch struct {
	family uint32
	data   []byte
	count  uint32
}

// NewBatch returns a batch for the column family with the id.
func NewBatch(family uint32) *Batch { return &Batch{family: family} }

// Put sets the value of the key. Both are copied.
func (b *Batch) Put(key, value []byte) {
	b.begin(rocksPut)
	b.appendBytes(key)
	b.appendBytes(value)
}

// Delete drops the key, which is copied.
func (b *Batch) Delete(key []byte) {
	b.begin(rocksDelete)
	b.appendBytes(key)
}

// DeleteRange drops the keys in [lower, upper), which are copied.
func (b *Batch) DeleteRange(lower, upper []byte) {
	b.begin(rocksDeleteRange)
	b.appendBytes(lower)
	b.appendBytes(upper)
}

func (b *Batch) begin(kind byte) {
	if len(b.data) == 0 {
		b.data = append(b.data, make([]byte, batchHeader)...)
	}
	b.count++
	b.data = append(b.data, kind)
	b.data = binary.AppendUvarint(b.data, uint64(b.family))
}

func (b *Batch) appendBytes(s []byte) {
	b.data = binary.AppendUvarint(b.data, uint64(len(s)))
	b.data = append(b.data, s...)
}

// Len is the number of changes.
func (b *Batch) Len() int { return int(b.count) }

// Encoded returns the batch in RocksDB's format; it is valid until the next change. An empty batch has none.
func (b *Batch) Encoded() []byte {
	if len(b.data) == 0 {
		return nil
	}
	binary.LittleEndian.PutUint32(b.data[batchHeader-4:], b.count)
	return b.data
}

// Writer takes changes; a Batch is one.
type Writer interface {
	Put(key, value []byte)
	Delete(key []byte)
	DeleteRange(lower, upper []byte)
}

// Replay makes all changes of the batch to another writer, in order.
func (b *Batch) Replay(w Writer) {
	rest := b.data[min(batchHeader, len(b.data)):]
	for len(rest) > 0 {
		kind := rest[0]
		_, n := binary.Uvarint(rest[1:])
		rest = rest[1+n:]
		var key, value []byte
		key, rest = cut(rest)
		switch kind {
		case rocksPut:
			value, rest = cut(rest)
			w.Put(key, value)
		case rocksDeleteRange:
			value, rest = cut(rest)
			w.DeleteRange(key, value)
		case rocksDelete:
			w.Delete(key)
		}
	}
}

func cut(src []byte) (content, rest []byte) {
	length, n := binary.Uvarint(src)
	end := n + int(length) //nolint:gosec // the batch was encoded here
	return src[n:end:end], src[end:]
}

// maxKept is how much memory a batch keeps for its next use.
const maxKept = 1 << 20

// Reset empties the batch.
func (b *Batch) Reset() {
	b.count = 0
	if cap(b.data) > maxKept {
		b.data = nil
	}
	b.data = b.data[:0]
}
