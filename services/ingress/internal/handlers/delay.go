package handlers

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/restate-go/restate/pkg/config"
)

// delayOf returns the delay of a request, and whether it has one.
func delayOf(query string) (time.Duration, bool, error) {
	text, ok := parameter(query, "delay")
	if !ok {
		return 0, false, nil
	}
	delay, err := parseDelay(text)
	if err != nil {
		return 0, false, refuse(http.StatusBadRequest, "bad delay: %s", err)
	}
	return delay, true, nil
}

// parameter finds the first query parameter with the name, whatever its case.
func parameter(query, name string) (string, bool) {
	for pair := range strings.SplitSeq(query, "&") {
		given, value, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(given); err != nil || !strings.EqualFold(decoded, name) {
			continue
		}
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
		return value, true
	}
	return "", false
}

var iso8601 = regexp.MustCompile(`^[pP](?:(\d+)[dD])?(?:[tT](?:(\d+)[hH])?(?:(\d+)[mM])?(?:(\d+(?:[.,]\d{1,9})?)[sS])?)?$`)

// parseDelay reads "10s", "1h 30m", "60 sec" and "PT1H". A number without a unit is refused, so that nobody has to guess.
func parseDelay(text string) (time.Duration, error) {
	if strings.HasPrefix(strings.ToUpper(text), "P") {
		return parseISO8601(text)
	}
	var d config.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return 0, err
	}
	return time.Duration(d), nil
}

func parseISO8601(text string) (time.Duration, error) {
	parts := iso8601.FindStringSubmatch(text)
	if parts == nil || strings.Join(parts[1:], "") == "" {
		return 0, fmt.Errorf("%q is not a duration such as PT1H or P1D", text)
	}
	var seconds float64
	for i, scale := range []float64{24 * 60 * 60, 60 * 60, 60, 1} {
		if parts[i+1] == "" {
			continue
		}
		n, err := strconv.ParseFloat(strings.ReplaceAll(parts[i+1], ",", "."), 64)
		if err != nil {
			return 0, err
		}
		seconds += n * scale
	}
	if seconds >= math.MaxInt64/float64(time.Second) {
		return 0, fmt.Errorf("%q is too long", text)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
