package endpoint_test

import (
	"bytes"
	"errors"
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

// throughMended returns what is read of the content when a request was sent.
func throughMended(t *testing.T, content []byte, piece int) []byte {
	t.Helper()
	conn := endpoint.Mend(recorded{content: bytes.NewReader(content), piece: piece})
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
				conn := endpoint.Mend(recorded{content: strings.NewReader(greeting), piece: len(greeting)})
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
	read, err := io.ReadAll(endpoint.Mend(recorded{content: bytes.NewReader(content), piece: 4}))
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
		require.Equal(t, conversation(t, 16<<10), throughMended(t, content, piece), "in pieces of %d", piece)
	}
}

// FuzzFrames passes whatever a peer could send in pieces, which must make no difference, and change nothing but settings.
func FuzzFrames(f *testing.F) {
	f.Add(conversation(f, 1<<20), 5)
	f.Add([]byte{0, 0, 2, 4, 0, 0, 0, 0, 0, 0, 5, 255, 255, 255}, 1)
	f.Add([]byte{0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 11, 0, 0, 6, 4}, 3)
	f.Fuzz(func(t *testing.T, content []byte, piece int) {
		whole := endpoint.PassFrames(content, len(content)+1)
		require.Equal(t, whole, endpoint.PassFrames(content, max(piece, 1)))
		if !bytes.Contains(content, []byte{0, 5}) {
			require.Equal(t, content, whole)
		}
	})
}

// TestPeerThatWantsCalmGoesAway reads the reset of a request, and what comes after it for another.
func TestPeerThatWantsCalmGoesAway(t *testing.T) {
	for code, goes := range map[http2.ErrCode]bool{http2.ErrCodeEnhanceYourCalm: true, http2.ErrCodeCancel: false} {
		var sent bytes.Buffer
		peer := http2.NewFramer(&sent, nil)
		require.NoError(t, peer.WriteSettings())
		require.NoError(t, peer.WriteRSTStream(3, code))
		require.NoError(t, peer.WriteData(1, true, []byte("the end")))
		require.NoError(t, peer.WriteRSTStream(5, code))
		for piece := 1; piece <= sent.Len(); piece++ {
			client := http2.NewFramer(nil, bytes.NewReader(throughMended(t, sent.Bytes(), piece)))
			seen := map[http2.FrameType]int{}
			for {
				frame, err := client.ReadFrame()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
				seen[frame.Header().Type]++
				if going, ok := frame.(*http2.GoAwayFrame); ok {
					require.Equal(t, http2.ErrCodeNo, going.ErrCode)
					require.EqualValues(t, 1<<31-1, going.LastStreamID, "all requests in progress go on")
				}
			}
			want := map[http2.FrameType]int{http2.FrameSettings: 1, http2.FrameRSTStream: 2, http2.FrameData: 1}
			if goes {
				want[http2.FrameGoAway] = 1
			}
			require.Equal(t, want, seen, "%s in pieces of %d", code, piece)
		}
	}
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
