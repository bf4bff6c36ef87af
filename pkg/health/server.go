package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/restate-go/restate/pkg/errcode"
)

// Config of the listener for probes.
type Config struct {
	// BindAddress is where /health, /ready and /metrics are served, host:port. The default 127.0.0.1:0 takes a free port,
	// which the log tells.
	BindAddress string `yaml:"bind_address" split_words:"true"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{BindAddress: "127.0.0.1:0"} }

// Handler serves /health, /ready and /metrics, to be mounted at the root of a daemon's own port or served by Server.
func Handler(checks *Checks, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", ServeAlive)
	mux.HandleFunc("GET /ready", checks.ServeReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// Server serves a handler for daemons that have no HTTP port of their own.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen binds the address; from then on probes connect, and are answered once Run is called.
func Listen(ctx context.Context, cfg Config, handler http.Handler, log *slog.Logger) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.BindAddress)
	if err != nil {
		return nil, errcode.Wrap(errcode.CannotBind, fmt.Errorf("listen for probes (health.bind_address): %w", err))
	}
	return &Server{listener: listener, server: &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// Addr returns the address that is listened on, host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until the context ends.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }()
	select {
	case <-ctx.Done():
	case err := <-served:
		return fmt.Errorf("serving probes: %w", err)
	}
	// Probes are short and their clients repeat them: none is waited for.
	err := s.server.Close()
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		return fmt.Errorf("serving probes: %w", served)
	}
	return err
}
