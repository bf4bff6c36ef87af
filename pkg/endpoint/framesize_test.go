package endpoint_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sync/errgroup"

	"github.com/restate-go/restate/pkg/endpoint"
)

// recorded is a connection that reads what was recorded, in pieces of at most the given size.
type recorded struct {
	net.Conn
	content io.Reader
	piece   int
}

func (r recorded) Read(p []byte) (int, error) { return r.content.Read(p[:min(len(p), r.piece)]) }

func (recorded) Write(p []byte) (int, error) { return len(p), nil }

func (recorded) Close() error { return nil }

// throughSmallFrames returns what is read of the content when a request was sent.
func throughSmallFrames(t *testing.T, content []byte, piece int) []byte {
	t.Helper()
	conn := endpoint.InSmallFrames(recorded{content: bytes.NewReader(content), piece: piece})
	for _, part := range []string{http2.ClientPreface, "a request"} {
		_, err := io.WriteString(conn, part)
		require.NoError(t, err)
	}
	read, err := io.ReadAll(conn)
	require.NoError(t, err)
	return read
}

// TestOtherProtocolsAreHeldBack reads what a mail server says first. A client that reads it before it has a request to
// fail could tell nobody why.
func TestOtherProtocolsAreHeldBack(t *testing.T) {
	const greeting = "220 mail.test ESMTP ready\r\n"
	for name, release := range map[string]func(net.Conn) error{
		"until a request": func(conn net.Conn) error {
			_, err := io.WriteString(conn, "a request")
			return err
		},
		"until it is closed": net.Conn.Close,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := endpoint.InSmallFrames(recorded{content: strings.NewReader(greeting), piece: len(greeting)})
				_, err := io.WriteString(conn, http2.ClientPreface)
				require.NoError(t, err)
				read := make(chan string, 1)
				go func() {
					all, err := io.ReadAll(conn)
					assert.NoError(t, err)
					read <- string(all)
				}()
				synctest.Wait()
				require.Empty(t, read)
				require.NoError(t, release(conn))
				require.Equal(t, greeting, <-read)
			})
		})
	}
}

// TestSettingsAreNotHeldBack reads what a peer sends that speaks HTTP/2, to which no request was sent.
func TestSettingsAreNotHeldBack(t *testing.T) {
	content := conversation(t, 16<<10)
	read, err := io.ReadAll(endpoint.InSmallFrames(recorded{content: bytes.NewReader(content), piece: 4}))
	require.NoError(t, err)
	require.Equal(t, content, read)
}

// conversation is what a peer could send that takes frames of the size.
func conversation(t testing.TB, size uint32) []byte {
	t.Helper()
	var sent bytes.Buffer
	peer := http2.NewFramer(&sent, nil)
	maxFrame := http2.Setting{ID: http2.SettingMaxFrameSize, Val: size}
	window := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}
	streams := http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 250}
	require.NoError(t, peer.WriteSettings(window, maxFrame, streams))
	require.NoError(t, peer.WriteSettingsAck())
	// The data of a stream may look like settings.
	settings := []byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 16, 0, 0}
	require.NoError(t, peer.WriteData(1, false, settings))
	require.NoError(t, peer.WriteData(1, false, nil))
	require.NoError(t, peer.WriteSettings())
	require.NoError(t, peer.WritePing(false, [8]byte{0, 5, 0, 16, 0, 0}))
	require.NoError(t, peer.WriteSettings(maxFrame))
	require.NoError(t, peer.WriteData(3, true, settings))
	return sent.Bytes()
}

func TestSettingsNameSmallFrames(t *testing.T) {
	content := conversation(t, 1<<20)
	for piece := 1; piece <= len(content); piece++ {
		require.Equal(t, conversation(t, 16<<10), throughSmallFrames(t, content, piece), "in pieces of %d", piece)
	}
}

// FuzzSmallFrames reads whatever a peer could send in pieces, which must make no difference, and change nothing but settings.
func FuzzSmallFrames(f *testing.F) {
	f.Add(conversation(f, 1<<20), 5)
	f.Add([]byte{0, 0, 2, 4, 0, 0, 0, 0, 0, 0, 5, 255, 255, 255}, 1)
	f.Fuzz(func(t *testing.T, content []byte, piece int) {
		whole := throughSmallFrames(t, content, len(content)+1)
		require.Equal(t, whole, throughSmallFrames(t, content, max(piece, 1)))
		require.Len(t, whole, len(content))
		if !bytes.Contains(content, []byte{0, 5}) {
			require.Equal(t, content, whole)
		}
	})
}

// TestRequestsAreSentInSmallFrames sends a large request to a peer that takes large frames.
func TestRequestsAreSentInSmallFrames(t *testing.T) {
	const size = 300 << 10
	listener, err := (&net.ListenConfig{}).Listen(deadline(t), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() }) // it may be closed
	var served errgroup.Group
	received, largest := 0, 0
	served.Go(func() error {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = conn.Close() }) // not before the client has read all
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return err
		}
		peer := http2.NewFramer(conn, conn)
		err = peer.WriteSettings(
			http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20},
		)
		if err != nil {
			return err
		}
		if err := peer.WriteWindowUpdate(0, 1<<20); err != nil {
			return err
		}
		for {
			frame, err := peer.ReadFrame()
			if err != nil {
				return err
			}
			data, ok := frame.(*http2.DataFrame)
			if !ok {
				continue
			}
			received += len(data.Data())
			largest = max(largest, len(data.Data()))
			if !data.StreamEnded() {
				continue
			}
			var block bytes.Buffer
			if err := hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"}); err != nil {
				return err
			}
			return peer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: data.StreamID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true,
			})
		}
	})
	_, err = post(deadline(t), transport(t, nil), "http://"+listener.Addr().String(), strings.Repeat("a", size))
	require.NoError(t, err)
	require.NoError(t, served.Wait())
	require.Equal(t, size, received)
	require.LessOrEqual(t, largest, 16<<10)
}
