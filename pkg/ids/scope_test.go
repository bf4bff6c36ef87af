package ids_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
)

func TestCheckScope(t *testing.T) {
	long := strings.Repeat("x", 36)
	for _, scope := range []string{"a", "Tenant_1.prod-eu", long} {
		require.NoError(t, ids.CheckScope(scope))
		require.NoError(t, ids.CheckLimitKey(scope))
		require.NoError(t, ids.CheckLimitKey(scope+"/"+scope))
	}
	for _, scope := range []string{"", long + "x", "a b", "ä", "a/b", "a\x00"} {
		require.ErrorIs(t, ids.CheckScope(scope), ids.ErrInvalid, scope)
	}
	for _, key := range []string{"", "/", "a/", "/b", "a/b/c", "a/" + long + "x", "a b"} {
		require.ErrorIs(t, ids.CheckLimitKey(key), ids.ErrInvalid, key)
	}
}
