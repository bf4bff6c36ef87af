package invoker

import (
	"math"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
)

// Bounds are how much an attempt may have in memory.
type Bounds struct {
	// Entries and Bytes bound the journal.
	Entries, Bytes int
	// State bounds, in bytes, what is read of the state; the rest is left out.
	State int
	// Use is told of all that is read, in bytes, before it is decoded. Its error ends the reading.
	Use func(bytes int) error
}

// JournalBounds returns what is in force for the journal of an invocation.
func (c Config) JournalBounds() Bounds {
	b := Bounds{Entries: int(c.JournalLengthLimit), Bytes: int(c.JournalSizeLimit)}
	if b.Entries == 0 {
		b.Entries = math.MaxInt
	}
	if b.Bytes == 0 {
		b.Bytes = math.MaxInt
	}
	return b
}

// bounds returns what is in force for an attempt; cover is told of all that it has read.
func (c Config) bounds(set settings, cover func(bytes int) error) Bounds {
	b, total := c.JournalBounds(), 0
	if !set.lazy {
		b.State = int(c.EagerStateLimit)
	}
	b.Use = func(bytes int) error {
		total += bytes
		return cover(total)
	}
	return b
}

// Exceeded is the error of a journal that exceeds the bounds. The next attempt would find the same journal, or make it
// as long: the invocation is paused.
func (b Bounds) Exceeded() error {
	return errcode.New(errcode.JournalTooLarge, "the journal would have more than %d entries or %d bytes", b.Entries, b.Bytes)
}

// Extent is what there is of a journal, once everything that was proposed is stored.
type Extent struct {
	bounds         Bounds
	entries, bytes atomic.Int64
}

// Begin is for a journal that has as many entries and bytes.
func (e *Extent) Begin(bounds Bounds, entries, bytes int) {
	e.bounds = bounds
	e.entries.Store(int64(entries))
	e.bytes.Store(int64(bytes))
}

// Admit checks whether a command of a handler may be proposed, notes it, and completes it where it is a call; size is in
// bytes. The error has a code. Outputs need not be admitted: they end the invocation, however long its journal is.
func (e *Extent) Admit(command *journalv1.Command, size int, resolver Resolver) error {
	if err := checkLengths(command); err != nil {
		return err
	}
	if err := e.room(size); err != nil {
		return err
	}
	e.entries.Add(1)
	e.bytes.Add(int64(size))
	return resolver.Resolve(command)
}

// arrived notes a result. It is in the journal already.
func (e *Extent) arrived(n *journalv1.Notification) {
	e.entries.Add(1)
	e.bytes.Add(int64(proto.Size(n)))
}

// room says whether the journal has room for another entry of the size, in bytes.
func (e *Extent) room(size int) error {
	if e.entries.Load() >= int64(e.bounds.Entries) || e.bytes.Load() > int64(e.bounds.Bytes-size) {
		return e.bounds.Exceeded()
	}
	return nil
}
