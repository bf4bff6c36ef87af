package suites

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/server"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
	"github.com/restate-go/restate/e2e/proxy"
)

// authority signs the certificates of endpoints.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the authority of a test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(made)
	require.NoError(t, err)
	return authority{parsed, key}
}

// file returns the path of a file with the authority's certificate.
func (a authority) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}), 0o600))
	return path
}

// sign makes a certificate for secure.test and 127.0.0.1.
func (a authority) sign(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		DNSNames: []string{"secure.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	made, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{made}, PrivateKey: key}
}

// secureHandlers serves the object name, of the Go SDK, with TLS, and returns its address. Over HTTP/1.1 it is a function.
func secureHandlers(t *testing.T, name string, signed tls.Certificate, protocols ...string) string {
	t.Helper()
	http1 := protocols[0] != "h2"
	object := restate.NewObject(name).Handler("add", restate.NewObjectHandler(func(ctx restate.ObjectContext, n int) (int, error) {
		value, err := restate.Get[int](ctx, "value")
		if err != nil {
			return 0, err
		}
		if err := restate.Sleep(ctx, 10*time.Millisecond); err != nil {
			return 0, err
		}
		restate.Set(ctx, "value", value+n)
		return value + n, nil
	}))
	handler, err := server.NewRestate().Bidirectional(!http1).Bind(object).Handler()
	require.NoError(t, err)
	return process.ServeTLS(t, handler, &tls.Config{
		Certificates: []tls.Certificate{signed}, NextProtos: protocols, MinVersion: tls.VersionTLS12,
	})
}

// TestTLS registers and calls endpoints with certificates of a private authority, over what TLS settles on, directly and
// through a proxy that is asked to connect.
func TestTLS(t *testing.T) {
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			known, unknown := newAuthority(t), newAuthority(t)
			direct := secureHandlers(t, "Direct", known.sign(t), "h2", "http/1.1")
			old := secureHandlers(t, "Old", known.sign(t), "http/1.1")
			hidden := secureHandlers(t, "Hidden", known.sign(t), "h2")
			connecting := proxy.New(map[string][]string{"secure.test:8443": {hidden}, "other.test:8443": {hidden}})
			ca := known.file(t)
			s := setting{Runtime: process.Start(t, mode,
				"RESTATE_META__ENDPOINT__CA_FILE", ca, "RESTATE_WORKER__ENDPOINT__CA_FILE", ca,
				"HTTPS_PROXY", strings.TrimPrefix(process.Serve(t, connecting), "http://"),
			)}
			for name, c := range map[string]struct{ address, version string }{
				"Direct": {direct, "HTTP/2.0"}, "Old": {old, "HTTP/1.1"}, "Hidden": {"secure.test:8443", "HTTP/2.0"},
			} {
				id := s.RegisterDeployment("https://" + c.address)
				require.Equal(t, c.version, s.MetaGet("/deployments/" + id).JSON(t)["http_version"], name)
				require.JSONEq(t, `2`, s.MustCall(name+"/key/add", `2`), name)
				require.JSONEq(t, `5`, s.MustCall(name+"/key/add", `3`), name)
			}
			require.GreaterOrEqual(t, connecting.Asked("secure.test:8443")[hidden], 2, "connections of meta and of the worker")

			for says, address := range map[string]string{
				"certificate is for another name": "other.test:8443",
				"certificate is not trusted":      secureHandlers(t, "Unknown", unknown.sign(t), "h2"),
			} {
				for _, collection := range []string{"/endpoints", "/deployments"} {
					refused := s.MetaDo(http.MethodPost, collection, `{"uri": "https://`+address+`"}`)
					require.Equal(t, http.StatusInternalServerError, refused.Status, refused.Body)
					require.Equal(t, "META0003", refused.JSON(t)["restate_code"])
					require.Contains(t, refused.Body, says)
					require.Contains(t, refused.Body, "GET https://"+address+"/discover")
				}
			}
		})
	}
}
