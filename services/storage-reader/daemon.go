package storagereader

import (
	"context"
	"fmt"
	"net"

	"github.com/restate-go/restate/pkg/daemon/assembly"
	"github.com/restate-go/restate/pkg/errcode"
)

// Daemon describes the storage-reader to the process that it is part of.
func Daemon() assembly.Daemon {
	cfg := DefaultConfig()
	return assembly.Daemon{
		Name:    "storage-reader",
		Section: "storage",
		Config:  &cfg,
		Address: func() string { return cfg.BindAddress },
		Probes:  true,
		Purpose: "questions about what is stored (gRPC)",
		Edge:    true,
		New: func(ctx context.Context, runtime assembly.Runtime) (assembly.Service, error) {
			listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.BindAddress)
			if err != nil {
				return nil, errcode.Wrap(errcode.CannotBind, fmt.Errorf("listen for requests (storage.bind_address): %w", err))
			}
			return New(cfg, Deps{
				BaseDir:  runtime.BaseDir,
				Conn:     runtime.Conn,
				Listener: listener,
				Checks:   runtime.Checks,
				Probes:   runtime.Probes,
				Metrics:  runtime.Metrics,
				Log:      runtime.Log,
			})
		},
	}
}
