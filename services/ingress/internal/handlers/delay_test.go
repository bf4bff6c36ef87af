package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDelays(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"delay=10s": 10 * time.Second, "delay=500ms": 500 * time.Millisecond, "delay=0ms": 0, "delay=0": 0,
		"delay=1.5s": 1500 * time.Millisecond, "delay=60+sec": time.Minute, "delay=60sec": time.Minute,
		"a=b&DeLaY=1h%2030m": 90 * time.Minute, "delay=1h+30m": 90 * time.Minute,
		"delay=PT1H": time.Hour, "delay=PT60S": time.Minute, "delay=P1DT0.5S": 24*time.Hour + 500*time.Millisecond,
		"delay=pt1m&delay=2s": time.Minute,
	} {
		got, given, err := delayOf(query)
		require.NoError(t, err, query)
		require.True(t, given, query)
		require.Equal(t, want, got, query)
	}
	for _, query := range []string{"", "delaySec=2", "x=delay", "%zz=1"} {
		_, given, err := delayOf(query)
		require.NoError(t, err, query)
		require.False(t, given, query)
	}
	for _, query := range []string{
		"delay=5000", "delay=P1M", "delay=P1Y", "delay=P1W", "delay=-1s", "delay=", "delay", "delay=bogus", "delay=P", "delay=PT",
		"delay=PT9223372037S", "delay=P99999999999999999999D", "delay=%zz", "delay=1e3s",
	} {
		_, _, err := delayOf(query)
		e := new(Error)
		require.ErrorAs(t, err, &e, query)
		require.Equal(t, 400, e.Status, query)
	}
}

// FuzzDelay reads any query: its delay is refused as a bad request, or is one that time.Duration can write.
func FuzzDelay(f *testing.F) {
	for _, seed := range []string{
		"delay=10s", "delay=1h%2030m", "delay=60+sec", "DELAY=PT1H", "a=b&delay=P1DT0,5S", "delay=PT9223372036.9S", "delay=-1s", "delay=%zz",
		"delay=P1Y", "delay=99999999999h",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		delay, given, err := delayOf(query)
		if err != nil {
			e := new(Error)
			require.ErrorAs(t, err, &e)
			require.Equal(t, http.StatusBadRequest, e.Status)
			return
		}
		if !given {
			require.Zero(t, delay)
			return
		}
		require.GreaterOrEqual(t, delay, time.Duration(0))
		for _, written := range []string{fmt.Sprintf("%dns", delay), fmt.Sprintf("PT%dS", delay/time.Second)} {
			again, given, err := delayOf("x=y&delay=" + url.QueryEscape(written))
			require.NoError(t, err, written)
			require.True(t, given)
			if strings.HasPrefix(written, "PT") { // whose fractions need not be exact
				delay = delay.Truncate(time.Second)
			}
			require.Equal(t, delay, again, written)
		}
	})
}
