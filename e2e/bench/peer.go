package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/restate-go/restate/pkg/port"
)

const peerName = "restate-server"

// startPeer is a starter of a restate-server with its defaults, which sync each write to the disk.
func startPeer(ctx context.Context, cfg Config) (*server, error) {
	s := &server{name: peerName}
	binary, err := filepath.Abs(cfg.Peer)
	if err != nil {
		return s, err
	}
	if s.dir, err = os.MkdirTemp(cfg.Dir, "bench-"); err != nil {
		return s, err
	}
	var node string
	for _, address := range []*string{&s.ingress, &s.meta, &node} {
		if *address, err = port.Free(ctx); err != nil {
			return s, err
		}
	}
	started, err := startProgram(s.dir, peerName, []string{
		"RESTATE_INGRESS__BIND_ADDRESS=" + s.ingress, "RESTATE_ADMIN__BIND_ADDRESS=" + s.meta, "RESTATE_BIND_ADDRESS=" + node,
		"RESTATE_LISTEN_MODE=tcp", "RESTATE_DISABLE_TELEMETRY=true", "RESTATE_BASE_DIR=" + filepath.Join(s.dir, "data"),
	}, binary)
	if err != nil {
		return s, err
	}
	s.programs = append(s.programs, started)
	s.pids = append(s.pids, started.cmd.Process.Pid)
	for _, health := range []string{s.meta + "/health", s.ingress + "/restate/health"} {
		err := poll(ctx, startTimeout, func(ctx context.Context) error {
			return request(ctx, http.MethodGet, "http://"+health, "", io.Discard)
		})
		if err != nil {
			return s, fmt.Errorf("%s is not ready: %w", peerName, err)
		}
	}
	return s, nil
}
