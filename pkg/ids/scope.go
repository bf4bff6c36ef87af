package ids

import (
	"fmt"
	"strings"
)

// maxScope is how long a scope, and each part of a limit key, can be.
const maxScope = 36

// CheckScope refuses what cannot be the scope of an invocation: anything but 1 to 36 letters, digits, dots, underscores
// and dashes. The error wraps ErrInvalid.
func CheckScope(scope string) error {
	if !isScope(scope) {
		return fmt.Errorf("%w: a scope has 1 to %d of the characters A-Z a-z 0-9 . _ -", ErrInvalid, maxScope)
	}
	return nil
}

// CheckLimitKey refuses what cannot be a limit key: anything but one or two parts that could be scopes, with a slash
// between them. The error wraps ErrInvalid.
func CheckLimitKey(key string) error {
	first, second, two := strings.Cut(key, "/")
	if !isScope(first) || two && !isScope(second) {
		return fmt.Errorf("%w: a limit key is one part or two with a slash between them, each with 1 to %d of the characters "+
			"A-Z a-z 0-9 . _ -", ErrInvalid, maxScope)
	}
	return nil
}

func isScope(s string) bool {
	if s == "" || len(s) > maxScope {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}
