package scan

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// table knows where the rows of one table come from, and makes them.
type table interface {
	// sorted is how many bytes at the beginning of the keys never decrease in the order of visit.
	sorted() int
	// units calls visit for all units that have rows which the filter admits, until visit returns false. What visit is
	// given is valid during the call only. Any unit comes once.
	units(ctx context.Context, v View, f *Filter, visit func(unit) bool) error
	// rows calls emit for the rows of a unit, in order, from behind the key after on (nil = all), until emit returns an
	// error, which it returns. Rows that are gone are left out.
	rows(v View, u unit, after []byte, emit emitter) error
}

// emitter takes a row, and the printable id of the invocation that it is about; empty for none. It keeps key and value.
type emitter func(key, value []byte, about string) error

func (e emitter) message(key []byte, m proto.Message, about string) error {
	value, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode the row %x: %w", key, err)
	}
	return e(key, value, about)
}

// tableOf returns where the rows come from that the filter asks for.
func tableOf(f *Filter) (table, error) {
	switch f.table.Number() {
	case 1:
		return deduplication{}, nil
	case 2:
		return machine{}, nil
	case 3:
		return inbox{}, nil
	case 4:
		return journal{}, nil
	case 5:
		return outbox{}, nil
	case 6:
		return state{}, nil
	case 7:
		return status{}, nil
	case 8:
		return timers{}, nil
	default:
		return nil, fmt.Errorf("%w: there is no table %s", ErrFilter, f.table.Name())
	}
}
