package broker_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/broker/brokertest"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/port"
)

// durability returns what is said of the broker.
func durability(t *testing.T, embedded *broker.Server, cfg broker.Config) error {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), await.Deadline)
	defer cancel()
	conn, err := broker.Connect(ctx, embedded, cfg, "test", log)
	require.NoError(t, err)
	defer conn.Close()
	return conn.CheckDurability(ctx, cfg, log)
}

func TestTheEmbeddedServerTellsThatItSyncs(t *testing.T) {
	started, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir(), BindAddress: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(started.Close)
	cfg := broker.DefaultConfig()
	require.NoError(t, durability(t, started, cfg), "within the process")
	cfg.URL = started.URL()
	require.NoError(t, durability(t, nil, cfg), "from another process")
}

func TestAnExternalServerThatSyncs(t *testing.T) {
	cfg := brokertest.External(t, func(o *brokertest.Options) { o.SyncAlways = true })
	require.NoError(t, durability(t, nil, cfg))
	cfg.MonitoringURL += "/, " + cfg.MonitoringURL
	require.NoError(t, durability(t, nil, cfg))
}

func TestExternalServersThatPromiseTooLittle(t *testing.T) {
	unknown := brokertest.External(t, func(o *brokertest.Options) { o.SyncAlways = true })
	unknown.MonitoringURL = ""
	for says, cfg := range map[string]broker.Config{
		"before they are on its disk": brokertest.External(t, func(*brokertest.Options) {}),
		"broker.monitoring_url":       unknown,
	} {
		err := durability(t, nil, cfg)
		require.Equal(t, errcode.WeakBroker, errcode.Of(err, ""))
		require.ErrorContains(t, err, says)
		cfg.RequireSync = false
		require.NoError(t, durability(t, nil, cfg), "it is allowed")
	}
	none := brokertest.External(t, func(o *brokertest.Options) { o.JetStream = false })
	require.ErrorContains(t, durability(t, nil, none), "no JetStream")
}

// A cluster has to be able to lose a server.
func TestMoreThanHalfOfTheServersHaveToAnswer(t *testing.T) {
	synced := func(o *brokertest.Options) { o.SyncAlways = true }
	first, second := brokertest.External(t, synced), brokertest.External(t, synced)
	unsynced := brokertest.External(t, func(*brokertest.Options) {})
	address, err := port.Free(t.Context())
	require.NoError(t, err)
	down := "http://" + address
	cfg := first
	cfg.MonitoringURL = strings.Join([]string{down, first.MonitoringURL, second.MonitoringURL}, ",")
	require.NoError(t, durability(t, nil, cfg))
	cfg.MonitoringURL += "," + unsynced.MonitoringURL
	require.ErrorContains(t, durability(t, nil, cfg), "before they are on its disk")

	cfg.MonitoringURL, cfg.RequireSync = down+","+first.MonitoringURL, false
	require.NoError(t, durability(t, nil, cfg), "it is not required to be known")
	cfg.RequireSync = true
	log := slog.New(slog.DiscardHandler)
	conn, err := broker.Connect(t.Context(), nil, cfg, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	require.ErrorContains(t, conn.CheckDurability(ctx, cfg, log), "connection refused", "it waits for the other one")
}

// A server that has our name by chance is not waited for.
func TestAnExternalServerWithOurName(t *testing.T) {
	cfg := brokertest.External(t, func(o *brokertest.Options) { o.SyncAlways, o.ServerName = true, "restate" })
	require.NoError(t, durability(t, nil, cfg))
}

func TestReplicasHaveABound(t *testing.T) {
	cfg := broker.DefaultConfig()
	cfg.Replicas = 6
	_, err := broker.Connect(t.Context(), nil, cfg, "test", slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "broker.replicas is 6")
}
