package discovery_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/discovery"
)

func client(t testing.TB, change func(*discovery.Config)) *discovery.Client {
	t.Helper()
	transport, err := endpoint.NewTransport(endpoint.DefaultConfig())
	require.NoError(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	cfg := discovery.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	return discovery.New(cfg, transport, nil)
}

func target(t testing.TB, uri string) discovery.Target {
	t.Helper()
	parsed, err := url.Parse(uri)
	require.NoError(t, err)
	return discovery.Target{URI: parsed}
}

func discover(t testing.TB, c *discovery.Client, uri string) (*discovery.Answer, error) {
	t.Helper()
	return c.Discover(t.Context(), target(t, uri))
}

// serve starts a server that speaks HTTP/2 with prior knowledge.
func serve(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// raw starts a server that does as it likes with each connection, until the connection is closed for it.
func raw(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	group.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { connection.Close() })
			group.Go(func() {
				defer stop()
				defer connection.Close()
				handle(connection)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		group.Wait()
	})
	return "http://" + listener.Addr().String()
}

// captured is what SDK 0.4.1 answered for a function with the service my.pkg.Svc.
var captured = func() []byte {
	text, err := os.ReadFile("../../testdata/discovery.json")
	if err != nil {
		return nil
	}
	var file struct {
		Cases []struct {
			Name string `json:"name"`
			Body []byte `json:"body_base64"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil
	}
	for _, c := range file.Cases {
		if c.Name == "lambda-dotted-router-name" {
			return c.Body
		}
	}
	return nil
}()

const acceptAll = "application/vnd.restate.endpointmanifest.v4+json, application/vnd.restate.endpointmanifest.v3+json, " +
	"application/vnd.restate.endpointmanifest.v2+json, application/vnd.restate.endpointmanifest.v1+json, application/proto"

func answer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/proto")
	_, _ = w.Write(captured)
}

// manifest answers as a today's SDK does.
func manifest(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.restate.endpointmanifest.v4+json")
	w.Header().Set("X-Restate-Server", "restate-sdk-go/v1.2.0")
	body, err := os.ReadFile("../../testdata/manifest-go.json")
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body)
}

func names(d *discovery.Answer) []string {
	var names []string
	for _, s := range d.Services {
		names = append(names, s.Name)
	}
	return names
}

func TestDiscoverSendsWhatTheSDKExpects(t *testing.T) {
	type seen struct {
		method, path, proto, host, contentType, accept, custom, agent string
		body                                                          int
	}
	var got seen
	uri := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{
			r.Method, r.URL.Path, r.Proto, r.Host, r.Header.Get("Content-Type"), r.Header.Get("Accept"),
			r.Header.Get("X-Api-Key"), r.Header.Get("User-Agent"), len(body),
		}
		answer(w)
	})
	asked := target(t, uri+"/default/greeter/")
	asked.Headers = map[string]string{"x-api-key": "secret", "host": "greeter.test"}
	response, err := client(t, nil).Discover(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, []string{"my.pkg.Svc"}, names(response))
	require.Equal(t, schema.ModeRequestResponse, response.Mode)
	require.Zero(t, response.MaxProtocolVersion)
	require.Empty(t, response.SDK)
	require.False(t, response.HTTP1)
	require.Equal(t, seen{
		method: "GET", path: "/default/greeter/discover", proto: "HTTP/2.0", host: "greeter.test", accept: acceptAll, custom: "secret",
	}, got)
}

func TestDiscoverReadsManifests(t *testing.T) {
	response, err := discover(t, client(t, nil), serve(t, manifest))
	require.NoError(t, err)
	require.Equal(t, []string{"Counter", "Greeter", "Signup"}, names(response))
	require.Equal(t, uint32(7), response.MaxProtocolVersion)
	require.Equal(t, "restate-sdk-go/v1.2.0", response.SDK)
}

// A gateway in front of a function of 2023 may have a route for POST only.
func TestDiscoverByPOST(t *testing.T) {
	for _, status := range []int{403, 404, 405, 501} {
		uri := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/proto" {
				w.WriteHeader(status)
				return
			}
			answer(w)
		})
		response, err := discover(t, client(t, nil), uri)
		require.NoError(t, err)
		require.Equal(t, []string{"my.pkg.Svc"}, names(response))
	}
}

// What a refusal says is not waited for: some gateways keep the stream open after the header, and a POST may be answered.
func TestDiscoverByPOSTWhileARefusalGoesOn(t *testing.T) {
	for _, given := range []string{"text/plain; charset=utf-8", "application/json", "application/octet-stream", ""} {
		uri := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				answer(w)
				return
			}
			w.Header()["Content-Type"] = nil
			if given != "" {
				w.Header().Set("Content-Type", given)
			}
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "no route")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		// Were it waited for, no time would be left.
		response, err := discover(t, client(t, func(c *discovery.Config) {
			c.Timeout, c.AttemptTimeout = config.Duration(2*await.Deadline), config.Duration(2*await.Deadline)
		}), uri)
		require.NoError(t, err)
		require.Equal(t, []string{"my.pkg.Svc"}, names(response))
	}
}

// Of a refusal, what comes at once and is text is shown.
func TestDiscoverShowsWhatARefusalSays(t *testing.T) {
	const begins = ` with "no route"`
	for given, shown := range map[string]string{
		"text/html": begins, "application/json": begins, "application/problem+json": begins, "application/xml": begins,
		"application/octet-stream": "", "nonsense; ;": "",
	} {
		uri := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", given)
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "no route")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		_, err := discover(t, client(t, nil), uri)
		require.Error(t, err)
		_, says, _ := strings.Cut(err.Error(), "400 Bad Request")
		require.Equal(t, shown, says, given)
	}
}

func TestDiscoverOverHTTP1(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(manifest))
	t.Cleanup(plain.Close)
	asked := target(t, plain.URL)
	asked.HTTP1 = true
	response, err := client(t, nil).Discover(t.Context(), asked)
	require.NoError(t, err)
	require.True(t, response.HTTP1)

	// With TLS the peer says so itself.
	secure := httptest.NewTLSServer(http.HandlerFunc(manifest))
	t.Cleanup(secure.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	require.NoError(t, os.WriteFile(authority, encoded, 0o600))
	cfg := endpoint.DefaultConfig()
	cfg.CAFile = authority
	transport, err := endpoint.NewTransport(cfg)
	require.NoError(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	response, err = discover(t, discovery.New(discovery.DefaultConfig(), transport, nil), secure.URL)
	require.NoError(t, err)
	require.True(t, response.HTTP1)
}

// The path that is signed has nothing of the endpoint's own, and no additional header takes the signature's place.
func TestDiscoverSigns(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cfg := endpoint.DefaultConfig()
	cfg.IdentityKeyFile = filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(cfg.IdentityKeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	signer, err := endpoint.NewSigner(cfg)
	require.NoError(t, err)
	transport, err := endpoint.NewTransport(cfg)
	require.NoError(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	var tokens []string
	uri := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tokens = r.Header.Values("X-Restate-Jwt-V1")
		manifest(w, r)
	})
	asked := target(t, uri+"/prefix")
	asked.Headers = map[string]string{"x-restate-jwt-v1": "forged"}
	_, err = discovery.New(discovery.DefaultConfig(), transport, signer).Discover(t.Context(), asked)
	require.NoError(t, err)
	require.Len(t, tokens, 1)
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(tokens[0], ".")[1])
	require.NoError(t, err)
	require.Contains(t, string(claims), `"aud":"/discover"`)
}

// What is wrong with an answer keeps its own code.
func TestDiscoverKeepsTheCodeOfAnAnswer(t *testing.T) {
	say := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, body)
		}
	}
	const v4 = "application/vnd.restate.endpointmanifest.v4+json"
	old := `{"protocolMode":"BIDI_STREAM","minProtocolVersion":1,"maxProtocolVersion":3,"services":[]}`
	http1 := httptest.NewServer(http.HandlerFunc(manifest))
	t.Cleanup(http1.Close)
	for name, c := range map[string]struct {
		uri  string
		code errcode.Code
	}{
		"no manifest":        {serve(t, say(v4, "{")), errcode.BadManifest},
		"too old":            {serve(t, say(v4, old)), errcode.UnsupportedProtocol},
		"a manifest of old":  {serve(t, say("application/vnd.restate.endpointmanifest.v1+json", old)), errcode.UnsupportedProtocol},
		"a later manifest":   {serve(t, say("application/vnd.restate.endpointmanifest.v5+json", old)), errcode.DiscoveryFailed},
		"with a parameter":   {serve(t, say(v4+"; charset=utf-8", old)), errcode.DiscoveryFailed},
		"over HTTP/1.1 only": {http1.URL, errcode.NotHTTP2},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := discover(t, client(t, nil), c.uri)
			require.Equal(t, c.code, errcode.Of(err, ""), err)
			require.ErrorContains(t, err, "GET "+c.uri+"/discover (")
		})
	}
}

// Endpoints that will never do are told from one another, and not asked twice.
func TestDiscoverRefusesAtOnce(t *testing.T) {
	body := func(contentType, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, text)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://elsewhere.test/")
			w.WriteHeader(code)
		}
	}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	http1 := httptest.NewServer(body("application/proto", ""))
	t.Cleanup(http1.Close)
	secure := httptest.NewUnstartedServer(body("application/proto", ""))
	secure.Config.ErrorLog = quiet
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, c := range map[string]struct {
		uri  string
		says []string
	}{
		"another content type": {serve(t, body("text/html", "<html>")), []string{`"text/html"`, "no service endpoint of a supported SDK"}},
		"no content type":      {serve(t, status(204)), []string{`content type ""`}},
		"garbage":              {serve(t, body("application/proto", "\xff\xff\xff")), []string{"no discovery response"}},
		"no descriptors":       {serve(t, body("application/proto", "")), []string{"the descriptors lack"}},
		"too much": {
			serve(t, body("application/proto", strings.Repeat("\x12\x01a", 1000))), []string{"larger than 1KiB", "meta.discovery.max_response_size"},
		},
		"not found":    {serve(t, status(404)), []string{"404", "at this path", "POST", "2 attempts", "additional_headers"}},
		"unauthorized": {serve(t, status(401)), []string{"401 Unauthorized", "additional_headers"}},
		"a bad request": {serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, " no\xff such host "+strings.Repeat("x", 1000))
		}), []string{`400 Bad Request with "no such host xxx`}},
		"a redirect": {
			serve(t, status(302)), []string{"302 Found", "http://elsewhere.test/", "not followed"},
		},
		"an unknown certificate": {secure.URL, []string{"certificate is not trusted", "meta.endpoint.ca_file", "worker.endpoint.ca_file"}},
		"no TLS":                 {strings.Replace(http1.URL, "http:", "https:", 1), []string{"does not speak TLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := discover(t, client(t, func(c *discovery.Config) { c.MaxResponseSize = 1 << 10 }), c.uri)
			require.Equal(t, errcode.DiscoveryFailed, errcode.Of(err, ""))
			for _, says := range append(c.says, c.uri+"/discover") {
				require.ErrorContains(t, err, says)
			}
			if name != "not found" { // which is asked in another way
				require.ErrorContains(t, err, "1 attempt in")
			}
		})
	}
}

// The connection to a peer of another protocol may break before its answer is read.
func TestDiscoverOfAnotherProtocol(t *testing.T) {
	uri := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 mail.test ESMTP ready\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	_, err := discover(t, client(t, nil), uri)
	require.Equal(t, errcode.NotHTTP2, errcode.Of(err, ""))
	require.ErrorContains(t, err, "does not speak HTTP/2")
}
