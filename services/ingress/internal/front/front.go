// Package front is the ingress port: it finds out what a request wants and has it answered.
package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/trace"

	"github.com/restate-go/restate/pkg/schema"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	"github.com/restate-go/restate/services/ingress/internal/admission"
	"github.com/restate-go/restate/services/ingress/internal/meter"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
)

// Dispatcher runs invocations.
type Dispatcher interface {
	// Call makes the invocation durable and waits for its result. It takes the record over; errors are *connect.Error.
	Call(ctx context.Context, invoke *logv1.Invoke) (*storagev1.IngressResponse, error)
}

// Config bounds what a client may ask for.
type Config struct {
	// MaxBodyBytes is the size of the largest request.
	MaxBodyBytes int
	// BodyTimeout is how long a request may take to arrive.
	BodyTimeout time.Duration
}

// Builtin is the handler of a procedure that the runtime itself serves.
type Builtin struct {
	// Handler comes from rpc.NewHandler, unless it is a stream.
	Handler http.Handler
	// Streaming handlers read and write for as long as the client likes.
	Streaming bool
}

// Deps is what a Front works with.
type Deps struct {
	// Snapshot returns the current services. It is called for each request.
	Snapshot   func() *schema.Snapshot
	Dispatcher Dispatcher
	// Builtins by path. Their services must not be in the snapshot.
	Builtins map[string]Builtin
	// Tracer is nil where no traces are recorded; the callers' trace context is passed on all the same.
	Tracer trace.Tracer
	// Gate refuses what is too much with resource_exhausted, and what comes too late with unavailable.
	Gate  *admission.Gate
	Meter *meter.Meter
	Log   *slog.Logger
}

// Front is the handler of the ingress port.
type Front struct {
	config   Config
	deps     Deps
	refusals *connect.ErrorWriter
	routes   atomic.Pointer[routes]
}

// New returns a front that serves at once.
func New(config Config, deps Deps) *Front {
	return &Front{config: config, deps: deps, refusals: connect.NewErrorWriter(rpc.Options(config.MaxBodyBytes)...)}
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protocol, r := rpc.Classify(r)
	switch protocol {
	case rpc.ProtocolUnknown:
		f.unsupported(w, r)
	case rpc.ProtocolGRPCWebText:
		rpc.ServeWebText(http.HandlerFunc(f.serve), w, r)
	case rpc.ProtocolConnect, rpc.ProtocolGRPC, rpc.ProtocolGRPCWeb:
		f.serve(w, r)
	}
}

func (f *Front) serve(w http.ResponseWriter, r *http.Request) {
	if err := f.deps.Gate.Enter(); err != nil {
		code := connect.CodeResourceExhausted
		if errors.Is(err, admission.ErrStopping) {
			code = connect.CodeUnavailable
		}
		f.refuse(w, r, code, err)
		return
	}
	defer f.deps.Gate.Leave()
	service, method, ok := splitPath(r.URL.Path)
	if !ok {
		f.refuse(w, r, connect.CodeInvalidArgument, fmt.Errorf("the path %q is not /{service}/{method}", r.URL.Path))
		return
	}
	if builtin, ok := f.deps.Builtins[r.URL.Path]; ok {
		if builtin.Streaming {
			builtin.Handler.ServeHTTP(w, r)
			return
		}
		rpc.Serve(builtin.Handler, w, r, int64(f.config.MaxBodyBytes), f.config.BodyTimeout)
		return
	}
	current := f.currentRoutes()
	route, ok := current.byPath[r.URL.Path]
	switch {
	case !ok:
		f.refuse(w, r, connect.CodeNotFound, f.unknown(current.snapshot, service, method))
	case !route.public:
		f.refuse(w, r, connect.CodePermissionDenied, fmt.Errorf("the service %s is private", service))
	default:
		route.procedure.serve(w, r, f.config)
	}
}

// splitPath takes /{service}/{method} apart.
func splitPath(path string) (service, method string, ok bool) {
	if !strings.HasPrefix(path, "/") {
		return "", "", false
	}
	service, method, ok = strings.Cut(path[1:], "/")
	return service, method, ok && service != "" && method != "" && !strings.Contains(method, "/")
}

func (f *Front) unknown(snapshot *schema.Snapshot, service, method string) error {
	_, known := snapshot.Service(service)
	for path := range f.deps.Builtins {
		known = known || strings.HasPrefix(path, "/"+service+"/")
	}
	if known {
		return fmt.Errorf("the service %s has no method %s", service, method)
	}
	return fmt.Errorf("the service %s is not known; register the endpoint that serves it", service)
}

// unsupported answers a request in a protocol that is not spoken here. connect has no code for that, and the 2023 ingress
// answered with the status alone.
func (f *Front) unsupported(w http.ResponseWriter, r *http.Request) {
	rpc.Discard(w, r)
	code := connect.CodeInvalidArgument.String()
	f.deps.Meter.Refused(code)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnsupportedMediaType)
	reason := map[string]string{"code": code, "message": fmt.Sprintf(
		"the content type %q is not served: send application/json, application/proto, application/grpc or application/grpc-web",
		r.Header.Get("Content-Type"))}
	if err := json.NewEncoder(w).Encode(reason); err != nil {
		f.deps.Log.DebugContext(r.Context(), "a client left before it was refused", "path", r.URL.Path, "error", err)
	}
}

// refuse answers a request that is not looked into.
func (f *Front) refuse(w http.ResponseWriter, r *http.Request, code connect.Code, reason error) {
	rpc.Discard(w, r)
	f.deps.Meter.Refused(code.String())
	if err := f.refusals.Write(w, r, connect.NewError(code, reason)); err != nil {
		f.deps.Log.DebugContext(r.Context(), "a client left before it was refused", "path", r.URL.Path, "error", err)
	}
}
