package config_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/config"
)

func TestDurationText(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"50ms": 50 * time.Millisecond, "1m": time.Minute, "1h 30m": 90 * time.Minute, "1h30m": 90 * time.Minute,
		" 2days ": 48 * time.Hour, "10 min 5 s": 10*time.Minute + 5*time.Second, "1.5s": 1500 * time.Millisecond,
		"1week 1d": 8 * 24 * time.Hour, "0s": 0, "1 hour": time.Hour, "3us": 3 * time.Microsecond,
	} {
		var got config.Duration
		require.NoError(t, got.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, time.Duration(got), text)
	}
	for _, text := range []string{"", "5", "-1s", "m", "1x", "1h-5m", "999999999999999999d", "1e3s", "5 days 3"} {
		var got config.Duration
		require.Error(t, got.UnmarshalText([]byte(text)), text)
	}
}

func TestDurationPrintsShort(t *testing.T) {
	for want, duration := range map[string]time.Duration{
		"1m": time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "10s": 10 * time.Second, "1m30s": 90 * time.Second,
	} {
		require.Equal(t, want, config.Duration(duration).String())
	}
}

func TestSizeText(t *testing.T) {
	for text, want := range map[string]int64{
		"64MiB": 64 << 20, "1 GiB": 1 << 30, "10kB": 10000, "512": 512, "512B": 512, "2g": 2 << 30, "0": 0, "3TB": 3e12,
	} {
		var got config.Size
		require.NoError(t, got.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, int64(got), text)
		var again config.Size
		require.NoError(t, again.UnmarshalText([]byte(got.String())))
		require.Equal(t, got, again)
	}
	for _, text := range []string{"", "-1", "MiB", "1.5GiB", "1XiB", "9999999999GiB"} {
		var got config.Size
		require.Error(t, got.UnmarshalText([]byte(text)), text)
	}
	require.Equal(t, "64MiB", config.Size(64<<20).String())
}

func TestSecretNeverPrints(t *testing.T) {
	require.Equal(t, `*** *** "***"`, fmt.Sprintf("%v %s %#v", config.Secret("x"), config.Secret("x"), config.Secret("x")))
}
