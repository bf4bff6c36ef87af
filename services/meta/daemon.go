package meta

import (
	"context"
	"fmt"
	"net"

	"github.com/restate-go/restate/pkg/daemon/assembly"
	"github.com/restate-go/restate/pkg/errcode"
)

// Daemon describes meta to the process that it is part of.
func Daemon() assembly.Daemon {
	cfg := DefaultConfig()
	return assembly.Daemon{
		Name:    "meta",
		Section: "meta",
		Config:  &cfg,
		Address: func() string { return cfg.BindAddress },
		Probes:  true,
		Purpose: "service endpoints to register, and commands (REST)",
		Edge:    true,
		New: func(ctx context.Context, runtime assembly.Runtime) (assembly.Service, error) {
			listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.BindAddress)
			if err != nil {
				return nil, errcode.Wrap(errcode.CannotBind, fmt.Errorf("listen for requests (meta.bind_address): %w", err))
			}
			return New(cfg, Deps{ //nolint:contextcheck // a request has a context of its own
				Conn:     runtime.Conn,
				Listener: listener,
				Checks:   runtime.Checks,
				Probes:   runtime.Probes,
				Metrics:  runtime.Metrics,
				Log:      runtime.Log,
				Version:  runtime.Version,
			})
		},
	}
}
