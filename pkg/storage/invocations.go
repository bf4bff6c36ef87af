package storage

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// GetInvocation returns nil when the invocation is unknown.
func GetInvocation(r kv.Reader, id ids.InvocationID) (*storagev1.Invocation, error) {
	invocation := &storagev1.Invocation{}
	if ok, err := get(r, InvocationKey(id), invocation); err != nil || !ok {
		return nil, err
	}
	return invocation, nil
}

// PutInvocation writes an invocation's record.
func PutInvocation(w Writer, id ids.InvocationID, invocation *storagev1.Invocation) error {
	return put(w, InvocationKey(id), invocation)
}

// InvocationRow is a row of the invocations, of which no more is decoded than is asked for: nearly all are over, and are
// kept for their results, which whoever looks for the others does not want to read.
type InvocationRow struct{ key, value []byte }

// ScanInvocations visits all invocations in order of their ids. A row is valid during the call only.
func ScanInvocations(r kv.Sweeper, visit func(InvocationRow) error) error {
	return walk(r.Sweep(TableRange(TableInvocation)), func(key, value []byte) error { return visit(InvocationRow{key, value}) })
}

// invocationState is the number of the field.
const invocationState = 1

// State returns the state alone. Go writes fields in the order of their numbers, so it comes first; where others precede it,
// they are skipped.
func (r InvocationRow) State() (storagev1.Invocation_State, error) {
	for rest := r.value; len(rest) > 0; {
		number, kind, tag := protowire.ConsumeTag(rest)
		if tag < 0 {
			return 0, r.corrupt(protowire.ParseError(tag))
		}
		rest = rest[tag:]
		if number == invocationState && kind == protowire.VarintType {
			state, n := protowire.ConsumeVarint(rest)
			if n < 0 {
				return 0, r.corrupt(protowire.ParseError(n))
			}
			return storagev1.Invocation_State(state), nil //nolint:gosec // as protobuf reads an enum
		}
		n := protowire.ConsumeFieldValue(number, kind, rest)
		if n < 0 {
			return 0, r.corrupt(protowire.ParseError(n))
		}
		rest = rest[n:]
	}
	return storagev1.Invocation_STATE_UNSPECIFIED, nil
}

func (r InvocationRow) corrupt(err error) error {
	return fmt.Errorf("%w: value of %x: %w", ErrCorrupt, r.key, err)
}

// Decode reads all of the row.
func (r InvocationRow) Decode() (ids.InvocationID, *storagev1.Invocation, error) {
	return ParseInvocation(r.key, r.value)
}

// ParseInvocation reads a row of the invocations.
func ParseInvocation(key, value []byte) (ids.InvocationID, *storagev1.Invocation, error) {
	id, err := ParseInvocationKey(key)
	if err != nil {
		return ids.InvocationID{}, nil, err
	}
	invocation, err := decode[storagev1.Invocation](key, value)
	return id, invocation, err
}
