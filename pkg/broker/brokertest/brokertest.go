// Package brokertest runs a broker that a test can restart.
package brokertest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/port"
)

// Broker is a broker with a folder and a port of its own. It is stopped when the test ends.
type Broker struct {
	t      testing.TB
	cfg    broker.ServerConfig
	server *broker.Server
}

// Start starts a broker.
func Start(t testing.TB) *Broker {
	t.Helper()
	// While it is stopped, neither another test nor a client that dials it gets the port.
	address, err := port.Free(context.Background())
	require.NoError(t, err)
	b := &Broker{t: t, cfg: broker.ServerConfig{Dir: t.TempDir(), BindAddress: address}}
	b.start()
	t.Cleanup(b.Stop)
	return b
}

func (b *Broker) start() {
	b.t.Helper()
	server, err := broker.StartServer(context.Background(), b.cfg, slog.New(slog.DiscardHandler))
	require.NoError(b.t, err)
	b.server = server
}

// Stop stops the broker, if it is not yet.
func (b *Broker) Stop() {
	if b.server != nil {
		b.server.Close()
		b.server = nil
	}
}

// Restart stops the broker and starts it again at the same address. What it had in memory is forgotten.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Stop()
	b.start()
}

// Connect returns a connection, which is closed when the test ends.
func (b *Broker) Connect() *broker.Conn {
	b.t.Helper()
	conn, err := broker.Connect(context.Background(), nil, broker.Config{URL: b.server.URL()}, "test", slog.New(slog.DiscardHandler))
	require.NoError(b.t, err)
	b.t.Cleanup(conn.Close)
	return conn
}

// Options are those of a NATS server.
type Options = server.Options

// External starts a NATS server that is not ours, which takes messages as large as ours does unless it is configured
// otherwise, and returns how to reach it. It is stopped when the test ends.
func External(t testing.TB, configure func(*Options)) broker.Config {
	t.Helper()
	options := &Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), MaxPayload: broker.MaxPayload, NoSigs: true, NoLog: true,
	}
	configure(options)
	started, err := server.NewServer(options)
	require.NoError(t, err)
	started.Start()
	t.Cleanup(func() {
		started.Shutdown()
		started.WaitForShutdown()
	})
	require.True(t, started.ReadyForConnections(await.Deadline))
	cfg := broker.DefaultConfig()
	cfg.URL, cfg.MonitoringURL = started.ClientURL(), "http://"+started.MonitorAddr().String()
	return cfg
}
