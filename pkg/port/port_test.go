package port

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddressesAreGivenOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		address, err := Free(t.Context())
		require.NoError(t, err)
		require.False(t, seen[address], address)
		seen[address] = true
		// Neither to this process again nor to another.
		require.False(t, givenPorts.take(t.Context(), address))
		require.False(t, (&given{}).take(t.Context(), address))
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		require.NoError(t, err)
		require.NoError(t, listener.Close())
	}
}
