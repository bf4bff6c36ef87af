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

// bounds returns what is in force for an attempt; cover is told of all that it has read.
func (c Config) bounds(set settings, cover func(bytes int) error) Bounds {
	total := 0
	b := Bounds{
		Entries: int(c.JournalLengthLimit), Bytes: int(c.JournalSizeLimit), State: int(c.EagerStateLimit),
		Use: func(bytes int) error {
			total += bytes
			return cover(total)
		},
	}
	if b.Entries == 0 {
		b.Entries = math.MaxInt
	}
	if b.Bytes == 0 {
		b.Bytes = math.MaxInt
	}
	if set.lazy {
		b.State = 0
	}
	return b
}

// Exceeded is the error of a journal that exceeds the bounds. The next attempt would find the same journal, or make it
// as long: the invocation is paused.
func (b Bounds) Exceeded() error {
	return errcode.New(errcode.JournalTooLarge, "the journal would have more than %d entries or %d bytes", b.Entries, b.Bytes)
}

// extent is what there is of a journal, once everything that was proposed is stored.
type extent struct {
	bounds         Bounds
	entries, bytes atomic.Int64
}

func (e *extent) begin(bounds Bounds, journal *Journal) {
	e.bounds = bounds
	e.entries.Store(int64(len(journal.Entries)))
	e.bytes.Store(int64(journal.Size))
}

// arrived notes a result. It is in the journal already.
func (e *extent) arrived(n *journalv1.Notification) {
	e.entries.Add(1)
	e.bytes.Add(int64(proto.Size(n)))
}

// command notes a command that is to be proposed, if the journal has room for it; size is in bytes.
func (e *extent) command(size int) error {
	if err := e.room(size); err != nil {
		return err
	}
	e.entries.Add(1)
	e.bytes.Add(int64(size))
	return nil
}

// room says whether the journal has room for another entry of the size, in bytes.
func (e *extent) room(size int) error {
	if e.entries.Load() >= int64(e.bounds.Entries) || e.bytes.Load() > int64(e.bounds.Bytes-size) {
		return e.bounds.Exceeded()
	}
	return nil
}
