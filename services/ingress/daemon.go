package ingress

import (
	"context"

	"github.com/restate-go/restate/pkg/daemon/assembly"
)

// Daemon describes the ingress to the process that it is part of.
func Daemon() assembly.Daemon {
	cfg := DefaultConfig()
	return assembly.Daemon{
		Name:    "ingress",
		Section: "ingress",
		Config:  &cfg,
		Address: func() string { return cfg.BindAddress },
		Probes:  true,
		Purpose: "requests to services (gRPC, gRPC-Web, Connect, JSON)",
		Edge:    true,
		New: func(ctx context.Context, runtime assembly.Runtime) (assembly.Service, error) {
			listener, err := Listen(ctx, cfg)
			if err != nil {
				return nil, err
			}
			return New(cfg, Deps{
				Conn:     runtime.Conn,
				Listener: listener,
				Checks:   runtime.Checks,
				Probes:   runtime.Probes,
				Metrics:  runtime.Metrics,
				Tracer:   runtime.Tracer,
				Log:      runtime.Log,
			})
		},
	}
}
