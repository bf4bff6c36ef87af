// Package endpoint is how the runtime connects to service endpoints, for discovery and for invocations.
package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint/lambda"
	"github.com/restate-go/restate/pkg/schema"
)

// Config of the connections.
type Config struct {
	// ConnectTimeout bounds the time to open a connection, TLS included. Default 10s.
	ConnectTimeout config.Duration `yaml:"connect_timeout" split_words:"true"`
	// IdleTimeout is how long a connection without requests stays open; more than 0, and never more than three quarters of
	// PingInterval. Default 30s.
	IdleTimeout config.Duration `yaml:"idle_timeout" split_words:"true"`
	// PingInterval is how long a connection may be silent before it is asked for a sign of life, PingTimeout how
	// long that may take. One that takes nothing for as long as both is closed. Defaults 40s and 20s; an interval of 0 is
	// never. A connection without requests is not asked, for it is closed before.
	PingInterval config.Duration `yaml:"ping_interval" split_words:"true"`
	PingTimeout  config.Duration `yaml:"ping_timeout" split_words:"true"`
	// ClusterName is told to endpoints with each request. Default localcluster.
	ClusterName string `yaml:"cluster_name" split_words:"true"`
	// CAFile names a PEM file with certificate authorities to trust beside those of the system.
	CAFile string `yaml:"ca_file" split_words:"true"`
	// IdentityKeyFile names a PEM file with the private key, of Ed25519 in PKCS#8, that requests are signed with. Empty:
	// they are not signed.
	IdentityKeyFile string `yaml:"identity_key_file" split_words:"true"`
	// IdentityLeeway is how long a signature is good for, before and after it is made; 1s or more. Default 1m.
	IdentityLeeway config.Duration `yaml:"identity_leeway" split_words:"true"`
	// HTTPProxy, HTTPSProxy and NoProxy are as the environment variables of these names; a proxy without a scheme is
	// reached by http, and HTTPProxy by nothing else. Requests to http endpoints go through HTTPProxy as they are: HTTP/2
	// with the endpoint's own authority, so that an L7 proxy can balance them. Endpoints on localhost are always reached
	// directly.
	HTTPProxy  string `yaml:"http_proxy" split_words:"true"`
	HTTPSProxy string `yaml:"https_proxy" split_words:"true"`
	NoProxy    string `yaml:"no_proxy" split_words:"true"`
	// AWS configures how endpoints are reached that are functions on AWS Lambda.
	AWS lambda.Config `yaml:"aws" ignored:"true"`
}

// DefaultConfig is what is in force where nothing else is said.
func DefaultConfig() Config {
	return Config{
		ConnectTimeout: config.Duration(10 * time.Second),
		IdleTimeout:    config.Duration(30 * time.Second),
		PingInterval:   config.Duration(40 * time.Second),
		PingTimeout:    config.Duration(20 * time.Second),
		ClusterName:    "localcluster",
		IdentityLeeway: config.Duration(time.Minute),
	}
}

// Transport sends requests to service endpoints.
type Transport struct {
	plain, secure, http1 *http.Transport
	proxyOf              func(*url.URL) (*url.URL, error)
	functions            *lambda.Client
}

const (
	// maxResponseHeader bounds the header of a response, in bytes, and all that precedes it with a status below 200.
	maxResponseHeader = 64 << 10
	// streamBuffer is how much of a response an endpoint may send before it is read, in bytes.
	streamBuffer = 512 << 10
)

// idleHTTP1 is how many connections to an endpoint of HTTP/1.1 stay open that no request uses.
const idleHTTP1 = 128

