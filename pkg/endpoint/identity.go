package endpoint

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Signer tells endpoints who asks: the name of the cluster, and if it has a key a signature, by which they can tell the
// runtime from others: a JWT in x-restate-jwt-v1, as the SDKs check it. A nil signer tells nothing.
type Signer struct {
	cluster string
	key     ed25519.PrivateKey
	// name is the public key as users give it to SDKs.
	name   string
	prefix string // the header of each token, encoded
	leeway time.Duration
	now    func() time.Time
}

const (
	clusterHeader = "X-Restate-Cluster-Name"

	schemeHeader = "X-Restate-Signature-Scheme"
	tokenHeader  = "X-Restate-Jwt-V1" //nolint:gosec // the name of a header
	scheme       = "v1"
	namePrefix   = "publickeyv1_"
	// minLeeway is the least that a token is good for before and after its time.
	minLeeway = time.Second
)

// NewSigner returns the signer that is configured.
func NewSigner(cfg Config) (*Signer, error) {
	if err := checkClusterName(cfg.ClusterName); err != nil {
		return nil, err
	}
	if cfg.IdentityKeyFile == "" {
		return &Signer{cluster: cfg.ClusterName}, nil
	}
	if time.Duration(cfg.IdentityLeeway) < minLeeway {
		return nil, fmt.Errorf("identity_leeway is %s, and has to be %s or more", cfg.IdentityLeeway, minLeeway)
	}
	text, err := os.ReadFile(cfg.IdentityKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the key that requests are signed with (identity_key_file): %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("the key that requests are signed with (identity_key_file %s): %w", cfg.IdentityKeyFile, err)
	}
	public := key.Public().(ed25519.PublicKey) //nolint:forcetypeassert,errcheck // that of an Ed25519 key
	s := &Signer{
		cluster: cfg.ClusterName, key: key, name: namePrefix + base58(public),
		leeway: time.Duration(cfg.IdentityLeeway), now: time.Now,
	}
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "EdDSA", "kid": s.name})
	if err != nil {
		return nil, err
	}
	s.prefix = base64.RawURLEncoding.EncodeToString(header) + "."
	return s, nil
}

// maxClusterName is in bytes.
const maxClusterName = 255

// checkClusterName refuses what cannot be the value of a header.
func checkClusterName(name string) error {
	if name == "" || len(name) > maxClusterName || !httpguts.ValidHeaderFieldValue(name) || strings.TrimSpace(name) != name {
		return fmt.Errorf("cluster_name is %q, and has to be 1 to %d printable characters", name, maxClusterName)
	}
	return nil
}

func parseKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it is no private key in PKCS#8: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T, and has to be one of Ed25519", parsed)
	}
	return key, nil
}

// PublicKey is what SDKs are given to check the signatures with: publickeyv1_...; empty where nothing is signed.
func (s *Signer) PublicKey() string {
	if s == nil {
		return ""
	}
	return s.name
}

type claims struct {
	Audience  string  `json:"aud"`
	IssuedAt  int64   `json:"iat"`
	NotBefore int64   `json:"nbf"`
	Expires   int64   `json:"exp"`
	Subject   *string `json:"sub,omitempty"`
}

// Sign sets the header of a request. path is that of the service protocol, without what the endpoint's URI has before
// it: /discover or /invoke/{service}/{handler}. key is that of the service instance; nil for a service without keys.
func (s *Signer) Sign(header http.Header, path string, key *string) error {
	if s == nil {
		return nil
	}
	header.Set(clusterHeader, s.cluster)
	if s.key == nil {
		return nil
	}
	now := s.now()
	body, err := json.Marshal(claims{
		Audience: path, IssuedAt: now.Unix(), NotBefore: now.Add(-s.leeway).Unix(), Expires: now.Add(s.leeway).Unix(), Subject: key,
	})
	if err != nil {
		return fmt.Errorf("sign a request: %w", err)
	}
	signed := s.prefix + base64.RawURLEncoding.EncodeToString(body)
	signature := ed25519.Sign(s.key, []byte(signed))
	header.Set(schemeHeader, scheme)
	header.Set(tokenHeader, signed+"."+base64.RawURLEncoding.EncodeToString(signature))
	return nil
}

const base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// base58 is the encoding of Bitcoin: the number in base 58, with a 1 for each leading zero byte.
func base58(b []byte) string {
	var digits []byte
	number, base, digit := new(big.Int).SetBytes(b), big.NewInt(int64(len(base58Alphabet))), new(big.Int)
	for number.Sign() > 0 {
		number.DivMod(number, base, digit)
		digits = append(digits, base58Alphabet[digit.Int64()])
	}
	for _, c := range b {
		if c != 0 {
			break
		}
		digits = append(digits, base58Alphabet[0])
	}
	slices.Reverse(digits)
	return string(digits)
}
