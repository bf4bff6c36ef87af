// Package frame is what the service protocols of all SDK generations have in common: a stream of frames. The packages
// beside it say what is in them.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Type is the type code of a frame. Each generation has its own.
type Type uint16

// HeaderSize is the length of what precedes each payload.
const HeaderSize = 8

// Frame is one message on the wire.
type Frame struct {
	Type    Type
	Flags   uint16
	Payload []byte
}

// Append appends the frame to dst.
func Append(dst []byte, f Frame) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.Type))
	dst = binary.BigEndian.AppendUint16(dst, f.Flags)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(f.Payload))) //nolint:gosec // payloads are bounded far below
	return append(dst, f.Payload...)
}

var (
	// ErrViolation means that the endpoint does not keep to the protocol.
	ErrViolation = errors.New("protocol violation")
	// ErrTooLarge means that a message exceeds the limit.
	ErrTooLarge = errors.New("frame over the limit")
)

// Reader reads frames from a stream.
type Reader struct {
	src io.Reader
	// limit is the largest payload accepted, in bytes.
	limit  uint32
	header [HeaderSize]byte
}

// NewReader returns a reader that refuses payloads larger than the limit, in bytes.
func NewReader(src io.Reader, limit uint32) *Reader { return &Reader{src: src, limit: limit} }

// Next reads one frame; its payload belongs to the caller. io.EOF at the end between two frames, io.ErrUnexpectedEOF at
// the end within one, ErrTooLarge for a payload over the limit; other errors are those of the stream.
func (r *Reader) Next() (Frame, error) {
	if _, err := io.ReadFull(r.src, r.header[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{
		Type:  Type(binary.BigEndian.Uint16(r.header[0:])),
		Flags: binary.BigEndian.Uint16(r.header[2:]),
	}
	length := binary.BigEndian.Uint32(r.header[4:])
	if length > r.limit {
		return Frame{}, fmt.Errorf("%w: type %#04x with %d bytes, the limit is %d", ErrTooLarge, uint16(f.Type), length, r.limit)
	}
	var err error
	if f.Payload, err = readPayload(r.src, int(length)); err != nil {
		return Frame{}, err
	}
	return f, nil
}

// trustedLength is how much is allocated on the word of the header alone.
const trustedLength = 256 << 10

func readPayload(src io.Reader, length int) ([]byte, error) {
	payload := make([]byte, 0, min(length, trustedLength))
	for len(payload) < length {
		chunk := min(length-len(payload), max(len(payload), trustedLength)) // no more than has come already
		start := len(payload)
		payload = append(payload, make([]byte, chunk)...)
		if _, err := io.ReadFull(src, payload[start:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return payload, nil
}
