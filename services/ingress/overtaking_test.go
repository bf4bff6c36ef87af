package ingress_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/restate-go/restate/pkg/await"
)

// A refusal must not overtake a short body: the server would reset the stream after it, and curl 7.88 then loses it.
func TestRefusalsWaitForTheRequest(t *testing.T) {
	r := startWithServices(t)
	for name, headers := range map[string][][2]string{
		"unknown service": {{":method", "POST"}, {":path", "/seedera.Nobody/Greet"}, {"content-type", "application/json"}},
		"unknown path":    {{":method", "POST"}, {":path", "/nothing"}, {"content-type", "application/json"}},
		"content type":    {{":method", "POST"}, {":path", "/seedera.Greeter/Greet"}, {"content-type", "text/plain"}},
		"method":          {{":method", "PUT"}, {":path", "/seedera.Greeter/Greet"}, {"content-type", "application/json"}},
		"compressed": {
			{":method", "POST"}, {":path", "/seedera.Greeter/Greet"}, {"content-type", "application/json"}, {"content-encoding", "br"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url, "http://"))
			require.NoError(t, err)
			defer func() { require.NoError(t, conn.Close()) }()
			require.NoError(t, conn.SetDeadline(time.Now().Add(await.Deadline)))
			_, err = conn.Write([]byte(http2.ClientPreface))
			require.NoError(t, err)
			framer := http2.NewFramer(conn, conn)
			require.NoError(t, framer.WriteSettings())
			var block bytes.Buffer
			encoder := hpack.NewEncoder(&block)
			for _, field := range append(headers, [2]string{":scheme", "http"}, [2]string{":authority", "x"}, [2]string{"content-length", "2"}) {
				if strings.HasPrefix(field[0], ":") {
					require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
				}
			}
			for _, field := range append(headers, [2]string{"content-length", "2"}) {
				if !strings.HasPrefix(field[0], ":") {
					require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
				}
			}
			require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}))
			// By the time the ping is answered the server knows of the request.
			require.NoError(t, framer.WritePing(false, [8]byte{1}))
			for {
				frame, err := framer.ReadFrame()
				require.NoError(t, err)
				if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
					break
				}
			}
			require.NoError(t, framer.WriteData(1, true, []byte("{}")))
			answered := false
			for !answered {
				frame, err := framer.ReadFrame()
				require.NoError(t, err)
				if frame.Header().StreamID == 1 {
					require.NotEqual(t, http2.FrameRSTStream, frame.Header().Type)
					answered = frame.Header().Flags.Has(http2.FlagDataEndStream)
				}
			}
			require.NoError(t, framer.WritePing(false, [8]byte{2}))
			for {
				frame, err := framer.ReadFrame()
				require.NoError(t, err)
				require.NotEqual(t, http2.FrameRSTStream, frame.Header().Type)
				if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
					return
				}
			}
		})
	}
}
