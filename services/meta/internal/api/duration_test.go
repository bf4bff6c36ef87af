package api_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/services/meta/internal/api"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]struct {
		is      time.Duration
		written string
	}{
		"1d": {24 * time.Hour, "1d"}, "24h": {24 * time.Hour, "1d"}, "2 hours": {2 * time.Hour, "2h"}, "2days": {48 * time.Hour, "2d"},
		"30s": {30 * time.Second, "30s"}, "500ms": {500 * time.Millisecond, "500ms"}, "0s": {0, "0s"},
		"1d 2h 30m": {26*time.Hour + 30*time.Minute, "1d 2h 30m"},
		"P1D":       {24 * time.Hour, "1d"}, "PT1H": {time.Hour, "1h"}, "PT0S": {0, "0s"}, "pt90m": {90 * time.Minute, "1h 30m"},
		"P1W": {7 * 24 * time.Hour, "7d"}, "P1DT2H3M4.5S": {26*time.Hour + 3*time.Minute + 4500*time.Millisecond, "1d 2h 3m 4s 500ms"},
		"PT0.000000001S": {1, "1ns"},
	} {
		var d api.Duration
		require.NoError(t, d.UnmarshalText([]byte(text)), text)
		require.Equal(t, want.is, time.Duration(d), text)
		require.Equal(t, want.written, d.String())
	}
	for _, text := range []string{"", "1", "x", "-1s", "P", "PT", "P1H", "P1DT", "PT1.1H", "P1Y", "PT99999999999999999999H"} {
		var d api.Duration
		require.Error(t, d.UnmarshalText([]byte(text)), text)
	}
}
