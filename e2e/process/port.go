package process

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/port"
)

// FreeAddress returns a loopback address that nothing listens on, as port.Free does.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := port.Free(t.Context())
	require.NoError(t, err)
	return address
}
