package storage

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// Writer changes rows; kv.Tx is one.
type Writer interface {
	// Put and Delete take ownership of neither key nor value before they return a copy was made or they are kept:
	// the caller must not change them afterwards.
	Put(key, value []byte)
	Delete(key []byte)
	// DeleteRange drops the rows with keys in [lower, upper); it copies both.
	DeleteRange(lower, upper []byte)
}

// get decodes the row into the message; false when there is none.
func get(r kv.Reader, key []byte, m proto.Message) (bool, error) {
	value, ok, err := r.Get(key)
	if err != nil || !ok {
		return false, err
	}
	if err := proto.Unmarshal(value, m); err != nil {
		return false, fmt.Errorf("%w: value of %x: %w", ErrCorrupt, key, err)
	}
	return true, nil
}

// put encodes the message into the row.
func put(w Writer, key []byte, m proto.Message) error {
	value, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode the value of %x: %w", key, err)
	}
	w.Put(key, value)
	return nil
}

// scan calls visit for each row in [lower, upper) until visit returns an error, which it returns.
func scan(r kv.Reader, lower, upper []byte, visit func(key, value []byte) error) error {
	return walk(r.Scan(lower, upper), visit)
}

// walk visits what is left of the iterator, which it closes.
func walk(it kv.Iterator, visit func(key, value []byte) error) error {
	defer it.Close()
	for it.Next() {
		if err := visit(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	return it.Err()
}

// decode reads the value of the row with the key.
func decode[T any, M interface {
	*T
	proto.Message
}](key, value []byte) (M, error) {
	m := M(new(T))
	if err := proto.Unmarshal(value, m); err != nil {
		return nil, fmt.Errorf("%w: value of %x: %w", ErrCorrupt, key, err)
	}
	return m, nil
}

// GetJournalEntry returns nil when the journal has no such entry.
func GetJournalEntry(r kv.Reader, id ids.InvocationID, index uint32) (*journalv1.Entry, error) {
	entry := &journalv1.Entry{}
	if ok, err := get(r, JournalKey(id, index), entry); err != nil || !ok {
		return nil, err
	}
	return entry, nil
}

// PutJournalEntry writes one entry.
func PutJournalEntry(w Writer, id ids.InvocationID, index uint32, entry *journalv1.Entry) error {
	return put(w, JournalKey(id, index), entry)
}

// ScanJournal visits the entries [from, to) of a journal in order.
func ScanJournal(r kv.Reader, id ids.InvocationID, from, to uint32, visit func(uint32, *journalv1.Entry) error) error {
	lower, upper := JournalRange(id, from, to)
	return scan(r, lower, upper, func(key, value []byte) error {
		_, index, err := ParseJournalKey(key)
		if err != nil {
			return err
		}
		entry, err := decode[journalv1.Entry](key, value)
		if err != nil {
			return err
		}
		return visit(index, entry)
	})
}

// LoadJournal returns the journal of an invocation whose record says that it has so many entries. Before an entry is
// read, admit is told its size in bytes, and its error ends the reading.
func LoadJournal(r kv.Reader, id ids.InvocationID, length uint32, admit func(size int) error) ([]*journalv1.Entry, error) {
	entries := make([]*journalv1.Entry, 0, length)
	lower, upper := JournalRange(id, 0, length)
	if err := scan(r, lower, upper, func(key, value []byte) error {
		if err := admit(len(value)); err != nil {
			return err
		}
		entry, err := decode[journalv1.Entry](key, value)
		entries = append(entries, entry)
		return err
	}); err != nil {
		return nil, fmt.Errorf("load the journal of %s: %w", id, err)
	}
	if len(entries) != int(length) {
		return nil, fmt.Errorf("%w: the journal of %s has %d entries of %d", ErrCorrupt, id, len(entries), length)
	}
	return entries, nil
}

// GetCompletion returns nil when nothing is known of the completion id.
func GetCompletion(r kv.Reader, id ids.InvocationID, completionID uint32) (*storagev1.Completion, error) {
	completion := &storagev1.Completion{}
	if ok, err := get(r, CompletionKey(id, completionID), completion); err != nil || !ok {
		return nil, err
	}
	return completion, nil
}

// PutCompletion writes what is known of a completion id.
func PutCompletion(w Writer, id ids.InvocationID, completionID uint32, completion *storagev1.Completion) error {
	return put(w, CompletionKey(id, completionID), completion)
}

// ScanCompletions visits what is known of the completion ids of an invocation from the given one on, in order.
func ScanCompletions(r kv.Reader, id ids.InvocationID, from uint32, visit func(uint32, *storagev1.Completion) error) error {
	return scan(r, CompletionKey(id, from), PrefixEnd(indexedPrefix(TableCompletion, id)), func(key, value []byte) error {
		_, completionID, err := ParseCompletionKey(key)
		if err != nil {
			return err
		}
		completion, err := decode[storagev1.Completion](key, value)
		if err != nil {
			return err
		}
		return visit(completionID, completion)
	})
}

func indexedPrefix(table Table, id ids.InvocationID) []byte {
	key := indexedKey(table, id, 0)
	return key[:len(key)-4]
}

// GetSignal returns nil when the signal has not arrived.
func GetSignal(r kv.Reader, id ids.InvocationID, index uint32, name string) (*storagev1.Signal, error) {
	signal := &storagev1.Signal{}
	if ok, err := get(r, SignalKey(id, index, name), signal); err != nil || !ok {
		return nil, err
	}
	return signal, nil
}

// PutSignal writes what has arrived of a signal.
func PutSignal(w Writer, id ids.InvocationID, index uint32, name string, signal *storagev1.Signal) error {
	return put(w, SignalKey(id, index, name), signal)
}

// DeleteNotifications drops what is known of the completions and signals of an invocation. The journal keeps them.
func DeleteNotifications(r kv.Reader, w Writer, id ids.InvocationID) error {
	for _, table := range []Table{TableCompletion, TableSignal} {
		lower := indexedPrefix(table, id)
		if err := deleteRows(r, w, lower, PrefixEnd(lower)); err != nil {
			return err
		}
	}
	return nil
}

// DeleteJournal drops the entries of a journal that has so many.
func DeleteJournal(w Writer, id ids.InvocationID, length uint32) {
	if length > maxSingle {
		w.DeleteRange(JournalRange(id, 0, length))
		return
	}
	for index := range length {
		w.Delete(JournalKey(id, index))
	}
}

// maxSingle is up to how many rows are deleted one by one. More are deleted as a range: one record of the log may ask for
// that, and all that follow wait until it is applied. Every range that the store keeps makes reading a little dearer, so
// they are to be few in proportion to rows.
const maxSingle = 1000

// errMany ends a scan.
var errMany = errors.New("many rows")

func deleteRows(r kv.Reader, w Writer, lower, upper []byte) error {
	var keys [][]byte
	err := scan(r, lower, upper, func(key, _ []byte) error {
		if len(keys) == maxSingle {
			return errMany
		}
		keys = append(keys, append([]byte(nil), key...))
		return nil
	})
	if errors.Is(err, errMany) {
		w.DeleteRange(lower, upper)
		return nil
	}
	if err != nil {
		return err
	}
	for _, key := range keys {
		w.Delete(key)
	}
	return nil
}

// GetLock returns nil when the instance is free.
func GetLock(r kv.Reader, instance Instance) (*storagev1.ServiceLock, error) {
	lock := &storagev1.ServiceLock{}
	if ok, err := get(r, LockKey(instance), lock); err != nil || !ok {
		return nil, err
	}
	return lock, nil
}

// PutLock gives the instance to an invocation.
func PutLock(w Writer, instance Instance, holder ids.InvocationID) error {
	return put(w, LockKey(instance), &storagev1.ServiceLock{InvocationId: holder[:]})
}

// PutInbox appends what waits for the instance to its inbox.
func PutInbox(w Writer, instance Instance, sequence uint64, entry *storagev1.InboxEntry) error {
	return put(w, InboxKey(instance, sequence), entry)
}

// GetInbox returns which invocation waits in the inbox under the key; ok is false when none does: there may be a change of
// the state in its place.
func GetInbox(r kv.Reader, key []byte) (id ids.InvocationID, ok bool, err error) {
	entry := &storagev1.InboxEntry{}
	if ok, err := get(r, key, entry); err != nil || !ok || entry.GetPatchState() != nil {
		return ids.InvocationID{}, false, err
	}
	id, err = waiting(key, entry)
	return id, err == nil, err
}

func waiting(key []byte, entry *storagev1.InboxEntry) (ids.InvocationID, error) {
	id, err := ids.InvocationIDFromBytes(entry.GetInvocationId())
	if err != nil {
		return id, fmt.Errorf("%w: value of %x: %w", ErrCorrupt, key, err)
	}
	return id, nil
}

// FirstInInbox returns what has waited longest among the sequences from the given one on; nil when nothing waits.
func FirstInInbox(r kv.Reader, instance Instance, from uint64) (sequence uint64, entry *storagev1.InboxEntry, err error) {
	_, upper := InboxRange(instance)
	it := r.Scan(InboxKey(instance, from), upper)
	defer it.Close()
	if !it.Next() {
		return 0, nil, it.Err()
	}
	if _, sequence, err = ParseInboxKey(it.Key()); err != nil {
		return 0, nil, err
	}
	entry, err = decode[storagev1.InboxEntry](it.Key(), it.Value())
	return sequence, entry, err
}

// ScanState visits the state of an instance in order of keys. Key and value are valid during the call only.
func ScanState(r kv.Reader, instance Instance, visit func(key, value []byte) error) error {
	lower, upper := StateRange(instance)
	return scan(r, lower, upper, func(key, value []byte) error { return visit(key[len(lower):], value) })
}

// DeleteState drops all state of an instance.
func DeleteState(r kv.Reader, w Writer, instance Instance) error {
	lower, upper := StateRange(instance)
	return deleteRows(r, w, lower, upper)
}

// GetPromise returns nil for a promise that nobody has touched.
func GetPromise(r kv.Reader, instance Instance, key string) (*storagev1.Promise, error) {
	promise := &storagev1.Promise{}
	if ok, err := get(r, PromiseKey(instance, key), promise); err != nil || !ok {
		return nil, err
	}
	return promise, nil
}

// PutPromise writes a promise.
func PutPromise(w Writer, instance Instance, key string, promise *storagev1.Promise) error {
	return put(w, PromiseKey(instance, key), promise)
}

// ScanPromises visits the promises of an instance in order of their keys.
func ScanPromises(r kv.Reader, instance Instance, visit func(string, *storagev1.Promise) error) error {
	lower, upper := PromiseRange(instance)
	return scan(r, lower, upper, func(key, value []byte) error {
		promise, err := decode[storagev1.Promise](key, value)
		if err != nil {
			return err
		}
		return visit(string(key[len(lower):]), promise)
	})
}

// DeletePromises drops all promises of an instance.
func DeletePromises(r kv.Reader, w Writer, instance Instance) error {
	lower, upper := PromiseRange(instance)
	return deleteRows(r, w, lower, upper)
}

// GetTimer returns nil when there is no such timer.
func GetTimer(r kv.Reader, key []byte) (*storagev1.Timer, error) {
	timer := &storagev1.Timer{}
	if ok, err := get(r, key, timer); err != nil || !ok {
		return nil, err
	}
	return timer, nil
}

// PutTimer writes a timer.
func PutTimer(w Writer, id TimerID, timer *storagev1.Timer) error { return put(w, id.Key(), timer) }

// ScanTimers visits up to limit timers in the order in which they are due, from the given key on (nil = all).
func ScanTimers(r kv.Reader, from []byte, limit int, visit func(TimerID) error) error {
	lower, upper := TableRange(TableTimer)
	if from != nil {
		lower = from
	}
	it := r.Scan(lower, upper)
	defer it.Close()
	for n := 0; n < limit && it.Next(); n++ {
		id, err := ParseTimerKey(it.Key())
		if err != nil {
			return err
		}
		if err := visit(id); err != nil {
			return err
		}
	}
	return it.Err()
}

// PutOutbox appends a message to the outbox.
func PutOutbox(w Writer, sequence uint64, message *storagev1.OutboxMessage) error {
	return put(w, OutboxKey(sequence), message)
}

// GetOutbox returns nil when there is no such message.
func GetOutbox(r kv.Reader, sequence uint64) (*storagev1.OutboxMessage, error) {
	message := &storagev1.OutboxMessage{}
	if ok, err := get(r, OutboxKey(sequence), message); err != nil || !ok {
		return nil, err
	}
	return message, nil
}

// ScanOutbox visits up to limit messages from the given sequence on.
func ScanOutbox(r kv.Reader, from uint64, limit int, visit func(uint64, *storagev1.OutboxMessage) error) error {
	_, upper := TableRange(TableOutbox)
	it := r.Scan(OutboxKey(from), upper)
	defer it.Close()
	for n := 0; n < limit && it.Next(); n++ {
		sequence, err := ParseOutboxKey(it.Key())
		if err != nil {
			return err
		}
		message, err := decode[storagev1.OutboxMessage](it.Key(), it.Value())
		if err != nil {
			return err
		}
		if err := visit(sequence, message); err != nil {
			return err
		}
	}
	return it.Err()
}

// GetDeduplication returns nil for a producer that is not known.
func GetDeduplication(r kv.Reader, producer string) (*storagev1.Deduplication, error) {
	row := &storagev1.Deduplication{}
	if ok, err := get(r, DeduplicationKey(producer), row); err != nil || !ok {
		return nil, err
	}
	return row, nil
}

// PutDeduplication notes what was accepted from a producer.
func PutDeduplication(w Writer, producer string, row *storagev1.Deduplication) error {
	return put(w, DeduplicationKey(producer), row)
}

// ScanDeduplication visits all producers.
func ScanDeduplication(r kv.Reader, visit func(string, *storagev1.Deduplication) error) error {
	lower, upper := TableRange(TableDeduplication)
	return scan(r, lower, upper, func(key, value []byte) error {
		producer, err := ParseDeduplicationKey(key)
		if err != nil {
			return err
		}
		row, err := decode[storagev1.Deduplication](key, value)
		if err != nil {
			return err
		}
		return visit(producer, row)
	})
}

// GetMeta returns an empty row for a partition that has applied nothing.
func GetMeta(r kv.Reader) (*storagev1.PartitionMeta, error) {
	meta := &storagev1.PartitionMeta{}
	_, err := get(r, MetaKey(), meta)
	return meta, err
}

// PutMeta writes the partition's own row.
func PutMeta(w Writer, meta *storagev1.PartitionMeta) error { return put(w, MetaKey(), meta) }
