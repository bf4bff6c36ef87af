package brokertest

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/port"
)

// The port is the broker's own while it is stopped: the next test is not given it, as port.Free holds it for UDP.
func TestPortOfAStoppedBroker(t *testing.T) {
	b := Start(t)
	address := strings.TrimPrefix(b.server.URL(), "nats://")
	b.Stop()
	_, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", address)
	require.Error(t, err)
	another, err := port.Free(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, address, another)
	b.start()
	require.Equal(t, address, strings.TrimPrefix(b.server.URL(), "nats://"))
}
