package ingress

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/cors"
	"go.opentelemetry.io/otel/trace/noop"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	"github.com/restate-go/restate/services/ingress/internal/builtin"
	"github.com/restate-go/restate/services/ingress/internal/front"
	"github.com/restate-go/restate/services/ingress/internal/handlers"
	"github.com/restate-go/restate/services/ingress/internal/meter"
	"github.com/restate-go/restate/services/ingress/internal/reflection"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
)

const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 5 * time.Minute
	maxHeaderBytes = 64 << 10
	// pingAfter is how long an HTTP/2 connection may be silent before the peer is asked whether it is still there.
	// Callers may wait for hours.
	pingAfter = 30 * time.Second
)

var errStarting = errors.New("the ingress is starting: it waits for the broker, a worker and the registry; nothing was run")

func (s *Service) newServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           s.handler,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// The limit of requests is one for all connections; one client with one connection may use it up.
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: s.cfg.ConcurrencyLimit, SendPingTimeout: pingAfter},
		ErrorLog: slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
	}
}

// opened answers the requests once the daemon can serve.
type opened struct {
	front *front.Front
	// handlers answers what they claim.
	handlers *handlers.Handlers
}

// newHandler returns what answers all requests, from the first moment on.
func (s *Service) newHandler() http.Handler {
	requests := cors.New(cors.Options{
		AllowOriginFunc:  func(string) bool { return true },
		AllowedMethods:   []string{http.MethodGet, http.MethodPost},
		AllowedHeaders:   []string{"*"},
		ExposedHeaders:   []string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Idempotency-Expires"},
		AllowCredentials: true,
	}).Handler(http.HandlerFunc(s.serve))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		// A request's path has two segments, so no service can be named so.
		case "/health", "/ready", "/metrics":
			s.deps.Probes.ServeHTTP(w, r)
		default:
			o := s.opened.Load()
			switch {
			case o == nil && handlers.Resembles(r):
				handlers.Unavailable(w, r, errStarting)
			case o != nil && o.handlers.Claims(r):
				o.handlers.ServeHTTP(w, r)
			default:
				requests.ServeHTTP(w, r)
			}
		}
	})
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	if o := s.opened.Load(); o != nil {
		o.front.ServeHTTP(w, r)
		return
	}
	rpc.Discard(w, r)
	reason := connect.NewError(connect.CodeUnavailable, errStarting)
	if err := connect.NewErrorWriter().Write(w, r, reason); err != nil {
		s.deps.Log.DebugContext(r.Context(), "a client left before it was refused", "error", err)
	}
}

// registryPoll is how often the start looks whether the registry has been read.
const registryPoll = 5 * time.Millisecond

// open begins to serve once the registry has been read.
func (s *Service) open(ctx context.Context, b *backend) error {
	poll := time.NewTicker(registryPoll)
	defer poll.Stop()
	for !b.registry.Ready() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
	tracer := s.deps.Tracer
	if _, none := tracer.(noop.Tracer); none {
		tracer = nil
	}
	maxBody := int(s.cfg.MaxBodySize)
	figures, err := meter.New(s.deps.Metrics, s.gate.Inside)
	if err != nil {
		return err
	}
	rpcs := front.New(front.Config{
		MaxBodyBytes: maxBody,
		BodyTimeout:  time.Duration(s.cfg.BodyTimeout),
	}, front.Deps{
		Snapshot:   b.registry.Current,
		Dispatcher: procedures{b.dispatcher},
		Builtins: builtins(maxBody, builtin.Deps{
			Snapshot: b.registry.Current, Dispatcher: procedures{b.dispatcher}, Workers: b.relay, Tracer: tracer,
		}),
		Tracer: tracer,
		Gate:   s.gate,
		Meter:  figures,
		Log:    s.deps.Log,
	})
	plain := handlers.New(handlers.Config{
		MaxBodyBytes: int64(maxBody),
		BodyTimeout:  time.Duration(s.cfg.BodyTimeout),
	}, handlers.Deps{
		Snapshot: b.registry.Current, Dispatcher: b.dispatcher, Tracer: tracer, Gate: s.gate, Meter: figures,
	})
	s.opened.Store(&opened{front: rpcs, handlers: plain})
	return nil
}

// builtins returns the handlers of the procedures that the runtime implements.
func builtins(maxBody int, deps builtin.Deps) map[string]front.Builtin {
	byPath := make(map[string]front.Builtin)
	for path, answer := range builtin.Procedures(deps) {
		byPath[path] = front.Builtin{Handler: rpc.NewHandler(path, answer)}
	}
	described := builtinDescriptors()
	names := make([]string, len(described))
	for i, service := range described {
		names[i] = string(service.FullName())
	}
	options := rpc.Options(maxBody)
	health := builtin.Health{Snapshot: deps.Snapshot, Builtins: names}
	path, handler := health.Check(options...)
	byPath[path] = front.Builtin{Handler: handler}
	path, handler = health.Watch(options...)
	byPath[path] = front.Builtin{Handler: handler, Streaming: true}
	for path, handler := range reflection.New(deps.Snapshot, described).Handlers(options...) {
		byPath[path] = front.Builtin{Handler: handler, Streaming: true}
	}
	return byPath
}

// builtinDescriptors returns the services that are callable without being registered.
func builtinDescriptors() []protoreflect.ServiceDescriptor {
	var services []protoreflect.ServiceDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		restatev1.File_dev_restate_services_proto,
		restatev1.File_dev_restate_remote_context_proto,
		healthv1.File_grpc_health_v1_health_proto,
		reflectionv1.File_grpc_reflection_v1_reflection_proto,
		reflectionv1alpha.File_grpc_reflection_v1alpha_reflection_proto,
	} {
		for i := range file.Services().Len() {
			services = append(services, file.Services().Get(i))
		}
	}
	return services
}
