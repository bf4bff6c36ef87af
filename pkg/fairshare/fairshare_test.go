package fairshare

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPool(t *testing.T) {
	p := NewPool(100)
	require.Equal(t, 100, p.Limit())
	require.Equal(t, 70, p.Most())
	require.False(t, p.Take("greedy", 71))
	require.True(t, p.Take("greedy", 70))
	require.False(t, p.Take("greedy", 1))
	require.True(t, p.Take("modest", 5))
	require.Equal(t, 25, p.Free(), "what is refused takes nothing")
	p.Release("greedy", 30)
	require.True(t, p.Take("modest", 10))
	p.Release("greedy", 40)
	p.Release("modest", 15)
	require.Equal(t, 100, p.Free())
	require.Empty(t, p.held)
}

// Where dozens give nothing back, the next one gets something all the same.
func TestManyLeaveSomeToTheNext(t *testing.T) {
	p := NewPool(1 << 20)
	for i := range 24 {
		for n := 1 << 10; n > 0; {
			if !p.Take(string(rune('a'+i)), n) {
				n /= 2
			}
		}
	}
	require.True(t, p.Take("next", 128))
}

func TestNothingToDivide(t *testing.T) {
	p := NewPool(0)
	require.Zero(t, p.Most())
	require.False(t, p.Take("any", 1))
}
