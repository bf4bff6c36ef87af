package storagereader

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/services/storage-reader/internal/scan"
)

// newHandler serves gRPC, and the probes, on one port.
func (s *Service) newHandler() http.Handler {
	server := grpc.NewServer()
	scanv1.RegisterStorageServer(server, &scans{service: s})
	healthv1.RegisterHealthServer(server, &healthz{service: s})
	reflection.Register(server)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			server.ServeHTTP(&impatient{ResponseWriter: w, control: http.NewResponseController(w), patience: time.Duration(s.cfg.StallTimeout)}, r)
			return
		}
		s.deps.Probes.ServeHTTP(w, r)
	})
}

// impatient breaks a response off when the client takes nothing of it for too long: it would hold its place for ever.
type impatient struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

func (i *impatient) Write(content []byte) (int, error) {
	i.extend()
	return i.ResponseWriter.Write(content)
}

// Flush implements http.Flusher, which gRPC asks for.
func (i *impatient) Flush() {
	i.extend()
	_ = i.control.Flush() // the next write says what is wrong
}

func (i *impatient) extend() {
	_ = i.control.SetWriteDeadline(time.Now().Add(i.patience)) // a connection that is gone fails the write
}

// scans implements dev.restate.storage.scan.v1.Storage.
type scans struct {
	scanv1.UnimplementedStorageServer
	service *Service
}

// Scan answers INVALID_ARGUMENT for a filter that cannot be used, RESOURCE_EXHAUSTED when too many scans are in progress,
// UNAVAILABLE while there is no database to read, and INTERNAL when reading fails.
func (s *scans) Scan(request *scanv1.ScanRequest, stream scanv1.Storage_ScanServer) error {
	err := s.service.scan(stream.Context(), request, stream)
	s.service.metrics.scans.WithLabelValues(status.Code(err).String()).Inc()
	return err
}

func (s *Service) scan(ctx context.Context, request *scanv1.ScanRequest, stream scanv1.Storage_ScanServer) error {
	filter, err := scan.NewFilter(request)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d scans are in progress already (storage.concurrency_limit)", s.cfg.ConcurrencyLimit)
	}
	db := s.database.Load()
	if db == nil {
		return status.Error(codes.Unavailable, errNoLayout.Error())
	}
	started := time.Now()
	if err := db.Refresh(ctx); err != nil {
		return s.failed(ctx, codes.Unavailable, err)
	}
	s.metrics.refresh.Observe(time.Since(started).Seconds())
	rows := s.metrics.rows.WithLabelValues(filter.Table())
	err = scan.Run(ctx, db, filter, scan.DefaultLimits(), func(pair *scanv1.Pair) error {
		if err := stream.Send(pair); err != nil {
			return &sendError{err}
		}
		rows.Inc()
		s.metrics.bytes.Add(float64(len(pair.GetValue())))
		return nil
	})
	var sending *sendError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &sending):
		return sending.err
	default:
		return s.failed(ctx, codes.Internal, err)
	}
}

// sendError is an error of the client's stream, which has a status already.
type sendError struct{ err error }

func (e *sendError) Error() string { return e.err.Error() }

// failed makes a status of an error, and logs it unless the client went away.
func (s *Service) failed(ctx context.Context, code codes.Code, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	s.deps.Log.WarnContext(ctx, "a scan failed", "code", code.String(), "error", err)
	return status.Error(code, err.Error())
}

// healthz implements grpc.health.v1.Health: serving means that scans can be answered.
type healthz struct {
	healthv1.UnimplementedHealthServer
	service *Service
}

// Check knows the empty name, for the daemon, and that of the service.
func (h *healthz) Check(_ context.Context, request *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	switch request.GetService() {
	case "", scanv1.Storage_ServiceDesc.ServiceName:
	default:
		return nil, status.Errorf(codes.NotFound, "there is no service %q", request.GetService())
	}
	answer := healthv1.HealthCheckResponse_SERVING
	if h.service.ready() != nil {
		answer = healthv1.HealthCheckResponse_NOT_SERVING
	}
	return &healthv1.HealthCheckResponse{Status: answer}, nil
}
