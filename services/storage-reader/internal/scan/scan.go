// Package scan finds the rows that dev.restate.storage.scan.v1.Storage/Scan asks for in what the partitions store.
//
// The tables of that service are not those of the runtime: their rows are put together from several of ours, and they
// are ordered by other keys. A scan therefore goes over what is stored in passes. Each finds the lowest keys behind those
// that were sent already, as many as fit into a fixed amount of memory, and then reads their rows and sends them.
package scan

import (
	"context"
	"errors"
	"fmt"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"
)

// Limits of one scan, in bytes. It may use some more than twice their sum.
type Limits struct {
	// Keys is how much memory the keys of one pass take.
	Keys int
	// Chunk is how much is read at a time before it is sent.
	Chunk int
}

// DefaultLimits let a pass find some 100,000 keys.
func DefaultLimits() Limits { return Limits{Keys: 8 << 20, Chunk: 256 << 10} }

// Source is the database.
type Source interface {
	// Read calls the function with what is committed. The view is valid during the call, which does not take long:
	// nothing waits for the client in it.
	Read(ctx context.Context, read func(View) error) error
}

// Run sends the rows that the filter lets through in the order of their keys. A row that is there all the time is sent
// once; one that comes, goes or changes meanwhile is sent as it was at some time, or not at all. Errors of send are
// returned as they are.
func Run(ctx context.Context, source Source, f *Filter, limits Limits, send func(*scanv1.Pair) error) error {
	from, err := tableOf(f)
	if err != nil {
		return err
	}
	for f != nil && !f.empty() {
		found := &selection{budget: limits.Keys, sorted: from.sorted()}
		if err := source.Read(ctx, func(v View) error { return from.units(ctx, v, f, found.add) }); err != nil {
			return fmt.Errorf("look for rows: %w", err)
		}
		found.sort()
		if err := (&output{source, f, from, limits.Chunk}).send(ctx, found.units, send); err != nil {
			return err
		}
		if found.limit == nil {
			return nil
		}
		f = f.after(found.units[len(found.units)-1].key)
	}
	return nil
}

// output reads the rows of units, a chunk at a time.
type output struct {
	source Source
	filter *Filter
	from   table
	// limit is the size of a chunk in bytes.
	limit int
}

func (o *output) send(ctx context.Context, units []unit, send func(*scanv1.Pair) error) error {
	// last is the key of the last row that was read of the first unit.
	var last []byte
	for len(units) > 0 {
		var chunk []*scanv1.Pair
		err := o.source.Read(ctx, func(v View) (err error) {
			chunk, units, last, err = o.read(v, units, last)
			return err
		})
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
		for _, pair := range chunk {
			if err := send(pair); err != nil {
				return err
			}
		}
	}
	return nil
}

// errFull says that a chunk is full.
var errFull = errors.New("full")

// read reads one chunk, and returns what is left: units, and the last row of the first of them.
func (o *output) read(v View, units []unit, last []byte) (chunk []*scanv1.Pair, left []unit, until []byte, err error) {
	size := 0
	emit := func(key, value []byte, about string) error {
		if size >= o.limit {
			return errFull
		}
		last = key
		if !o.filter.admits(key) {
			return nil
		}
		decoded, err := decodeKey(o.filter.table, key)
		if err != nil {
			return err
		}
		size += len(key) + len(value)
		pair := &scanv1.Pair{Key: decoded, Value: value}
		if about != "" {
			pair.PrintableId = &about
		}
		chunk = append(chunk, pair)
		return nil
	}
	for ; len(units) > 0; units, last = units[1:], nil {
		if err := o.from.rows(v, units[0], last, emit); errors.Is(err, errFull) {
			return chunk, units, last, nil
		} else if err != nil {
			return nil, nil, nil, err
		}
	}
	return chunk, nil, nil, nil
}
