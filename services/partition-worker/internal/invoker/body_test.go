package invoker

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/fairshare"
)

// What is sent is not held any more, but for what is read whole and then sent: that is held until the body is closed.
func TestBodyHoldsMemory(t *testing.T) {
	const size = 1 << 20
	for name, whole := range map[string]bool{"sent as it is read": false, "read whole": true} {
		t.Run(name, func(t *testing.T) {
			m := fairshare.NewPool(16 << 20)
			b := newBody(claimOf(m, "s"))
			require.NoError(t, b.begin(make([]byte, size)))
			if whole {
				b.keep()
			}
			b.end()
			_, err := io.ReadAll(b)
			require.NoError(t, err)
			require.Equal(t, whole, m.Free() < m.Limit())
			require.NoError(t, b.Close())
			require.Equal(t, m.Limit(), m.Free())
			b.discard()
			require.Equal(t, m.Limit(), m.Free())
		})
	}
}
