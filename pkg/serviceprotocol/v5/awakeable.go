package v5

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/restate-go/restate/pkg/ids"
)

const (
	awakeablePrefix = "sign_1"
	// legacyPrefix is that of awakeables that are completions, not signals.
	legacyPrefix = "prom_1"
	// firstAwakeable is the first of the signals that handlers number themselves; those below are the runtime's.
	firstAwakeable = 16
)

// Awakeable is what an awakeable id stands for: a signal of an invocation, or else a completion.
type Awakeable struct {
	Invocation ids.InvocationID
	// Index of the signal, 16 or above, or the completion.
	Index  uint32
	Signal bool
}

// String returns the printable form, which the SDKs make too.
func (a Awakeable) String() string {
	prefix := legacyPrefix
	if a.Signal {
		prefix = awakeablePrefix
	}
	return prefix + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(a.Invocation[:], a.Index))
}

// ParseAwakeable is the inverse of String. The error wraps ids.ErrInvalid.
func ParseAwakeable(s string) (Awakeable, error) {
	digits, signal := strings.CutPrefix(s, awakeablePrefix)
	if !signal {
		var legacy bool
		if digits, legacy = strings.CutPrefix(s, legacyPrefix); !legacy {
			return Awakeable{}, fmt.Errorf("%w: an awakeable id begins with %s", ids.ErrInvalid, awakeablePrefix)
		}
	}
	const length = ids.InvocationIDSize + 4
	if wants := base64.RawURLEncoding.EncodedLen(length); len(digits) != wants {
		return Awakeable{}, fmt.Errorf("%w: an awakeable id has %d characters, and this one %d", ids.ErrInvalid, len(awakeablePrefix)+wants, len(s))
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(digits)
	if err != nil || len(raw) != length {
		return Awakeable{}, fmt.Errorf("%w: %q is not an awakeable id", ids.ErrInvalid, s)
	}
	a := Awakeable{
		Invocation: ids.InvocationID(raw[:ids.InvocationIDSize]), Index: binary.BigEndian.Uint32(raw[ids.InvocationIDSize:]), Signal: signal,
	}
	if signal && a.Index < firstAwakeable {
		return Awakeable{}, fmt.Errorf("%w: %q stands for a signal of the runtime's own", ids.ErrInvalid, s)
	}
	return a, nil
}
