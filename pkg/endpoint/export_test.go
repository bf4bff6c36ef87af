package endpoint

import (
	"bytes"
	"net"
	"slices"
)

// Mend wraps a connection as the transport does.
func Mend(conn net.Conn) net.Conn { return mend(conn) }

// PassFrames returns what is made of the content of a connection that is read in pieces, apart from what is inserted.
func PassFrames(content []byte, piece int) []byte {
	var f frames
	passed := bytes.Clone(content)
	for part := range slices.Chunk(passed, piece) {
		f.pass(part)
	}
	return passed
}
