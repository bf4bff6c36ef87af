package frame

import (
	"strings"
	"unicode/utf8"
)

// MaxErrorText bounds, in bytes, what is kept of each text of an error: it lives as long as the invocation is retried.
const MaxErrorText = 32 << 10

// Shorten returns what is kept of a text of an error. It shares no memory with a text that is longer.
func Shorten(text string) string {
	if len(text) <= MaxErrorText {
		return text
	}
	return strings.Clone(Prefix(text, MaxErrorText))
}

// Prefix returns the text up to a length in bytes, without cutting a character in two.
func Prefix(text string, length int) string {
	if len(text) <= length {
		return text
	}
	for length > 0 && !utf8.RuneStart(text[length]) {
		length--
	}
	return text[:length]
}
