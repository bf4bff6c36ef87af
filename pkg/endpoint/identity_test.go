package endpoint_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
)

func keyFile(t testing.TB, key any) string {
	t.Helper()
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	return file
}

func signer(t testing.TB, file string) (*endpoint.Signer, error) {
	t.Helper()
	cfg := endpoint.DefaultConfig()
	cfg.IdentityKeyFile = file
	return endpoint.NewSigner(cfg)
}

// unbase58 is the inverse of the encoding, for keys without leading zeros.
func unbase58(t testing.TB, text string) []byte {
	t.Helper()
	number := new(big.Int)
	for _, c := range text {
		digit := strings.IndexRune("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", c)
		require.GreaterOrEqual(t, digit, 0)
		number.Add(number.Mul(number, big.NewInt(58)), big.NewInt(int64(digit)))
	}
	return number.FillBytes(make([]byte, ed25519.PublicKeySize))
}

// read checks a token by the public key that users are told, and returns its claims.
func read(t testing.TB, header http.Header, publicKey string) map[string]any {
	t.Helper()
	require.Equal(t, "v1", header.Get("x-restate-signature-scheme"))
	parts := strings.Split(header.Get("x-restate-jwt-v1"), ".")
	require.Len(t, parts, 3)
	decode := func(text string) []byte {
		decoded, err := base64.RawURLEncoding.DecodeString(text)
		require.NoError(t, err)
		return decoded
	}
	encoded, ok := strings.CutPrefix(publicKey, "publickeyv1_")
	require.True(t, ok)
	require.True(t, ed25519.Verify(unbase58(t, encoded), []byte(parts[0]+"."+parts[1]), decode(parts[2])))
	var head map[string]string
	require.NoError(t, json.Unmarshal(decode(parts[0]), &head))
	require.Equal(t, map[string]string{"typ": "JWT", "alg": "EdDSA", "kid": publicKey}, head)
	var claims map[string]any
	require.NoError(t, json.Unmarshal(decode(parts[1]), &claims))
	return claims
}

func TestSignedRequests(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s, err := signer(t, keyFile(t, private))
	require.NoError(t, err)
	header, before := http.Header{"X-Restate-Jwt-V1": {"forged"}}, time.Now().Unix()
	require.NoError(t, s.Sign(header, "/invoke/S/h", new("a/b ü")))
	claims := read(t, header, s.PublicKey())
	require.Equal(t, "/invoke/S/h", claims["aud"])
	require.Equal(t, "a/b ü", claims["sub"])
	issued := int64(claims["iat"].(float64))
	require.InDelta(t, before, issued, 5)
	require.InDelta(t, issued-60, claims["nbf"], 0)
	require.InDelta(t, issued+60, claims["exp"], 0)
	require.NoError(t, s.Sign(header, "/discover", nil))
	require.NotContains(t, read(t, header, s.PublicKey()), "sub")
}

// The key and its public form are those of the documentation of the algorithm (RFC 8032, section 7.1, test 1).
func TestPublicKey(t *testing.T) {
	seed := []byte{
		0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
		0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
	}
	s, err := signer(t, keyFile(t, ed25519.NewKeyFromSeed(seed)))
	require.NoError(t, err)
	require.Equal(t, "publickeyv1_FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z", s.PublicKey())
}

func TestNothingIsSignedWithoutAKey(t *testing.T) {
	s, err := signer(t, "")
	require.NoError(t, err)
	header := http.Header{}
	require.NoError(t, s.Sign(header, "/discover", nil))
	require.Equal(t, http.Header{"X-Restate-Cluster-Name": {"localcluster"}}, header)
	require.Empty(t, s.PublicKey())
}

func TestClusterNamesThatNoHeaderCanHave(t *testing.T) {
	for _, name := range []string{"", "a\nb", " a", "a\x00", strings.Repeat("a", 256)} {
		cfg := endpoint.DefaultConfig()
		cfg.ClusterName = name
		_, err := endpoint.NewSigner(cfg)
		require.ErrorContains(t, err, "cluster_name", "%q", name)
	}
}

func TestNewSignerRefuses(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "key.pem")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	for says, file := range map[string]string{
		"no such file": filepath.Join(t.TempDir(), "none.pem"), "no PEM": write("x"), "one of Ed25519": keyFile(t, other),
		"PKCS#8": write("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
	} {
		_, err := signer(t, file)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "identity_key_file")
	}
	cfg := endpoint.DefaultConfig()
	cfg.IdentityKeyFile, cfg.IdentityLeeway = "x", config.Duration(time.Millisecond)
	_, err = endpoint.NewSigner(cfg)
	require.ErrorContains(t, err, "identity_leeway")
}
