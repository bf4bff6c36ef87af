package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/restate-go/restate/services/meta/internal/api"
)

const (
	// timeout bounds one request; a registration takes as long as the endpoint is given to start.
	timeout = time.Minute
	// maxAnswer bounds an answer of meta, in bytes.
	maxAnswer = 64 << 20
)

// client calls the REST API of meta.
type client struct {
	base *url.URL
	http *http.Client
}

func newClient(address string) (*client, error) {
	if address == "" {
		return nil, errors.New("where meta is served is not known: set meta.bind_address to a port, or pass --meta")
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("--meta %q is no address", address)
	}
	// HTTP_PROXY is about the way to service endpoints.
	return &client{base: base, http: &http.Client{Transport: &http.Transport{}, Timeout: timeout}}, nil
}

// call sends a request with the body, and decodes the answer; either may be nil. The path's parts are escaped.
func (c *client) call(ctx context.Context, method string, parts []string, query url.Values, body, into any) error {
	_, err := c.send(ctx, method, parts, query, body, into)
	return err
}

// send is call for those who have to tell one success from another: it returns the status.
func (c *client) send(ctx context.Context, method string, parts []string, query url.Values, body, into any) (status int, err error) {
	target := c.base.JoinPath(escaped(parts)...)
	target.RawQuery = query.Encode()
	content := io.Reader(http.NoBody)
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return 0, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, fmt.Errorf("meta cannot be reached (--meta says where it is): %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, fmt.Errorf("read the answer of meta: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return 0, failure(response, answer)
	}
	if into == nil {
		return response.StatusCode, nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return 0, fmt.Errorf("%s is not answered as meta does: %w", target, err)
	}
	return response.StatusCode, nil
}

func escaped(parts []string) []string {
	out := make([]string, len(parts))
	for i, part := range parts {
		out[i] = url.PathEscape(part)
	}
	return out
}

// failure returns what meta says went wrong.
func failure(response *http.Response, answer []byte) error {
	var failed api.Failure
	if json.Unmarshal(answer, &failed) == nil && failed.Message != "" {
		return errors.New(failed.Message)
	}
	return fmt.Errorf("%s answers %s: is it meta?", response.Request.URL, response.Status)
}