// NewTransport returns a transport for service endpoints. It speaks HTTP/2 only: with prior knowledge to http URIs, by
// ALPN to https URIs; To returns the one for each endpoint. Request and response bodies may flow at the same time.
// A further connection is opened when the peer's limit of streams is reached. Redirects are not its business, and
// nothing bounds the time to the response header: that is the caller's.
func NewTransport(cfg Config) (*Transport, error) {
	if cfg.IdleTimeout <= 0 {
		return nil, fmt.Errorf("idle_timeout is %s, and has to be more than 0", cfg.IdleTimeout)
	}
	// HTTP/2 of the standard library asks idle connections too, which could keep an endpoint awake that nobody uses.
	if cfg.PingInterval > 0 {
		cfg.IdleTimeout = min(cfg.IdleTimeout, cfg.PingInterval*3/4)
	}
	roots, err := roots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: time.Duration(cfg.ConnectTimeout)}
	proxyOf := (&httpproxy.Config{HTTPProxy: cfg.HTTPProxy, HTTPSProxy: cfg.HTTPSProxy, NoProxy: cfg.NoProxy}).ProxyFunc()
	dial := dialer.DialContext
	if cfg.HTTPProxy != "" {
		proxy, err := proxyAddress(cfg.HTTPProxy)
		if err != nil {
			return nil, err
		}
		dial = throughProxy(dialer, proxyOf, proxy)
	}
	plain := newTransport(cfg, mending(dial))
	plain.Protocols.SetUnencryptedHTTP2(true)
	secure, http1 := newTransport(cfg, dialer.DialContext), newTransport(cfg, dialer.DialContext)
	secure.Protocols.SetHTTP2(true)
	http1.Protocols.SetHTTP1(true)
	http1.MaxIdleConnsPerHost = idleHTTP1
	for _, t := range []*http.Transport{secure, http1} {
		t.Proxy = func(r *http.Request) (*url.URL, error) { return proxyOf(r.URL) }
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		t.TLSHandshakeTimeout = time.Duration(cfg.ConnectTimeout)
		t.OnProxyConnectResponse = checkTunnel
	}
	return &Transport{
		plain: plain, secure: secure, http1: http1, functions: lambda.New(cfg.AWS, http1), proxyOf: proxyOf,
	}, nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func newTransport(cfg Config, dial dialFunc) *http.Transport {
	return &http.Transport{
		DialContext:            dial,
		Protocols:              &http.Protocols{},
		IdleConnTimeout:        time.Duration(cfg.IdleTimeout),
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxResponseHeader,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: streamBuffer,
			// A peer that does not read is lost: everything that goes to it, window updates too, waits for one lock.
			WriteByteTimeout: time.Duration(cfg.PingInterval + cfg.PingTimeout),
			SendPingTimeout:  time.Duration(cfg.PingInterval), PingTimeout: time.Duration(cfg.PingTimeout),
		},
	}
}

// mending is for connections without TLS: those with it are decrypted where nothing can be put in between.
func mending(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return mend(conn), nil
	}
}

// throughProxy connects to the proxy instead of the addresses that are to be reached through it. The transport does not
// know of this proxy, so that it sends the requests as they are.
func throughProxy(dialer *net.Dialer, proxyOf func(*url.URL) (*url.URL, error), proxy string) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		chosen, err := proxyOf(&url.URL{Scheme: "http", Host: address})
		if err != nil {
			return nil, fmt.Errorf("choose a proxy for %s: %w", address, err)
		}
		if chosen == nil {
			return dialer.DialContext(ctx, network, address)
		}
		connection, err := dialer.DialContext(ctx, network, proxy)
		if err != nil {
			return nil, &proxyError{fmt.Errorf("connect to the proxy for %s (HTTP_PROXY): %w", address, err)}
		}
		return connection, nil
	}
}

// proxyError is that a proxy could not be reached, or did not let a request through.
type proxyError struct{ error }

func (e *proxyError) Unwrap() error { return e.error }

// IsProxyFailure says whether a request failed at a proxy, before it was on its way to the endpoint.
func IsProxyFailure(err error) bool {
	var proxy *proxyError
	var operation *net.OpError
	return errors.As(err, &proxy) || errors.As(err, &operation) && operation.Op == "proxyconnect" // so says net/http
}

// checkTunnel looks at what a proxy answers that was asked to connect.
func checkTunnel(_ context.Context, proxy *url.URL, request *http.Request, response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{fmt.Errorf("the proxy %s answers %s to CONNECT %s (HTTPS_PROXY)", proxy.Host, response.Status, request.Host)}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" {
		return t.secure.RoundTrip(r)
	}
	return t.plain.RoundTrip(r)
}

// Proxy returns host and port of the proxy that requests to the URI go through; empty where they go directly.
func (t *Transport) Proxy(uri *url.URL) string {
	proxy, err := t.proxyOf(uri)
	if err != nil || proxy == nil {
		return ""
	}
	return proxy.Host
}

// To returns the transport for requests to the endpoint, which is t itself unless it is called over HTTP/1.1, with TLS or
// without, or is a function. All share the configuration, and are closed with t. Functions get the request when its body
// has ended, and answer in one piece (lambda.Client.Transport).
func (t *Transport) To(e *schema.Endpoint) http.RoundTripper {
	switch {
	case e.IsFunction():
		return t.functions.Transport(lambda.Function{ARN: e.URI, Role: e.AssumeRole, Compression: e.Compression})
	case e.HTTP1:
		return t.http1
	}
	return t
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	t.plain.CloseIdleConnections()
	t.secure.CloseIdleConnections()
	t.http1.CloseIdleConnections()
}

func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil stands for the system's authorities
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authorities: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// proxyAddress returns host and port of a proxy.
func proxyAddress(proxy string) (string, error) {
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	u, err := url.Parse(proxy)
	switch {
	case err != nil || u.Hostname() == "":
		return "", errors.New("HTTP_PROXY is not an address: " + proxy)
	case u.Scheme != "http": // to send in clear what is meant to be encrypted would be worse than to refuse
		return "", fmt.Errorf("HTTP_PROXY is %s://%s: requests to http endpoints can only go to a proxy that is reached by http", u.Scheme, u.Host)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
