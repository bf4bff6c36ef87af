package partitionworker

import (
	"context"

	"github.com/restate-go/restate/pkg/daemon/assembly"
)

// Daemon describes the partition-worker to the process that it is part of.
func Daemon() assembly.Daemon {
	cfg := DefaultConfig()
	return assembly.Daemon{
		Name:    "partition-worker",
		Section: "worker",
		Config:  &cfg,
		New: func(_ context.Context, runtime assembly.Runtime) (assembly.Service, error) {
			service, err := New(cfg, Deps{
				BaseDir:    runtime.BaseDir,
				Conn:       runtime.Conn,
				Log:        runtime.Log,
				Registerer: runtime.Metrics,
				Tracer:     runtime.Tracer,
				Now:        runtime.Now,
			})
			if err != nil {
				return nil, err
			}
			runtime.Checks.Add("partition-worker", func(context.Context) error { return service.Ready() })
			return service, nil
		},
	}
}
