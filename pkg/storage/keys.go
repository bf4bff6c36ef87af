// Package storage holds the tables of a partition: their keys, their values and typed access to both.
//
// All tables of a partition share one ordered key space. A key begins with one byte for its table; what follows is
// ordered for range scans: integers big endian, strings and bytes as their length (unsigned varint) and content.
package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
)

// Table is the first byte of a key. The list is append only; a value that was used once is never used again.
type Table byte

// The tables of a partition, with what follows the table byte.
const (
	TableInvocation    Table = 0x01 // invocation id
	TableJournal       Table = 0x02 // invocation id, journal index u32
	TableCompletion    Table = 0x03 // invocation id, completion id u32
	TableInbox         Table = 0x04 // instance, sequence u64
	TableLock          Table = 0x05 // instance
	TableState         Table = 0x06 // instance, state key (raw, to the end)
	TableTimer         Table = 0x07 // time u64 (ms), invocation id, kind byte, completion id u32
	TableOutbox        Table = 0x08 // sequence u64
	TableDeduplication Table = 0x09 // producer (raw, to the end)
	TableMeta          Table = 0x0a // nothing: one row
	TableSignal        Table = 0x0b // invocation id, index u32, name (raw, to the end; empty unless the index is 0)
	TablePromise       Table = 0x0c // instance, promise key (raw, to the end)
)

// ErrCorrupt is wrapped by every error of decoding a stored key or value.
var ErrCorrupt = errors.New("corrupt row")

// Instance names a service instance: what state, locks and inboxes belong to.
type Instance struct {
	// PartitionKey keeps the rows of one key together, whatever the service.
	PartitionKey uint64
	Service      string
	// Key is the service key; for an unkeyed service, the UUID of the invocation.
	Key []byte
}

// InstanceOf returns the service instance that an invocation of the target with this id works on. Each invocation of
// an unkeyed service has an instance of its own.
func InstanceOf(id ids.InvocationID, target *journalv1.Target) Instance {
	instance := Instance{PartitionKey: id.PartitionKey(), Service: target.GetService(), Key: target.GetKey()}
	if target.GetKind() == journalv1.ServiceKind_SERVICE_KIND_UNKEYED {
		u := id.UUID()
		instance.Key = u[:]
	}
	return instance
}

const instanceOverhead = 1 + 8 + 2*binary.MaxVarintLen64

func (i Instance) appendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, i.PartitionKey)
	dst = appendBytes(dst, i.Service)
	return appendBytes(dst, i.Key)
}

func (i Instance) tableKey(table Table, extra int) []byte {
	dst := make([]byte, 0, instanceOverhead+len(i.Service)+len(i.Key)+extra)
	return i.appendTo(append(dst, byte(table)))
}

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func cutBytes(src []byte) (content, rest []byte, ok bool) {
	length, n := binary.Uvarint(src)
	if n <= 0 || length > uint64(len(src)-n) { //nolint:gosec // n <= len(src)
		return nil, nil, false
	}
	return src[n : n+int(length)], src[n+int(length):], true //nolint:gosec // length <= len(src)
}

func cutInstance(src []byte) (instance Instance, rest []byte, ok bool) {
	if len(src) < 8 {
		return Instance{}, nil, false
	}
	instance.PartitionKey = binary.BigEndian.Uint64(src)
	service, rest, ok := cutBytes(src[8:])
	if !ok {
		return Instance{}, nil, false
	}
	instance.Service = string(service)
	instance.Key, rest, ok = cutBytes(rest)
	return instance, rest, ok
}

func corruptKey(table string, key []byte) error {
	return fmt.Errorf("%w: %x is not a key of the %s table", ErrCorrupt, key, table)
}

// PrefixEnd returns the first key after all keys that begin with the prefix; nil if there is none.
func PrefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// TableRange returns the bounds [lower, upper) of all keys of a table.
func TableRange(table Table) (lower, upper []byte) {
	return []byte{byte(table)}, []byte{byte(table) + 1}
}

// InvocationKey is the key of an invocation's record.
func InvocationKey(id ids.InvocationID) []byte {
	return append(append(make([]byte, 0, 1+len(id)), byte(TableInvocation)), id[:]...)
}

// ParseInvocationKey is the inverse of InvocationKey.
func ParseInvocationKey(key []byte) (ids.InvocationID, error) {
	if len(key) != 1+ids.InvocationIDSize || Table(key[0]) != TableInvocation {
		return ids.InvocationID{}, corruptKey("invocation", key)
	}
	return ids.InvocationID(key[1:]), nil
}

func indexedKey(table Table, id ids.InvocationID, index uint32) []byte {
	dst := append(append(make([]byte, 0, 1+len(id)+4), byte(table)), id[:]...)
	return binary.BigEndian.AppendUint32(dst, index)
}

// JournalKey is the key of one journal entry.
func JournalKey(id ids.InvocationID, index uint32) []byte { return indexedKey(TableJournal, id, index) }

// JournalRange returns the bounds of the entries [from, to) of a journal.
func JournalRange(id ids.InvocationID, from, to uint32) (lower, upper []byte) {
	return JournalKey(id, from), JournalKey(id, to)
}

// ParseJournalKey is the inverse of JournalKey.
func ParseJournalKey(key []byte) (ids.InvocationID, uint32, error) {
	return parseIndexedKey(TableJournal, "journal", key)
}

