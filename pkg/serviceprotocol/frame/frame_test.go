package frame_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// Frames as the SDKs write them.
var examples = []struct {
	frame frame.Frame
	bytes []byte
}{
	{frame.Frame{Type: 0x0411, Payload: []byte{0x58, 1, 0x62, 1, 0x61}}, []byte{4, 0x11, 0, 0, 0, 0, 0, 5, 0x58, 1, 0x62, 1, 0x61}},
	{
		frame.Frame{Type: 0x0005, Flags: 0x8000, Payload: []byte{8, 1, 0x72, 1, 0x31}},
		[]byte{0, 5, 0x80, 0, 0, 0, 0, 5, 8, 1, 0x72, 1, 0x31},
	},
	{frame.Frame{Type: 0x0003, Payload: []byte{}}, []byte{0, 3, 0, 0, 0, 0, 0, 0}},
}

// A transport may cut frames anywhere.
func TestFrames(t *testing.T) {
	var stream []byte
	for _, e := range examples {
		require.Equal(t, e.bytes, frame.Append(nil, e.frame))
		stream = frame.Append(stream, e.frame)
	}
	for _, source := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
		frames := frame.NewReader(source, 5)
		for _, e := range examples {
			f, err := frames.Next()
			require.NoError(t, err)
			require.Equal(t, e.frame, f)
		}
		_, err := frames.Next()
		require.Equal(t, io.EOF, err)
	}
}

func TestCutFrames(t *testing.T) {
	whole := examples[0].bytes
	for n := 1; n < len(whole); n++ {
		_, err := frame.NewReader(bytes.NewReader(whole[:n]), 5).Next()
		require.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes", n)
	}
	broken := errors.New("broken")
	_, err := frame.NewReader(io.MultiReader(bytes.NewReader(whole[:9]), iotest.ErrReader(broken)), 5).Next()
	require.ErrorIs(t, err, broken)
}

// A header that announces much is not believed before it has come.
func TestLargeFrames(t *testing.T) {
	_, err := frame.NewReader(bytes.NewReader(examples[0].bytes), 4).Next()
	require.ErrorIs(t, err, frame.ErrTooLarge)
	announced := append([]byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, make([]byte, 1<<20)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = frame.NewReader(bytes.NewReader(announced), 1<<32-1).Next()
	runtime.ReadMemStats(&after)
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
	long := frame.Frame{Type: 1, Payload: bytes.Repeat([]byte("x"), 3<<20+1)}
	f, err := frame.NewReader(bytes.NewReader(frame.Append(nil, long)), 4<<20).Next()
	require.NoError(t, err)
	require.Equal(t, long, f)
}

// FuzzReader reads arbitrary streams: whatever is read is what was written.
func FuzzReader(f *testing.F) {
	for _, e := range examples {
		f.Add(e.bytes)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		frames := frame.NewReader(bytes.NewReader(stream), 1<<20)
		var again []byte
		for {
			one, err := frames.Next()
			if err != nil {
				require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, frame.ErrTooLarge), "%v", err)
				if errors.Is(err, io.EOF) {
					require.Len(t, again, len(stream))
				}
				break
			}
			again = frame.Append(again, one)
		}
		require.True(t, bytes.HasPrefix(stream, again))
	})
}
