package scan

import (
	"bytes"
	"encoding/binary"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/storage-reader/internal/domain"
)

// journal is the steps of the invocations that status has, each with its result where that has arrived. In our table
// results are entries of their own; here they are not counted. A result that arrived before its step has a row by itself.
type journal struct{ status }

func (journal) rows(v View, u unit, after []byte, emit emitter) error {
	id, invocation, err := holder(v, u)
	if err != nil || invocation == nil {
		return err
	}
	w := &walk{reader: v.Partitions[u.partition], id: id, prefix: u.key, emit: emit}
	if after != nil {
		w.next = binary.BigEndian.Uint32(bytes.TrimPrefix(after, u.key)) + 1
	}
	if err := w.commands(invocation.GetJournalLength()); err != nil {
		return err
	}
	return w.early()
}

// walk goes over one journal.
type walk struct {
	reader kv.Reader
	id     ids.InvocationID
	// prefix is what all keys begin with.
	prefix []byte
	emit   emitter
	// index is that of the command at hand, next the first that is wanted.
	index, next uint32
}

func (w *walk) commands(length uint32) error {
	return storage.ScanJournal(w.reader, w.id, 0, length, func(_ uint32, entry *journalv1.Entry) error {
		command := entry.GetCommand()
		if command == nil {
			return nil
		}
		index := w.index
		w.index++
		if index < w.next {
			return nil
		}
		result, err := w.result(command)
		if err != nil {
			return err
		}
		message, err := domain.Entry(command, result)
		if err != nil {
			return err
		}
		return w.emit.message(w.key(index), message, w.id.String())
	})
}

func (w *walk) key(index uint32) []byte { return appendUint32(bytes.Clone(w.prefix), index) }

// result returns what the command was completed with, nil when it has not been, or nothing completes it.
func (w *walk) result(command *journalv1.Command) (*journalv1.Result, error) {
	completionID, ok := domain.CompletionID(command)
	if !ok {
		return nil, nil //nolint:nilnil // nil is an answer
	}
	completion, err := storage.GetCompletion(w.reader, w.id, completionID)
	if err != nil {
		return nil, err
	}
	arrived, ok := completion.GetCompletion().(*storagev1.Completion_JournalIndex)
	if !ok {
		return nil, nil //nolint:nilnil // as above
	}
	entry, err := storage.GetJournalEntry(w.reader, w.id, arrived.JournalIndex)
	return entry.GetNotification().GetResult(), err
}

// early sends the results whose commands are not there yet.
func (w *walk) early() error {
	// In this generation of the protocol a completion id is the index of its command.
	from := max(w.next, w.index)
	return storage.ScanCompletions(w.reader, w.id, from, func(id uint32, completion *storagev1.Completion) error {
		result := completion.GetEarly()
		if result == nil {
			return nil
		}
		return w.emit.message(w.key(id), domain.EarlyResult(result), w.id.String())
	})
}
