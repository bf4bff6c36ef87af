package invoker

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/errcode"
)

// peer is the server's end of a connection of HTTP/2, for what no HTTP library would send.
type peer struct {
	net.Conn
	*http2.Framer
	// gone is closed when the client has gone.
	gone chan struct{}
}

// headers encodes a header block.
func headers(fields ...string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			panic(err) //nolint:forbidigo // it writes to memory
		}
	}
	return block.Bytes()
}

// answered begins the answer to a request as it should.
func (p *peer) answered(stream uint32) error {
	return p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: headers(":status", "200", "content-type", contentType), EndHeaders: true,
	})
}

// forEver repeats what is written until the client has gone.
func (p *peer) forEver(write func() error) {
	for {
		select {
		case <-p.gone:
			return
		default:
		}
		if write() != nil {
			return
		}
	}
}

// act is what a peer does when a request has come, in a goroutine of its own.
type act = func(p *peer, stream uint32)

// serveRaw accepts connections and lets each be served, which is to end when the connection is closed.
func serveRaw(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return listener.Addr().String()
}

// begin begins to speak HTTP/2.
func begin(conn net.Conn, settings ...http2.Setting) (*peer, error) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return nil, err
	}
	p := &peer{Conn: conn, Framer: http2.NewFramer(conn, conn), gone: make(chan struct{})}
	err := p.WriteSettings(settings...)
	return p, err
}

// speak reads what the client sends, and lets the act answer requests.
func speak(conn net.Conn, act act) {
	p, err := begin(conn)
	if err != nil {
		return
	}
	defer close(p.gone)
	var acting sync.WaitGroup
	defer acting.Wait()
	defer conn.Close()
	for {
		f, err := p.ReadFrame()
		var stream http2.StreamError
		if errors.As(err, &stream) {
			continue
		}
		if err != nil {
			return
		}
		if stream := f.Header().StreamID; f.Header().Type == http2.FrameHeaders {
			acting.Go(func() { act(p, stream) })
		}
	}
}

// once has the next attempt made far later than the test takes.
func once(cfg *Config) {
	cfg.RetryPolicy.InitialInterval = config.Duration(time.Hour)
	cfg.RetryPolicy.MaxInterval = config.Duration(time.Hour)
}

// impatient has an attempt at the service Hostile given up early, too.
func impatient(cfg *Config) {
	once(cfg)
	cfg.InactivityTimeout = config.Duration(time.Second)
	cfg.AbortTimeout = config.Duration(time.Second)
}

