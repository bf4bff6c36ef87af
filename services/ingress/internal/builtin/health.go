package builtin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/restate-go/restate/pkg/schema"
)

// Health says of services whether requests may call them, as grpc.health.v1.Health.
type Health struct {
	// Snapshot returns the current services.
	Snapshot func() *schema.Snapshot
	// Builtins are the names of the services that are always there.
	Builtins []string
}

// Check returns the path and the handler of the unary procedure.
func (h Health) Check(options ...connect.HandlerOption) (string, http.Handler) {
	path := healthv1.Health_Check_FullMethodName
	return path, connect.NewUnaryHandler(path, h.check, options...)
}

// Watch returns the path and the handler of the stream, which is not offered, as in the 2023 releases.
func (h Health) Watch(options ...connect.HandlerOption) (string, http.Handler) {
	path := healthv1.Health_Watch_FullMethodName
	return path, connect.NewServerStreamHandler(path, func(
		context.Context, *connect.Request[healthv1.HealthCheckRequest], *connect.ServerStream[healthv1.HealthCheckResponse],
	) error {
		return connect.NewError(connect.CodeUnimplemented, errors.New("health cannot be watched, ask again with Check"))
	}, options...)
}

func (h Health) check(
	_ context.Context, request *connect.Request[healthv1.HealthCheckRequest],
) (*connect.Response[healthv1.HealthCheckResponse], error) {
	status := healthv1.HealthCheckResponse_SERVING
	if name := request.Msg.GetService(); name != "" && !slices.Contains(h.Builtins, name) {
		service, ok := h.Snapshot().Service(name)
		if !ok {
			return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("the service %q is not known", name))
		}
		if !service.Public {
			status = healthv1.HealthCheckResponse_NOT_SERVING
		}
	}
	return connect.NewResponse(&healthv1.HealthCheckResponse{Status: status}), nil
}
