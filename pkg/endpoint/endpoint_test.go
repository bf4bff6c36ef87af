package endpoint_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/sync/errgroup"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/schema"
)

// describe answers with what the request was like.
func describe(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s", r.Proto, r.Host, r.URL.Path)
}

// h2c starts a server that speaks HTTP/2 with prior knowledge.
func h2c(t testing.TB, handler http.HandlerFunc, configure ...func(*http.Server)) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	for _, c := range configure {
		c(server.Config)
	}
	server.Start()
	t.Cleanup(server.Close)
	return server
}

func transport(t testing.TB, change func(*endpoint.Config)) *endpoint.Transport {
	t.Helper()
	cfg := endpoint.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	made, err := endpoint.NewTransport(cfg)
	require.NoError(t, err)
	t.Cleanup(made.CloseIdleConnections)
	return made
}

func post(ctx context.Context, over http.RoundTripper, url, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := over.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return string(answer), err
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), await.Deadline)
	t.Cleanup(cancel)
	return ctx
}

func TestPlainTextIsHTTP2WithPriorKnowledge(t *testing.T) {
	server := h2c(t, describe)
	answer, err := post(deadline(t), transport(t, nil), server.URL+"/a/discover", "")
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0 "+server.Listener.Addr().String()+" /a/discover", answer)
}

func TestPeersOfHTTP1AreRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(describe))
	t.Cleanup(server.Close)
	_, err := post(deadline(t), transport(t, nil), server.URL, "")
	require.Error(t, err)

	secure := httptest.NewTLSServer(http.HandlerFunc(describe)) // without h2
	t.Cleanup(secure.Close)
	_, err = post(deadline(t), transport(t, trusting(t, secure)), secure.URL, "")
	require.Error(t, err)
}

func TestHTTP1(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(describe))
	t.Cleanup(server.Close)
	answer, err := post(deadline(t), transport(t, nil).To(&schema.Endpoint{HTTP1: true}), server.URL+"/x", "")
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 "+server.Listener.Addr().String()+" /x", answer)

	secure := httptest.NewUnstartedServer(http.HandlerFunc(describe))
	secure.EnableHTTP2 = true // which it is not asked for
	secure.StartTLS()
	t.Cleanup(secure.Close)
	answer, err = post(deadline(t), transport(t, trusting(t, secure)).To(&schema.Endpoint{HTTP1: true}), secure.URL+"/x", "")
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 "+secure.Listener.Addr().String()+" /x", answer)
}

// trusting lets the certificate of the server pass.
func trusting(t testing.TB, server *httptest.Server) func(*endpoint.Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(file, encoded, 0o600))
	return func(c *endpoint.Config) { c.CAFile = file }
}

func TestTLSNegotiatesHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(describe))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	answer, err := post(deadline(t), transport(t, trusting(t, server)), server.URL+"/x", "")
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0 "+server.Listener.Addr().String()+" /x", answer)

	_, err = post(deadline(t), transport(t, nil), server.URL, "")
	var untrusted *tls.CertificateVerificationError
	require.ErrorAs(t, err, &untrusted)
}

// Each side's messages arrive while the other's body is open, and the request may end before the response does.
func TestBodiesFlowAtTheSameTime(t *testing.T) {
	server := h2c(t, func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		_ = controller.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintln(w, "echo", lines.Text())
			_ = controller.Flush()
		}
		fmt.Fprintln(w, "end")
	})
	body, write := io.Pipe()
	request, err := http.NewRequestWithContext(deadline(t), http.MethodPost, server.URL, body)
	require.NoError(t, err)
	response, err := transport(t, nil).RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answers := bufio.NewScanner(response.Body)
	for _, line := range []string{"one", "two"} {
		_, err := fmt.Fprintln(write, line)
		require.NoError(t, err)
		require.True(t, answers.Scan())
		require.Equal(t, "echo "+line, answers.Text())
	}
	require.NoError(t, write.Close())
	require.True(t, answers.Scan())
	require.Equal(t, "end", answers.Text())
	require.False(t, answers.Scan())
}

func TestMoreConnectionsThanThePeerHasStreams(t *testing.T) {
	const streams, requests = 2, 7
	var connections, inside atomic.Int32
	open := make(chan struct{})
	server := h2c(t, func(w http.ResponseWriter, _ *http.Request) {
		inside.Add(1)
		<-open
		w.WriteHeader(http.StatusNoContent)
	}, func(s *http.Server) {
		s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
		s.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
	})
	over := transport(t, nil)
	var group errgroup.Group
	release := sync.OnceFunc(func() { close(open) })
	t.Cleanup(release)
	for range requests {
		group.Go(func() error {
			_, err := post(deadline(t), over, server.URL, "")
			return err
		})
	}
	await.True(t, await.Deadline, func() bool { return inside.Load() == requests }, "all requests are served at a time")
	require.GreaterOrEqual(t, connections.Load(), int32((requests+streams-1)/streams))
	release()
	require.NoError(t, group.Wait())
}

