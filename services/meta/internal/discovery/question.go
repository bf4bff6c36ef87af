package discovery

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
)

// question is how an endpoint is asked.
type question struct {
	method string
	// to is as much of the endpoint as is known.
	to schema.Endpoint
}

// discoverPath comes after the path of the endpoint.
const discoverPath = "/discover"

func newQuestion(target Target) question {
	return question{method: http.MethodGet, to: schema.Endpoint{
		URI: target.URI.String(), AdditionalHeaders: target.Headers, HTTP1: target.HTTP1, AssumeRole: target.AssumeRole,
	}}
}

// otherwise returns another way to ask after an attempt failed, if there is one. Endpoints of 2023 that are behind a
// gateway may be reached by POST only, and TLS settles on HTTP/1.1 where the peer speaks nothing else.
func (q question) otherwise(failed error) (question, bool) {
	var status *statusError
	switch {
	case q.method == http.MethodGet && errors.As(failed, &status) && status.refusesMethod():
		q.method = http.MethodPost
		return q, true
	case !q.to.HTTP1 && strings.HasPrefix(q.to.URI, "https:") && errcode.Of(failed, "") == errcode.NotHTTP2:
		q.to.HTTP1 = true
		return q, true
	}
	return q, false
}

// url is for people.
func (q question) url() string { return strings.TrimRight(q.to.URI, "/") + discoverPath }

func (q question) request(ctx context.Context) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, q.method, q.to.URI, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.URL.Path = strings.TrimRight(request.URL.Path, "/") + discoverPath
	request.Header.Set("Accept", accept())
	if q.method == http.MethodPost {
		request.Header.Set("Content-Type", descriptorsType)
	}
	request.Header["User-Agent"] = nil
	for name, value := range q.to.AdditionalHeaders {
		if strings.EqualFold(name, "host") {
			request.Host = value
			continue
		}
		request.Header.Add(name, value)
	}
	return request, nil
}
