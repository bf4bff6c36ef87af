// Package gateway is an HTTP gateway before a function, as those of the clouds are: it has a key and a path prefix, and hands
// requests to the function as events.
package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Format is that of the events: the form of REST APIs, or that of HTTP APIs.
type Format string

// The formats.
const (
	Version1 Format = "1.0"
	Version2 Format = "2.0"
)

// maxEvent bounds an event and its result, in bytes.
const maxEvent = 6 << 20

// Gateway hands the requests below a stage to a function.
type Gateway struct {
	// Function is where events are posted to, as JSON, and results come from.
	Function string
	Format   Format
	// Stage is the first segment of each path, and Key what the header x-api-key has to be.
	Stage, Key string
	// Timeout is how long the function may take.
	Timeout time.Duration

	requests atomic.Uint64
}

// event has the members of both formats.
type event struct {
	Version        string            `json:"version,omitempty"`
	Resource       string            `json:"resource,omitempty"`
	RouteKey       string            `json:"routeKey,omitempty"`
	Path           string            `json:"path,omitempty"`
	RawPath        string            `json:"rawPath,omitempty"`
	RawQueryString *string           `json:"rawQueryString,omitempty"`
	HTTPMethod     string            `json:"httpMethod,omitempty"`
	Headers        map[string]string `json:"headers"`
	RequestContext requestContext    `json:"requestContext"`
	// Body is null where the request has none, and base64 otherwise.
	Body            *string `json:"body"`
	IsBase64Encoded bool    `json:"isBase64Encoded"`
}

type requestContext struct {
	RequestID  string      `json:"requestId"`
	Stage      string      `json:"stage"`
	Path       string      `json:"path,omitempty"`
	HTTPMethod string      `json:"httpMethod,omitempty"`
	HTTP       *httpDetail `json:"http,omitempty"`
}

type httpDetail struct {
	Method   string `json:"method"`
	Path     string `json:"path"`
	Protocol string `json:"protocol"`
}

// result is what a function returns.
type result struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/"+g.Stage)
	switch {
	case !ok || !strings.HasPrefix(path, "/"):
		// The older kind does not tell a path that it does not have from one that may not be called.
		if g.Format == Version1 {
			refuse(w, http.StatusForbidden, "Missing Authentication Token")
		} else {
			refuse(w, http.StatusNotFound, "Not Found")
		}
		return
	case r.Header.Get("X-Api-Key") != g.Key:
		refuse(w, http.StatusForbidden, "Forbidden")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "Request Too Long")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.Timeout)
	defer cancel()
	answer, err := g.call(ctx, g.event(r, path, body))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		refuse(w, http.StatusGatewayTimeout, "Endpoint request timed out")
	case err != nil:
		refuse(w, http.StatusBadGateway, "Internal server error")
	default:
		answer.write(w)
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"message":%q}`, message) // the caller may be gone
}

func (g *Gateway) event(r *http.Request, path string, body []byte) event {
	e := event{
		Headers: map[string]string{}, IsBase64Encoded: len(body) > 0,
		RequestContext: requestContext{RequestID: strconv.FormatUint(g.requests.Add(1), 10), Stage: g.Stage},
	}
	for name, values := range r.Header {
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	e.Headers["host"] = r.Host
	if len(body) > 0 {
		encoded := base64.StdEncoding.EncodeToString(body)
		e.Body = &encoded
	}
	if g.Format == Version2 {
		e.Version, e.RouteKey, e.RawPath, e.RawQueryString = string(Version2), "ANY /{proxy+}", r.URL.Path, new("")
		e.RequestContext.HTTP = &httpDetail{r.Method, r.URL.Path, r.Proto}
		return e
	}
	e.Resource, e.Path, e.HTTPMethod = "/{proxy+}", path, r.Method
	e.RequestContext.Path, e.RequestContext.HTTPMethod = r.URL.Path, r.Method
	return e
}

func (g *Gateway) call(ctx context.Context, e event) (*result, error) {
	encoded, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.Function, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request) //nolint:gosec // to the function of the test
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // what was read counts
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("the function failed")
	}
	var answer result
	return &answer, json.NewDecoder(io.LimitReader(response.Body, maxEvent)).Decode(&answer)
}

func (r *result) write(w http.ResponseWriter) {
	body := []byte(r.Body)
	if r.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(r.Body)
		if err != nil {
			refuse(w, http.StatusBadGateway, "Internal server error")
			return
		}
		body = decoded
	}
	for name, value := range r.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(r.StatusCode)
	_, _ = w.Write(body) //nolint:gosec // what the function says, as gateways pass it on; the caller may be gone
}