// CompletionKey is the key of what is known of a completion id.
func CompletionKey(id ids.InvocationID, completionID uint32) []byte {
	return indexedKey(TableCompletion, id, completionID)
}

// ParseCompletionKey is the inverse of CompletionKey.
func ParseCompletionKey(key []byte) (ids.InvocationID, uint32, error) {
	return parseIndexedKey(TableCompletion, "completion", key)
}

// SignalKey is the key of what has arrived of a signal, which has an index or, where that is 0, a name.
func SignalKey(id ids.InvocationID, index uint32, name string) []byte {
	return append(indexedKey(TableSignal, id, index), name...)
}

// ParseSignalKey is the inverse of SignalKey.
func ParseSignalKey(key []byte) (id ids.InvocationID, index uint32, name string, err error) {
	end := 1 + ids.InvocationIDSize + 4
	if len(key) < end || Table(key[0]) != TableSignal {
		return ids.InvocationID{}, 0, "", corruptKey("signal", key)
	}
	id, index, err = parseIndexedKey(TableSignal, "signal", key[:end])
	return id, index, string(key[end:]), err
}

func parseIndexedKey(table Table, name string, key []byte) (ids.InvocationID, uint32, error) {
	if len(key) != 1+ids.InvocationIDSize+4 || Table(key[0]) != table {
		return ids.InvocationID{}, 0, corruptKey(name, key)
	}
	end := 1 + ids.InvocationIDSize
	return ids.InvocationID(key[1:end]), binary.BigEndian.Uint32(key[end:]), nil
}

// InboxKey is the key of one waiting invocation.
func InboxKey(instance Instance, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(instance.tableKey(TableInbox, 8), sequence)
}

// InboxRange returns the bounds of an instance's inbox.
func InboxRange(instance Instance) (lower, upper []byte) {
	lower = instance.tableKey(TableInbox, 0)
	return lower, PrefixEnd(lower)
}

// ParseInboxKey is the inverse of InboxKey.
func ParseInboxKey(key []byte) (Instance, uint64, error) {
	if len(key) < 1 || Table(key[0]) != TableInbox {
		return Instance{}, 0, corruptKey("inbox", key)
	}
	instance, rest, ok := cutInstance(key[1:])
	if !ok || len(rest) != 8 {
		return Instance{}, 0, corruptKey("inbox", key)
	}
	return instance, binary.BigEndian.Uint64(rest), nil
}

// LockKey is the key of an instance's lock.
func LockKey(instance Instance) []byte { return instance.tableKey(TableLock, 0) }

// ParseLockKey is the inverse of LockKey.
func ParseLockKey(key []byte) (Instance, error) {
	if len(key) < 1 || Table(key[0]) != TableLock {
		return Instance{}, corruptKey("lock", key)
	}
	instance, rest, ok := cutInstance(key[1:])
	if !ok || len(rest) != 0 {
		return Instance{}, corruptKey("lock", key)
	}
	return instance, nil
}

// StateKey is the key of one state value.
func StateKey(instance Instance, key []byte) []byte {
	return append(instance.tableKey(TableState, len(key)), key...)
}

// StateRange returns the bounds of an instance's state.
func StateRange(instance Instance) (lower, upper []byte) {
	lower = instance.tableKey(TableState, 0)
	return lower, PrefixEnd(lower)
}

// ParseStateKey is the inverse of StateKey. The state key shares memory with the argument.
func ParseStateKey(key []byte) (Instance, []byte, error) {
	if len(key) < 1 || Table(key[0]) != TableState {
		return Instance{}, nil, corruptKey("state", key)
	}
	instance, rest, ok := cutInstance(key[1:])
	if !ok {
		return Instance{}, nil, corruptKey("state", key)
	}
	return instance, rest, nil
}

// PromiseKey is the key of a promise.
func PromiseKey(instance Instance, key string) []byte {
	return append(instance.tableKey(TablePromise, len(key)), key...)
}

// PromiseRange returns the bounds of an instance's promises.
func PromiseRange(instance Instance) (lower, upper []byte) {
	lower = instance.tableKey(TablePromise, 0)
	return lower, PrefixEnd(lower)
}

// ParsePromiseKey is the inverse of PromiseKey.
func ParsePromiseKey(key []byte) (Instance, string, error) {
	if len(key) < 1 || Table(key[0]) != TablePromise {
		return Instance{}, "", corruptKey("promise", key)
	}
	instance, rest, ok := cutInstance(key[1:])
	if !ok {
		return Instance{}, "", corruptKey("promise", key)
	}
	return instance, string(rest), nil
}

// OutboxKey is the key of an outbox message.
func OutboxKey(sequence uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(TableOutbox)}, sequence)
}

// ParseOutboxKey is the inverse of OutboxKey.
func ParseOutboxKey(key []byte) (uint64, error) {
	if len(key) != 9 || Table(key[0]) != TableOutbox {
		return 0, corruptKey("outbox", key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// DeduplicationKey is the key of what was last accepted from a producer.
func DeduplicationKey(producer string) []byte {
	return append([]byte{byte(TableDeduplication)}, producer...)
}

// ParseDeduplicationKey is the inverse of DeduplicationKey.
func ParseDeduplicationKey(key []byte) (string, error) {
	if len(key) < 1 || Table(key[0]) != TableDeduplication {
		return "", corruptKey("deduplication", key)
	}
	return string(key[1:]), nil
}

// MetaKey is the key of the partition's own row.
func MetaKey() []byte { return []byte{byte(TableMeta)} }
