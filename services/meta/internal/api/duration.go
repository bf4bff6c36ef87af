package api

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/restate-go/restate/pkg/config"
)

// Duration is written as 1d, 2h 30m or 500ms. It is read in this form, in the long units of "2 hours", and as ISO 8601.
type Duration time.Duration

// durationUnits are those that are written, the longest first.
var durationUnits = []struct {
	name  string
	scale time.Duration
}{
	{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
	{"us", time.Microsecond}, {"ns", time.Nanosecond},
}

// String returns the units that are not zero.
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	var parts []string
	rest := time.Duration(d)
	for _, unit := range durationUnits {
		if n := rest / unit.scale; n > 0 {
			parts = append(parts, strconv.FormatInt(int64(n), 10)+unit.name)
			rest %= unit.scale
		}
	}
	return strings.Join(parts, " ")
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

var iso8601 = regexp.MustCompile(`^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,9})?)S)?)?$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	upper := strings.ToUpper(string(text))
	if !strings.HasPrefix(upper, "P") {
		return (*config.Duration)(d).UnmarshalText(text)
	}
	parts := iso8601.FindStringSubmatch(upper)
	if parts == nil || strings.HasSuffix(upper, "T") || len(upper) == 1 {
		return fmt.Errorf("%q is not a duration of ISO 8601 such as P1D or PT1H30M", text)
	}
	// The units of package config, which checks the range.
	var known strings.Builder
	for i, unit := range []string{"w", "d", "h", "m"} {
		if parts[i+1] != "" {
			known.WriteString(parts[i+1] + unit)
		}
	}
	if whole, fraction, _ := strings.Cut(parts[5], "."); whole != "" {
		known.WriteString(whole + "s" + (fraction + "000000000")[:9] + "ns")
	}
	return (*config.Duration)(d).UnmarshalText([]byte(known.String()))
}
