package rpc

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestTextBodyTakesPaddedPieces(t *testing.T) {
	for _, pieces := range [][]string{{}, {"a"}, {"a", "bc", "def", "ghij"}, {"abc", "d"}} {
		var text bytes.Buffer
		var plain string
		for _, piece := range pieces {
			text.WriteString(base64.StdEncoding.EncodeToString([]byte(piece)))
			plain += piece
		}
		body := &textBody{source: bufio.NewReader(iotest.OneByteReader(&text))}
		require.NoError(t, iotest.TestReader(body, []byte(plain)))
	}
}

func FuzzTextBody(f *testing.F) {
	f.Add([]byte("AAAAAAE="), 3)
	f.Add([]byte("AA==AA=="), 1)
	f.Add([]byte("A"), 5)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		body := &textBody{source: bufio.NewReader(bytes.NewReader(text))}
		decoded, err := io.ReadAll(bufio.NewReaderSize(body, max(size%100, 16)))
		if expected, strict := base64.StdEncoding.DecodeString(string(text)); strict == nil && !bytes.ContainsAny(text, "\r\n") {
			require.NoError(t, err)
			require.Equal(t, string(expected), string(decoded))
		}
		require.LessOrEqual(t, len(decoded), len(text))
	})
}