// Whatever a peer does to the connection, an attempt ends, and the next one waits for its time.
func TestHostilePeers(t *testing.T) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // as in the daemons, net/http has no say in what is logged
	long := strings.Repeat("x", 16000)
	for name, c := range map[string]struct {
		act  act
		code errcode.Code
	}{
		"no answer, and pings for ever": {func(p *peer, _ uint32) {
			p.forEver(func() error { return p.WritePing(false, [8]byte{1}) })
		}, errcode.AttemptAborted},
		"no answer, and settings for ever": {func(p *peer, _ uint32) {
			p.forEver(func() error { return p.WriteSettings() })
		}, errcode.AttemptAborted},
		"empty data for ever": {func(p *peer, stream uint32) {
			_ = p.answered(stream)
			p.forEver(func() error { return p.WriteData(stream, false, nil) })
		}, errcode.AttemptAborted},
		"padding for ever": {func(p *peer, stream uint32) {
			_ = p.answered(stream)
			p.forEver(func() error { return p.WriteDataPadded(stream, false, nil, make([]byte, 1)) })
		}, errcode.AttemptAborted},
		"priorities for ever": {func(p *peer, stream uint32) {
			_ = p.answered(stream)
			p.forEver(func() error { return p.WriteRawFrame(http2.FramePriority, 0, stream, make([]byte, 5)) })
		}, errcode.AttemptAborted},
		"interim answers for ever": {func(p *peer, stream uint32) {
			block := headers(":status", "103", "link", "</x>")
			p.forEver(func() error {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true})
			})
		}, errcode.NetworkFailed},
		"a header without end": {func(p *peer, stream uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: headers(":status", "200")})
			block := headers("x-more", long)
			p.forEver(func() error { return p.WriteContinuation(stream, false, block) })
		}, errcode.NetworkFailed},
		"a large header": {func(p *peer, stream uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: headers(":status", "200")})
			for range 16 {
				_ = p.WriteContinuation(stream, false, headers("x-more", long))
			}
			_ = p.WriteContinuation(stream, true, nil)
		}, errcode.NetworkFailed},
		"trailers in place of an answer": {func(p *peer, stream uint32) {
			_ = p.answered(stream)
			_ = p.WriteHeaders(http2.HeadersFrameParam{
				StreamID: stream, BlockFragment: headers("x-more", long), EndHeaders: true, EndStream: true,
			})
		}, errcode.ServiceFailed},
		"a reset": {func(p *peer, stream uint32) { _ = p.WriteRSTStream(stream, http2.ErrCodeCancel) }, errcode.NetworkFailed},
		"resets for ever": {func(p *peer, stream uint32) {
			p.forEver(func() error { return p.WriteRSTStream(stream, http2.ErrCodeInternal) })
		}, errcode.NetworkFailed},
		"going away from every request": {func(p *peer, _ uint32) {
			_ = p.WriteGoAway(0, http2.ErrCodeNo, nil)
			_ = p.Close()
		}, errcode.NetworkFailed},
		"garbage": {func(p *peer, _ uint32) { _, _ = p.Write(bytes.Repeat([]byte{0xff}, 1<<16)) }, errcode.NetworkFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			services := serve(t, map[string]http.HandlerFunc{"Answers": answers})
			services["Hostile"] = serveRaw(t, func(conn net.Conn) { speak(conn, c.act) })
			configure := once // how long a machine takes for the others is not known
			if c.code == errcode.AttemptAborted {
				configure = impatient
			}
			w := newWorld(t, configure, services)
			id := w.start("Hostile")
			code, message := w.awaitFailure(t, id)
			require.Equal(t, string(c.code), code, message)
			require.Less(t, len(message), 1<<10)
			w.awaitEnd(t, w.start("Answers"))
			view, ok := w.invoker.View(id)
			require.True(t, ok)
			require.Equal(t, uint32(1), view.Attempts)
			require.NotZero(t, view.NextAttemptAt)
		})
	}
}

// deaf answers the first request in part and reads no more, but goes on sending. What the client then has to send keeps
// everybody from the connection who reads from it: a window update waits behind it.
func deaf(conn net.Conn) {
	p, err := begin(conn, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	if err != nil || p.WriteWindowUpdate(0, 1<<30) != nil {
		return
	}
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return
		}
		if f.Header().Type == http2.FrameHeaders {
			break
		}
	}
	message := append([]byte{0x04, 0x01, 0, 0, 0, 0x40, 0, 0}, make([]byte, 256<<10)...)
	err = p.answered(1)
	for len(message) > 0 && err == nil {
		n := min(len(message), 16<<10)
		err = p.WriteData(1, false, message[:n])
		message = message[n:]
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for ; err == nil; <-ticker.C {
		err = p.WriteWindowUpdate(0, 1)
	}
}

func TestPeerThatDoesNotRead(t *testing.T) {
	services := serve(t, map[string]http.HandlerFunc{"Answers": answers})
	services["Hostile"] = serveRaw(t, deaf)
	connections := endpoint.DefaultConfig()
	connections.PingInterval, connections.PingTimeout = config.Duration(time.Second), config.Duration(time.Second)
	w := newWorldOver(t, connections, func(cfg *Config) {
		impatient(cfg)
		cfg.ConcurrencyLimit = 1
	}, services)
	id := w.startWith("Hostile", make([]byte, 64<<20))
	code, message := w.awaitFailure(t, id)
	require.Equal(t, string(errcode.AttemptAborted), code, message)
	w.awaitEnd(t, w.start("Answers"))
}
