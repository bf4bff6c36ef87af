package broker_test

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/broker/brokertest"
	"github.com/restate-go/restate/pkg/errcode"
)

// byDefault leaves it to the server how much it takes: 1 MiB.
const byDefault = 0

func payload(t *testing.T, cfg broker.Config) error {
	t.Helper()
	conn, err := broker.Connect(t.Context(), nil, cfg, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer conn.Close()
	return conn.CheckPayload()
}

func TestServersThatTakeTooLittle(t *testing.T) {
	require.NoError(t, brokertest.Start(t).Connect().CheckPayload(), "ours")
	require.NoError(t, payload(t, brokertest.External(t, func(*brokertest.Options) {})))
	for name, configure := range map[string]func(*brokertest.Options){
		"by default":    func(o *brokertest.Options) { o.MaxPayload = byDefault },
		"a byte short":  func(o *brokertest.Options) { o.MaxPayload = broker.MaxPayload - 1 },
		"a smaller one": func(o *brokertest.Options) { o.MaxPayload = 4 << 10 },
	} {
		err := payload(t, brokertest.External(t, configure))
		require.Equal(t, errcode.SmallBroker, errcode.Of(err, ""), name)
	}
}

// The others of a cluster are asked too: any of them may be the next one that is connected to.
func TestServerOfAClusterThatTakesTooLittle(t *testing.T) {
	cfg := brokertest.External(t, func(o *brokertest.Options) { o.SyncAlways = true })
	other := brokertest.External(t, func(o *brokertest.Options) { o.SyncAlways, o.MaxPayload = true, byDefault })
	require.NoError(t, durability(t, nil, cfg))
	cfg.MonitoringURL += "," + other.MonitoringURL
	for _, cfg.RequireSync = range []bool{true, false} {
		require.Equal(t, errcode.SmallBroker, errcode.Of(durability(t, nil, cfg), ""))
	}
}

// TestServerThatTakesTooLittleLater has another server come in the place of the one before.
func TestServerThatTakesTooLittleLater(t *testing.T) {
	server := brokertest.Start(t)
	conn := server.Connect()
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- conn.WatchPayload(ctx) }()
	server.Restart()
	await.True(t, await.Deadline, conn.NC.IsConnected, "the connection to be there again")
	cancel()
	require.NoError(t, <-watched, "it is the same")

	go func() { watched <- conn.WatchPayload(t.Context()) }()
	host, service, err := net.SplitHostPort(conn.NC.ConnectedAddr())
	require.NoError(t, err)
	number, err := strconv.Atoi(service)
	require.NoError(t, err)
	server.Stop()
	brokertest.External(t, func(o *brokertest.Options) { o.Host, o.Port, o.MaxPayload = host, number, byDefault })
	require.Equal(t, errcode.SmallBroker, errcode.Of(<-watched, ""))
}
