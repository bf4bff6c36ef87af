package frame_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

func TestPrefix(t *testing.T) {
	require.Empty(t, frame.Prefix("", 3))
	require.Equal(t, "abc", frame.Prefix("abc", 3))
	require.Equal(t, "ab", frame.Prefix("abc", 2))
	require.Equal(t, "a", frame.Prefix("aé", 2), "a character is not cut in two")
	require.Empty(t, frame.Prefix("\x80\x80", 1), "what is no text has an end, too")
	require.Empty(t, frame.Prefix("é", 1))
}

func TestShorten(t *testing.T) {
	require.Equal(t, "short", frame.Shorten("short"))
	require.Len(t, frame.Shorten(strings.Repeat("x", frame.MaxErrorText+1)), frame.MaxErrorText)
	require.Len(t, frame.Shorten(strings.Repeat("é", frame.MaxErrorText)), frame.MaxErrorText)
}
