package lambda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/fairshare"
)

func TestShare(t *testing.T) {
	pool := fairshare.NewPool(1000)
	s := &share{of: pool, function: "f"}
	require.NoError(t, s.take(100))
	require.NoError(t, s.take(100))
	require.Equal(t, 1000-200*copies, pool.Free())
	require.Equal(t, errcode.MemoryExhausted, errcode.Of(s.take(100), ""))
	s.keep(250)
	require.Equal(t, 750, pool.Free())
	s.keep(300)
	require.Equal(t, 750, pool.Free(), "nothing is taken by keeping")
	s.release()
	s.release()
	require.Equal(t, 1000, pool.Free())
}
