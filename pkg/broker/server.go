// Package broker runs and reaches NATS: the embedded server, connections to it or to external servers, and what
// durability they give.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/restate-go/restate/pkg/config"
)

// MaxPayload is the largest message that the embedded server takes, in bytes.
const MaxPayload = 8 << 20

// ServerConfig configures the embedded server.
type ServerConfig struct {
	// Dir is where streams are stored.
	Dir string `yaml:"-" ignored:"true"`
	// BindAddress is where the server listens for other processes. Empty: it is reached from its own process only.
	BindAddress string `yaml:"bind_address" split_words:"true"`
	// MaxStoreBytes bounds the disk space of all streams; 0 takes what the disk has.
	MaxStoreBytes config.Size `yaml:"max_store_bytes" split_words:"true"`
	// MinFreeBytes is how much of the disk stays free: with less, nothing more is taken, so that the room is left for
	// the database, and for what it takes to make room. At least 1 MiB always does.
	MinFreeBytes config.Size `yaml:"min_free_bytes" split_words:"true"`
}

// DefaultServerConfig is what is in force where nothing else is said.
func DefaultServerConfig() ServerConfig { return ServerConfig{MinFreeBytes: 256 << 20} }

// Server is an embedded NATS server with JetStream. Every message is synced to disk before it is acknowledged.
type Server struct {
	cfg  ServerConfig
	host string
	log  *slog.Logger
	lock *os.File

	mu sync.RWMutex
	// server is replaced when it has to be started again; port is what it listens on.
	server *server.Server
	port   int

	guard guard
	// told is the connection over which clients are told what the server promises.
	told *nats.Conn
	stop context.CancelFunc
	done sync.WaitGroup
}

const (
	readyTimeout = 30 * time.Second
	// unlimited keeps the server from choosing a bound on the disk space of its own; the guard sets the one in force.
	unlimited = 1 << 60
)

// StartServer starts the server and returns when it accepts connections.
func StartServer(ctx context.Context, cfg ServerConfig, log *slog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, log: log.With("component", "broker"), guard: guard{limit: noLimit}}
	if err := s.resolve(); err != nil {
		return nil, err
	}
	held, err := lock(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s.lock = held
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	if s.told, err = s.tell(); err != nil {
		halt(s.server)
		return nil, errors.Join(err, held.Close())
	}
	s.check(ctx)
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(func() { s.watch(watching) })
	return s, nil
}

// resolve takes the bind address apart.
func (s *Server) resolve() error {
	if s.cfg.BindAddress == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(s.cfg.BindAddress)
	if err != nil {
		return fmt.Errorf("bind address of the broker: %w", err)
	}
	s.host = host
	if s.port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("bind address of the broker: port %q is not a number", port)
	}
	if s.port == 0 {
		s.port = server.RANDOM_PORT
	}
	return nil
}

// start makes a new server work on what the directory holds. Nobody else uses s.server meanwhile.
func (s *Server) start(ctx context.Context) error {
	started, err := server.NewServer(&server.Options{
		ServerName:        serverName,
		Host:              s.host,
		Port:              s.port,
		DontListen:        s.cfg.BindAddress == "",
		JetStream:         true,
		StoreDir:          s.cfg.Dir,
		JetStreamMaxStore: unlimited,
		SyncAlways:        true,
		MaxPayload:        MaxPayload,
		NoSigs:            true,
		NoSystemAccount:   true,
	})
	if err != nil {
		return fmt.Errorf("configure the broker: %w", err)
	}
	started.SetLoggerV2(&serverLog{log: s.log}, false, false, false)
	started.Start()
	s.server = started
	deadline := time.Now().Add(readyTimeout)
	for !started.ReadyForConnections(100 * time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(deadline) || !started.Running() {
			halt(started)
			return errors.Join(ctx.Err(), errors.New("the broker did not start; its log says why"))
		}
	}
	if !started.JetStreamEnabled() {
		halt(started)
		return fmt.Errorf("the broker cannot use %s", s.cfg.Dir)
	}
	if address, ok := started.Addr().(*net.TCPAddr); ok {
		s.port = address.Port
	}
	return nil
}

func halt(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// InProcessConn implements nats.InProcessConnProvider.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.server.Running() {
		return nil, errors.New("the broker does not run")
	}
	return s.server.InProcessConn()
}

// URL is where clients of other processes connect; meaningful with a bind address.
func (s *Server) URL() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.server.ClientURL()
}

// Close stops the server and waits for it.
func (s *Server) Close() {
	s.stop()
	s.done.Wait()
	s.told.Close()
	halt(s.server)
	_ = s.lock.Close() // nothing was written to it
}