// The proxy is a plain HTTP/2 server: it gets the request as it would have gone to the endpoint.
func TestProxyForPlainText(t *testing.T) {
	proxy := h2c(t, describe)
	address := proxy.Listener.Addr().String()
	for name, c := range map[string]struct {
		proxy, without, uri string
		through             bool
	}{
		"with a scheme":           {proxy: "http://" + address, uri: "http://greeter.test:9080/x", through: true},
		"without a scheme":        {proxy: address, uri: "http://greeter.test:9080/x", through: true},
		"the endpoint is exempt":  {proxy: address, without: "other,.test", uri: "http://greeter.test:9080/x"},
		"the address is loopback": {proxy: address, uri: "http://127.0.0.1:1/x"},
		"the endpoint is https":   {proxy: address, uri: "https://greeter.test:9080/x"},
	} {
		t.Run(name, func(t *testing.T) {
			over := transport(t, func(cfg *endpoint.Config) {
				cfg.HTTPProxy, cfg.NoProxy = c.proxy, c.without
			})
			answer, err := post(deadline(t), over, c.uri, "")
			if c.through {
				require.NoError(t, err)
				require.Equal(t, "HTTP/2.0 greeter.test:9080 /x", answer)
				return
			}
			require.Error(t, err) // there is nobody at that address
		})
	}
	t.Run("the proxy is down", func(t *testing.T) {
		_, err := post(deadline(t), transport(t, func(cfg *endpoint.Config) { cfg.HTTPProxy = "127.0.0.1:1" }), "http://greeter.test:9080/x", "")
		require.ErrorContains(t, err, "connect to the proxy for greeter.test:9080 (HTTP_PROXY)")
	})
}

// For https the proxy is asked to connect, as everywhere.
func TestProxyForTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(describe))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host)
		far, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer far.Close()
		w.WriteHeader(http.StatusOK)
		near, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer near.Close()
		go func() { _, _ = io.Copy(far, buffered) }()
		_, _ = io.Copy(near, far)
	}))
	t.Cleanup(proxy.Close)
	trust := trusting(t, server)
	over := transport(t, func(cfg *endpoint.Config) {
		trust(cfg)
		cfg.HTTPSProxy = proxy.Listener.Addr().String()
	})
	// The certificate of the test server is for this name.
	answer, err := post(deadline(t), over, "https://example.com/x", "")
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0 example.com /x", answer)
	require.Equal(t, "CONNECT example.com:443", asked.Load())
	over.CloseIdleConnections()
}

func TestConnectTimeout(t *testing.T) {
	// It takes the connection and says nothing, so that the TLS handshake hangs.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	over := transport(t, func(cfg *endpoint.Config) { require.NoError(t, cfg.ConnectTimeout.UnmarshalText([]byte("50ms"))) })
	began := time.Now()
	_, err = post(deadline(t), over, "https://"+listener.Addr().String(), "")
	require.Error(t, err)
	require.Less(t, time.Since(began), 10*time.Second)
}

func TestNewTransportRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, bytes.Repeat([]byte("x"), 10), 0o600))
	for says, change := range map[string]func(*endpoint.Config){
		"HTTP_PROXY is not an address":    func(c *endpoint.Config) { c.HTTPProxy = "http://" },
		"a proxy that is reached by http": func(c *endpoint.Config) { c.HTTPProxy = "https://proxy.test:443" },
		"no such file":                    func(c *endpoint.Config) { c.CAFile = filepath.Join(t.TempDir(), "none.pem") },
		"holds no certificate":            func(c *endpoint.Config) { c.CAFile = empty },
		"idle_timeout is 0s":              func(c *endpoint.Config) { c.IdleTimeout = 0 },
	} {
		t.Run(says, func(t *testing.T) {
			cfg := endpoint.DefaultConfig()
			change(&cfg)
			_, err := endpoint.NewTransport(cfg)
			require.ErrorContains(t, err, says)
		})
	}
}

// A connection that no request uses is closed after its time, and nothing is sent on it before.
func TestIdleConnectionsAreClosedAndNotPinged(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	over := transport(t, func(cfg *endpoint.Config) {
		// Closed after three quarters of what a ping takes.
		cfg.IdleTimeout, cfg.PingInterval = config.Duration(time.Hour), config.Duration(4*time.Second)
	})
	var group errgroup.Group
	var pings, others int
	group.Go(func() error {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		defer conn.Close()
		return answerOnce(conn, func(f http2.Frame) {
			switch f := f.(type) {
			case *http2.PingFrame:
				pings++
			case *http2.SettingsFrame, *http2.WindowUpdateFrame, *http2.GoAwayFrame:
			default:
				others++
				t.Log(f)
			}
		})
	})
	answer, err := post(deadline(t), over, "http://"+listener.Addr().String(), "")
	require.NoError(t, err)
	require.Empty(t, answer)
	require.NoError(t, group.Wait(), "the connection is closed by the client")
	require.Zero(t, pings)
	require.Zero(t, others)
}

// answerOnce is a server of HTTP/2 that answers the first request, and shows every frame after that until the client
// closes the connection.
func answerOnce(conn net.Conn, after func(http2.Frame)) error {
	if err := conn.SetDeadline(time.Now().Add(await.Deadline)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	answered := false
	for {
		frame, err := framer.ReadFrame()
		switch f, isHeaders := frame.(*http2.HeadersFrame); {
		case errors.Is(err, io.EOF) && answered:
			return nil
		case err != nil:
			return err
		case isHeaders && !answered:
			answered = true
			// 0x88 is ":status: 200" in HPACK (RFC 7541, appendix A).
			if err := framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: f.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true,
			}); err != nil {
				return err
			}
		case answered:
			after(frame)
		}
	}
}
