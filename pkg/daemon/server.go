package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Server is an HTTP server, and what works beside it.
type Server struct {
	HTTP     *http.Server
	Listener net.Listener
	// Beside is what requests need: it outlives them. One that fails stops the server.
	Beside []func(ctx context.Context) error
	// DrainTimeout is how long requests in progress are waited for, before they are broken off.
	DrainTimeout time.Duration
	Log          *slog.Logger
}

// Run serves until the context ends, then refuses new requests and waits for those in progress. It closes the listener.
func (s Server) Run(ctx context.Context) error {
	lasting, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	group, lasting := errgroup.WithContext(lasting)
	for _, run := range s.Beside {
		group.Go(func() error { return run(lasting) })
	}
	group.Go(func() error {
		if err := s.HTTP.Serve(s.Listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve requests: %w", err)
		}
		return nil
	})
	select {
	case <-ctx.Done():
	case <-lasting.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.DrainTimeout)
	defer cancel()
	if err := s.HTTP.Shutdown(draining); err != nil {
		s.Log.Warn("requests are still in progress, breaking them off", "after", s.DrainTimeout)
		_ = s.HTTP.Close()
	}
	release()
	return group.Wait()
}
