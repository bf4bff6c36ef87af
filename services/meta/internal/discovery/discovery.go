// Package discovery asks service endpoints what they serve.
package discovery

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
)

// Config of discovery.
type Config struct {
	// Timeout bounds the discovery of an endpoint, all attempts together. Default 10s.
	Timeout config.Duration `yaml:"timeout"`
	// AttemptTimeout bounds one attempt. Default 5s.
	AttemptTimeout config.Duration `yaml:"attempt_timeout" split_words:"true"`
	// MaxResponseSize is the largest answer accepted. Default 6 MiB, which the registry has room for.
	MaxResponseSize config.Size `yaml:"max_response_size" split_words:"true"`
}

// DefaultConfig is what is in force where nothing else is said.
func DefaultConfig() Config {
	return Config{
		Timeout: config.Duration(10 * time.Second), AttemptTimeout: config.Duration(5 * time.Second), MaxResponseSize: 6 << 20,
	}
}

// Transport reaches endpoints.
type Transport interface {
	// To returns what requests to the endpoint are sent through.
	To(e *schema.Endpoint) http.RoundTripper
	// Proxy names the proxy that is on the way to the URI; empty for none.
	Proxy(uri *url.URL) string
}

// Client discovers endpoints.
type Client struct {
	cfg       Config
	transport Transport
	signer    *endpoint.Signer
}

// New returns a client that sends its requests through the transport, signed.
func New(cfg Config, transport Transport, signer *endpoint.Signer) *Client {
	return &Client{cfg, transport, signer}
}

// Target is an endpoint to be discovered.
type Target struct {
	// URI, or ARN of a function.
	URI *url.URL
	// Headers go with the request.
	Headers map[string]string
	// HTTP1 has it asked over HTTP/1.1.
	HTTP1 bool
	// AssumeRole is the ARN of the role that a function is invoked as; empty for none.
	AssumeRole string
}

// Answer is what an endpoint says of itself.
type Answer struct {
	*schema.Discovery
	// SDK is what the endpoint calls itself; those of 2023 do not.
	SDK string
	// HTTP1 says that it was reached over HTTP/1.1: it was to be, or TLS settled on it.
	HTTP1 bool
}

const (
	descriptorsType = "application/proto"
	manifestPrefix  = "application/vnd.restate.endpointmanifest.v"
	manifestSuffix  = "+json"
	// maxManifest is the latest form of the manifest that is asked for. What is new in a form are members.
	maxManifest = 4

	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// accept names the forms of an answer, the latest first.
func accept() string {
	var types []string
	for v := maxManifest; v > 0; v-- {
		types = append(types, manifestPrefix+strconv.Itoa(v)+manifestSuffix)
	}
	return strings.Join(append(types, descriptorsType), ", ")
}

// Discover asks an endpoint what it serves. One that cannot be reached, or is still starting, is asked again until the
// time is up. The error is an *errcode.Error that says what was tried and what came back: DiscoveryFailed, NotHTTP2, or
// a code of what the endpoint serves.
func (c *Client) Discover(ctx context.Context, target Target) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.cfg.Timeout))
	defer cancel()
	q := newQuestion(target)
	began, pause := time.Now(), firstPause
	for attempt := 1; ; attempt++ {
		answer, err := c.ask(ctx, q)
		if err == nil {
			return answer, nil
		}
		if other, ok := q.otherwise(err); ok {
			q = other
			continue
		}
		again := passing(err)
		if again {
			select {
			case <-ctx.Done():
				again = false
			case <-time.After(pause):
				pause = min(2*pause, longestPause)
			}
		}
		if !again {
			via := c.transport.Proxy(target.URI)
			if via != "" {
				via = " through the proxy " + via
			}
			return nil, errcode.New(errcode.Of(err, errcode.DiscoveryFailed), "%s %s%s (%s in %s): %w",
				q.method, q.url(), via, attempts(attempt), time.Since(began).Round(time.Millisecond), errcode.Reason(err))
		}
	}
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

// ask makes one attempt.
func (c *Client) ask(ctx context.Context, q question) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.cfg.AttemptTimeout))
	defer cancel()
	request, err := q.request(ctx)
	if err == nil {
		err = c.signer.Sign(request.Header, discoverPath, nil)
	}
	if err != nil {
		return nil, err
	}
	response, err := c.transport.To(&q.to).RoundTrip(request)
	if err != nil {
		return nil, explain(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing is lost: what was read counts
	read, err := check(response)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(c.cfg.MaxResponseSize)+1))
	if len(body) > int(c.cfg.MaxResponseSize) {
		return nil, fmt.Errorf("the answer is larger than %s; serve fewer services there, or raise meta.discovery.max_response_size",
			c.cfg.MaxResponseSize)
	}
	if err != nil {
		return nil, fmt.Errorf("the answer broke off after %d bytes: %w", len(body), explain(err))
	}
	discovered, err := read(body)
	if err != nil {
		return nil, err
	}
	return &Answer{Discovery: discovered, SDK: response.Header.Get("X-Restate-Server"), HTTP1: response.ProtoMajor == 1}, nil
}

// check looks at status and header of an answer, and returns what reads its body.
func check(response *http.Response) (read func([]byte) (*schema.Discovery, error), err error) {
	switch status := response.StatusCode; {
	case status/100 == 3:
		return nil, fmt.Errorf("the endpoint answers %s to %q; redirects are not followed: register the address that it points to",
			response.Status, response.Header.Get("Location"))
	case status/100 != 2:
		return nil, &statusError{status, response.Status, beginning(response)}
	}
	given := response.Header.Get("Content-Type")
	if isManifest(given) {
		return schema.ReadManifest, nil
	}
	if mediaType, _, err := mime.ParseMediaType(given); err == nil && mediaType == descriptorsType {
		return schema.ReadDescriptors, nil
	}
	return nil, fmt.Errorf("the endpoint answers %s with the content type %q: what is at this URI is no service endpoint of a "+
		"supported SDK; check host, port and path", response.Status, given)
}

// isManifest says whether the content type is one of those asked for.
func isManifest(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, manifestPrefix)
	if !ok {
		return false
	}
	number, ok := strings.CutSuffix(rest, manifestSuffix)
	if !ok {
		return false
	}
	version, err := strconv.Atoi(number)
	return err == nil && version >= 1 && version <= maxManifest
}
