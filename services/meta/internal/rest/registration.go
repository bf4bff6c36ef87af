package rest

import (
	"context"
	"fmt"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/discovery"
)

// discover asks the endpoint, and returns what can be registered of it.
func (a *API) discover(ctx context.Context, target discovery.Target) (schema.Registration, error) {
	answer, err := a.Discovery.Discover(ctx, target)
	if err != nil {
		return schema.Registration{}, errcode.Wrap(errcode.Of(err, errcode.Unexpected),
			fmt.Errorf("register %s: %w", target.URI, errcode.Reason(err)))
	}
	return schema.Registration{
		Endpoint: schema.Endpoint{
			URI: target.URI.String(), AdditionalHeaders: target.Headers, AssumeRole: target.AssumeRole,
			HTTP1: answer.HTTP1, SDK: answer.SDK,
			CreatedAt: uint64(time.Now().UnixMilli()),
		},
		Discovery: answer.Discovery,
	}, nil
}

// commit registers an endpoint; in a dry run, it only says what that would give.
func (a *API) commit(ctx context.Context, r schema.Registration, dry bool) (*schema.Snapshot, *schema.Endpoint, error) {
	register := a.Writer.Register
	if dry {
		register = a.Writer.Preview
	} else {
		r.Tolerated = func(err error) {
			a.Log.Warn("a revision is incompatible with the one before, and is registered nevertheless", "uri", r.Endpoint.URI, "error", err)
		}
	}
	snapshot, registered, err := register(ctx, r)
	if err != nil {
		return nil, nil, errcode.Wrap(errcode.Of(err, errcode.Unexpected), fmt.Errorf("register %s: %w", r.Endpoint.URI, errcode.Reason(err)))
	}
	if dry {
		return snapshot, registered, nil
	}
	a.settle(ctx, snapshot)
	names := make([]string, len(registered.Services))
	for i, service := range registered.Services {
		names[i] = service.Name
	}
	a.Log.Info("registered an endpoint", "uri", registered.URI, "endpoint", registered.ID, "services", strings.Join(names, " "))
	return snapshot, registered, nil
}

// settleLimit bounds how long an answer waits for this daemon to see the change it made.
const settleLimit = 2 * time.Second

// settle waits until this daemon and the ingresses know the snapshot, so that what follows the answer finds it. It is
// no failure if one does not in time: it will.
func (a *API) settle(ctx context.Context, snapshot *schema.Snapshot) {
	if err := schema.AwaitSync(ctx, a.Conn, snapshot.Revision()); err != nil {
		a.Log.Warn("an ingress does not know the latest change yet", "error", err)
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := a.Registry.WaitFor(ctx, snapshot.Revision()); err != nil {
		a.Log.Warn("meta does not know the latest change yet", "error", err)
	}
}

// maxURI bounds the URI of an endpoint, in bytes.
const maxURI = 2048

// parseURI returns the one form that a URI is registered under, however it is written.
func parseURI(text string) (*url.URL, error) {
	if len(text) > maxURI {
		return nil, errcode.New(errcode.BadRequest, "the uri has %d bytes, the most is %d", len(text), maxURI)
	}
	uri, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errcode.Wrap(errcode.BadRequest, err)
	case text == "":
		return nil, errcode.New(errcode.BadRequest, "the member uri is missing: http://host:port/path or https://host:port/path")
	case uri.Scheme != "http" && uri.Scheme != "https" || uri.Hostname() == "":
		return nil, errcode.New(errcode.BadRequest, "the uri %q has to be http://host:port/path or https://host:port/path", text)
	case uri.RawQuery != "" || uri.ForceQuery || uri.Fragment != "" || uri.User != nil:
		return nil, errcode.New(errcode.BadRequest, "the uri %q may have neither user, query nor fragment", text)
	}
	if port := uri.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return nil, errcode.New(errcode.BadRequest, "the uri %q has a port that is none", text)
		}
	}
	path := strings.TrimRight(uri.EscapedPath(), "/")
	if path == "" {
		path = "/"
	}
	return url.Parse(uri.Scheme + "://" + strings.ToLower(strings.TrimSuffix(uri.Host, ":")) + path)
}

// checkHeaders refuses headers that cannot be sent over HTTP/2, and those that the runtime sets itself.
func checkHeaders(headers map[string]string) error {
	for name, value := range headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return errcode.New(errcode.BadRequest, "the additional header %q is not allowed in HTTP", name)
		}
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Content-Type", "Accept", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection",
			"Upgrade", "Te", "Trailer":
			return errcode.New(errcode.BadRequest, "the header %s is set by the runtime", name)
		}
	}
	return nil
}
