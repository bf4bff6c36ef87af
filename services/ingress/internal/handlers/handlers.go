// Package handlers is the HTTP interface to services that a manifest describes: calls, sends, results of invocations,
// awakeables and health.
package handlers

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/restate-go/restate/pkg/schema"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	"github.com/restate-go/restate/services/ingress/internal/admission"
	"github.com/restate-go/restate/services/ingress/internal/meter"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
)

// Dispatcher makes records durable in the log of the partition that has the key. Errors are those of package dispatch.
type Dispatcher interface {
	// Ask waits for the answer to the record, which ask returns with the sink that the answer has to go to.
	Ask(ctx context.Context, partitionKey uint64, ask func(sink *logv1.ResponseSink) *logv1.Record) (*storagev1.IngressResponse, error)
	// Submit returns when the record is durable. It takes the record over.
	Submit(ctx context.Context, partitionKey uint64, record *logv1.Record) error
}

// Config bounds what a client may ask for.
type Config struct {
	// MaxBodyBytes is the size of the largest request.
	MaxBodyBytes int64
	// BodyTimeout is how long a request may take to arrive.
	BodyTimeout time.Duration
}

// Deps is what Handlers work with.
type Deps struct {
	// Snapshot returns the current services. It is called for each request.
	Snapshot   func() *schema.Snapshot
	Dispatcher Dispatcher
	// Tracer is nil where no traces are recorded; the callers' trace context is passed on all the same.
	Tracer trace.Tracer
	Gate   *admission.Gate
	Meter  *meter.Meter
}

// Handlers answers requests for the services that a manifest describes.
type Handlers struct {
	config Config
	deps   Deps
}

// New returns Handlers that serve at once.
func New(config Config, deps Deps) *Handlers { return &Handlers{config: config, deps: deps} }

// First segments of paths that name no service.
const (
	reserved        = "restate"
	reservedOpenAPI = "openapi"
)

// Claims says whether a request is for these handlers. One for a service that nobody knows is, where it looks like it:
// clients understand an error only in the form of their own kind. Protobuf services have a dot in their names, as a rule.
func (h *Handlers) Claims(r *http.Request) bool {
	first, _ := firstSegment(r)
	if service, known := h.deps.Snapshot().Service(first); known {
		return service.Descriptor == nil
	}
	return Resembles(r)
}

// Resembles says whether a request looks as if it were for these handlers, whatever services there are.
func Resembles(r *http.Request) bool {
	first, others := firstSegment(r)
	return first == reserved || first == reservedOpenAPI || others && !strings.Contains(first, ".") && !speaksRPC(r)
}

// firstSegment returns the first segment of the path, and whether something follows it.
func firstSegment(r *http.Request) (first string, others bool) {
	path, _ := rawPath(r)
	first, rest, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return first, rest != ""
}

// Unavailable answers a request that came before Handlers were there.
func Unavailable(w http.ResponseWriter, r *http.Request, reason error) {
	allowOrigins(w.Header(), r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return
	}
	rpc.Discard(w, r)
	refuse(http.StatusServiceUnavailable, "%s", reason).write(w)
}

// speaksRPC says whether a request can only be one of gRPC or Connect.
func speaksRPC(r *http.Request) bool {
	contentType := r.Header.Get(contentTypeHeader)
	return r.Header.Get("Connect-Protocol-Version") != "" ||
		strings.HasPrefix(contentType, "application/grpc") || strings.HasPrefix(contentType, "application/proto")
}

// described returns a service that a manifest describes.
func described(snapshot *schema.Snapshot, name string) (*schema.Service, bool) {
	service, ok := snapshot.Service(name)
	if !ok || service.Descriptor != nil {
		return nil, false
	}
	return service, true
}

// rawPath returns path and query as the client wrote them: handlers get to see them, and keys may have slashes in them.
func rawPath(r *http.Request) (path, query string) {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, query, _ = strings.Cut(r.RequestURI, "?")
		return path, query
	}
	return r.URL.EscapedPath(), r.URL.RawQuery // the absolute form, as proxies are asked
}

// ServeHTTP implements http.Handler.
func (h *Handlers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	allowOrigins(w.Header(), r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return
	}
	x := &exchange{handlers: h, w: w, r: r, snapshot: h.deps.Snapshot()}
	if r.ContentLength > h.config.MaxBodyBytes {
		x.answer(reply{}, refuse(http.StatusRequestEntityTooLarge, "%s", rpc.TooLarge(h.config.MaxBodyBytes)))
		return
	}
	if err := h.deps.Gate.Enter(); err != nil {
		x.answer(reply{}, refusedAtGate(err))
		return
	}
	defer h.deps.Gate.Leave()
	began := time.Now()
	x.answer(x.serve(r.Context()))
	if x.service != "" {
		h.deps.Meter.Took(x.service, x.method, time.Since(began))
	}
}

// exchange is one request and its response.
type exchange struct {
	handlers *Handlers
	w        http.ResponseWriter
	r        *http.Request
	snapshot *schema.Snapshot
	route    route

	// path and query as the client wrote them.
	path, query string
	// bodyRead says that nobody need care for the body any more.
	bodyRead bool
	// service and method are what is called, once that is known to exist.
	service, method string
}

func (x *exchange) serve(ctx context.Context) (reply, error) {
	x.path, x.query = rawPath(x.r)
	var err error
	x.route, err = parsePath(x.path, func(name string) (keyed, known bool) {
		service, known := described(x.snapshot, name)
		return known && isKeyed(service), known
	})
	if err != nil {
		return reply{}, err
	}
	if x.route.action == actionCall || x.route.action == actionSend {
		return x.call(ctx)
	}
	if err := x.route.checkMethod(x.r.Method); err != nil {
		return reply{}, err
	}
	switch x.route.action {
	case actionAttach, actionOutput:
		return x.result(ctx)
	case actionLookup:
		return x.lookup()
	case actionResolve, actionReject:
		return x.completeAwakeable(ctx)
	case actionHealth:
		return x.health()
	case actionCall, actionSend: // answered above
	}
	return reply{}, errNotFound
}

// body reads the request to its end.
func (x *exchange) body() ([]byte, error) {
	x.bodyRead = true
	data, err := rpc.ReadBody(x.w, x.r, x.handlers.config.MaxBodyBytes, x.handlers.config.BodyTimeout)
	if err != nil {
		return nil, unread(err)
	}
	return data, nil
}

func (x *exchange) health() (reply, error) {
	names := []string{}
	for _, service := range x.snapshot.Services() {
		names = append(names, service.Name)
	}
	return jsonReply(http.StatusOK, struct {
		Services []string `json:"services"`
	}{names})
}
