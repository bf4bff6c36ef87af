package ids

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// FormatAwakeable names an entry of an invocation's journal that waits for a result, as the SDKs of 2023 do.
func FormatAwakeable(id InvocationID, index uint32) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(id[:], index))
}

// ParseAwakeable is the inverse of FormatAwakeable; padding is accepted. The error wraps ErrInvalid.
func ParseAwakeable(s string) (InvocationID, uint32, error) {
	const length = InvocationIDSize + 4
	if len(s) > base64.URLEncoding.EncodedLen(length) {
		return InvocationID{}, 0, fmt.Errorf("%w: an awakeable id has %d characters, and this one %d",
			ErrInvalid, base64.RawURLEncoding.EncodedLen(length), len(s))
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(raw) != length {
		return InvocationID{}, 0, fmt.Errorf("%w: %q is not an awakeable id", ErrInvalid, s)
	}
	return InvocationID(raw[:InvocationIDSize]), binary.BigEndian.Uint32(raw[InvocationIDSize:]), nil
}
