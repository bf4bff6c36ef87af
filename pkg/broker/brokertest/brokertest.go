// Package brokertest runs a broker that a test can restart.
package brokertest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

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
