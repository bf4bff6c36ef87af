package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/restate-go/restate/pkg/ids"
)

// uuidSize is the length of invocation ids, and of the keys that the runtime makes up for unkeyed services.
const uuidSize = 16

// printable says whether the bytes are text that can be shown as it is.
func printable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// bytesText shows bytes as text, quoted where it has characters that cannot be shown, or in hex.
func bytesText(b []byte) string {
	switch {
	case printable(b):
		return string(b)
	case utf8.Valid(b) && bytes.IndexFunc(b, control) < 0:
		return strconv.Quote(string(b))
	default:
		return "0x" + hex.EncodeToString(b)
	}
}

// control says whether a character is none of those that text has.
func control(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }

// keyText shows the key of a service instance. Strings and numbers are stored as protobuf writes them.
func keyText(key []byte) string {
	length, n := binary.Uvarint(key)
	switch {
	case n > 0 && length > 0 && uint64(len(key)-n) == length && printable(key[n:]): //nolint:gosec // n <= len(key)
		return string(key[n:])
	case len(key) > 0 && printable(key):
		return string(key)
	case len(key) == uuidSize:
		return uuidText(key)
	case n > 0 && n == len(key):
		return strconv.FormatUint(length, 10)
	default:
		return bytesText(key)
	}
}

// uuidText shows the id of an invocation.
func uuidText(b []byte) string {
	u, err := uuid.FromBytes(b)
	if err != nil {
		return bytesText(b)
	}
	return u.String()
}

// invocationText shows the id of an invocation. A storage-reader of a release before this one tells no more than the UUID
// in it, and the rest cannot be made up: what it is a hash of, not every row has.
func invocationText(printable string, invocation []byte) string {
	if printable == "" {
		return uuidText(invocation)
	}
	return printable
}

// instanceText shows the key of the instance that the invocation belongs to. An unkeyed service has none: what is stored in
// its place is the UUID of the invocation.
func instanceText(serviceKey []byte, printable string) string {
	if id, err := ids.ParseInvocationID(printable); err == nil {
		if u := id.UUID(); bytes.Equal(serviceKey, u[:]) {
			return ""
		}
	}
	return keyText(serviceKey)
}

// timeText shows a time that is in milliseconds since the epoch.
func timeText(ms uint64) string {
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02T15:04:05.000Z07:00") //nolint:gosec // far from the end of time
}

// maxShown is how many characters of a value a table shows.
const maxShown = 120

// shortened cuts what is too long for a cell, and takes out what would tear the table: line ends and tabs in names.
func shortened(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	return string([]rune(s)[:maxShown-1]) + "…"
}
