package discovery_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/errcode"

	"github.com/restate-go/restate/services/meta/internal/discovery"
)

// certificate makes one that signs itself, for the address and name given and up to the time given, and the file that has
// others trust it.
func certificate(t testing.TB, address, name string, until time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(address); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made}), 0o600))
	return tls.Certificate{Certificate: [][]byte{made}, PrivateKey: key}, file
}

// connected is a client with connections of its own.
func connected(t testing.TB, change func(*endpoint.Config)) *discovery.Client {
	t.Helper()
	cfg := endpoint.DefaultConfig()
	change(&cfg)
	transport, err := endpoint.NewTransport(cfg)
	require.NoError(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	patience := discovery.DefaultConfig()
	patience.Timeout, patience.AttemptTimeout = config.Duration(time.Second), config.Duration(500*time.Millisecond)
	return discovery.New(patience, transport, nil)
}

// A certificate is refused for a reason that the answer names.
func TestDiscoverOfCertificates(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for says, c := range map[string]struct {
		address, name string
		until         time.Time
		trusted       bool
	}{
		"":                                {"127.0.0.1", "here.test", soon, true},
		"certificate is not trusted":      {"127.0.0.1", "here.test", soon, false},
		"certificate is for another name": {"", "elsewhere.test", soon, true},
		"certificate is not valid now":    {"127.0.0.1", "here.test", time.Now().Add(-time.Hour), true},
	} {
		t.Run(says, func(t *testing.T) {
			made, file := certificate(t, c.address, c.name, c.until)
			server := httptest.NewUnstartedServer(http.HandlerFunc(manifest))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{made}, MinVersion: tls.VersionTLS12}
			server.EnableHTTP2 = true
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			server.StartTLS()
			t.Cleanup(server.Close)
			asking := connected(t, func(cfg *endpoint.Config) {
				if c.trusted {
					cfg.CAFile = file
				}
			})
			answer, err := asking.Discover(t.Context(), target(t, server.URL))
			if says == "" {
				require.NoError(t, err)
				require.False(t, answer.HTTP1)
				return
			}
			require.Equal(t, errcode.DiscoveryFailed, errcode.Of(err, ""))
			require.ErrorContains(t, err, says)
			require.ErrorContains(t, err, "1 attempt in")
		})
	}
}

// A connection that takes too long says so. No time is what every one takes too long for.
func TestDiscoverOfWhatTakesNoConnection(t *testing.T) {
	asking := connected(t, func(c *endpoint.Config) { c.ConnectTimeout = 1 })
	_, err := asking.Discover(t.Context(), target(t, serve(t, manifest)))
	require.ErrorContains(t, err, "did not take the connection in time")
	require.ErrorContains(t, err, "meta.endpoint.connect_timeout")
}

// Many a proxy speaks HTTP/1.1 only, so the answer says that one was asked.
func TestDiscoverThroughAProxyOfHTTP1(t *testing.T) {
	old := httptest.NewServer(http.HandlerFunc(manifest))
	t.Cleanup(old.Close)
	address := strings.TrimPrefix(old.URL, "http://")
	asking := connected(t, func(c *endpoint.Config) { c.HTTPProxy = address })
	_, err := asking.Discover(t.Context(), target(t, "http://greeter.test:9080"))
	require.Equal(t, errcode.NotHTTP2, errcode.Of(err, ""))
	require.ErrorContains(t, err, "through the proxy "+address)
}

// Where a proxy is in the way, the answer does not blame the endpoint.
func TestDiscoverThroughAProxyThatFails(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := closed.Addr().String()
	closed.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	t.Cleanup(refusing.Close)
	for name, c := range map[string]struct {
		uri    string
		change func(*endpoint.Config)
		says   string
	}{
		"nobody listens":         {"http://greeter.test:9080", func(c *endpoint.Config) { c.HTTPProxy = nobody }, "connect to the proxy for greeter.test:9080 (HTTP_PROXY)"},
		"nobody listens for TLS": {"https://greeter.test:9080", func(c *endpoint.Config) { c.HTTPSProxy = nobody }, "proxyconnect"},
		"it refuses": {
			"https://greeter.test:9080", func(c *endpoint.Config) { c.HTTPSProxy = strings.TrimPrefix(refusing.URL, "http://") },
			"answers 407 Proxy Authentication Required to CONNECT greeter.test:9080 (HTTPS_PROXY)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connected(t, c.change).Discover(t.Context(), target(t, c.uri))
			require.Equal(t, errcode.DiscoveryFailed, errcode.Of(err, ""))
			require.ErrorContains(t, err, "GET "+c.uri+"/discover through the proxy 127.0.0.1:")
			require.ErrorContains(t, err, "through a proxy, which fails; no_proxy")
			require.ErrorContains(t, err, c.says)
		})
	}
}
