// Package ids holds the identifiers of the runtime and their printable forms.
package ids

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// InvocationID names an invocation: the partition key (64 bits, big endian) and a UUID (16 bytes).
type InvocationID [InvocationIDSize]byte

// InvocationIDSize is the length of an invocation id in bytes.
const InvocationIDSize = 24

// ErrInvalid is wrapped by every error of parsing.
var ErrInvalid = errors.New("invalid id")

const (
	invocationPrefix = "inv_1"
	// 64 and 128 bits in base62.
	partitionKeyDigits = 11
	uuidDigits         = 22
)

// NewInvocationID returns a fresh id in the partition of the given key.
func NewInvocationID(partitionKey uint64) (InvocationID, error) {
	u, err := uuid.NewV7()
	if err != nil {
		return InvocationID{}, fmt.Errorf("make an invocation id: %w", err)
	}
	return MakeInvocationID(partitionKey, u), nil
}

// MakeInvocationID puts an id together.
func MakeInvocationID(partitionKey uint64, u [16]byte) InvocationID {
	var id InvocationID
	binary.BigEndian.PutUint64(id[:8], partitionKey)
	copy(id[8:], u[:])
	return id
}

// InvocationIDFromBytes copies the 24 bytes of an id.
func InvocationIDFromBytes(b []byte) (InvocationID, error) {
	if len(b) != InvocationIDSize {
		return InvocationID{}, fmt.Errorf("%w: an invocation id has %d bytes, not %d", ErrInvalid, InvocationIDSize, len(b))
	}
	return InvocationID(b), nil
}

// PartitionKey returns the key that decides which partition the invocation lives in.
func (id InvocationID) PartitionKey() uint64 { return binary.BigEndian.Uint64(id[:8]) }

// UUID returns the part that is unique within a partition key.
func (id InvocationID) UUID() [16]byte { return [16]byte(id[8:]) }

// String returns the printable form, inv_1 and 33 base62 digits, as restate-server prints it.
func (id InvocationID) String() string {
	var out [len(invocationPrefix) + partitionKeyDigits + uuidDigits]byte
	copy(out[:], invocationPrefix)
	digits := out[len(invocationPrefix):]
	// Each integer is printed with its bytes reversed.
	putBase62(digits[:partitionKeyDigits], 0, binary.LittleEndian.Uint64(id[:8]))
	putBase62(digits[partitionKeyDigits:], binary.LittleEndian.Uint64(id[16:]), binary.LittleEndian.Uint64(id[8:16]))
	return string(out[:])
}

// ParseInvocationID reads the printable form, and the two base64url forms of the 2023 releases: 33 characters
// (partition key and UUID encoded apart) and 32 characters (encoded together).
func ParseInvocationID(s string) (InvocationID, error) {
	if digits, ok := strings.CutPrefix(s, invocationPrefix); ok && len(digits) == partitionKeyDigits+uuidDigits {
		return parseBase62ID(s, digits)
	}
	encoding := base64.RawURLEncoding.Strict()
	var raw []byte
	switch len(s) {
	case 33:
		key, err := encoding.DecodeString(s[:partitionKeyDigits])
		if err != nil {
			return InvocationID{}, invalidInvocationID(s)
		}
		rest, err := encoding.DecodeString(s[partitionKeyDigits:])
		if err != nil {
			return InvocationID{}, invalidInvocationID(s)
		}
		raw = slices.Concat(key, rest)
	case 32:
		var err error
		if raw, err = encoding.DecodeString(s); err != nil {
			return InvocationID{}, invalidInvocationID(s)
		}
	}
	if len(raw) != InvocationIDSize {
		return InvocationID{}, invalidInvocationID(s)
	}
	return InvocationID(raw), nil
}

func parseBase62ID(s, digits string) (InvocationID, error) {
	keyHigh, key, err := parseBase62(digits[:partitionKeyDigits])
	if err != nil || keyHigh != 0 {
		return InvocationID{}, invalidInvocationID(s)
	}
	hi, lo, err := parseBase62(digits[partitionKeyDigits:])
	if err != nil {
		return InvocationID{}, invalidInvocationID(s)
	}
	var id InvocationID
	binary.BigEndian.PutUint64(id[:8], bits.ReverseBytes64(key))
	binary.LittleEndian.PutUint64(id[8:16], lo)
	binary.LittleEndian.PutUint64(id[16:], hi)
	return id, nil
}

func invalidInvocationID(s string) error {
	const shown = 64
	if len(s) > shown {
		s = s[:shown] + "..."
	}
	return fmt.Errorf("%w: %q is not an invocation id", ErrInvalid, s)
}
