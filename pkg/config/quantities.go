package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time written as text: Go's notation ("1m30s", "50ms"), the same with blanks between the parts
// ("1h 30m"), and the long units of humantime ("2days", "10 min"). It is never negative. A number without a unit is an
// error, so that nobody has to guess.
type Duration time.Duration

var errNegative = errors.New("must not be negative")

// longUnits maps the units that Go's notation lacks to nanoseconds.
var longUnits = map[string]time.Duration{
	"nsec": time.Nanosecond, "usec": time.Microsecond, "msec": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	rest := strings.Join(strings.Fields(string(text)), "")
	if parsed, err := time.ParseDuration(rest); err == nil {
		if parsed < 0 {
			return fmt.Errorf("duration %q: %w", text, errNegative)
		}
		*d = Duration(parsed)
		return nil
	}
	bad := fmt.Errorf("%q is not a duration such as 50ms, 1m or 1h 30m", text)
	if rest == "" {
		return bad
	}
	var total time.Duration
	for rest != "" {
		number, unit, after := splitQuantity(rest)
		scale, known := longUnits[unit]
		if !known {
			if parsed, err := time.ParseDuration("1" + unit); err == nil {
				scale, known = parsed, true
			}
		}
		count, err := strconv.ParseInt(number, 10, 64)
		if !known || err != nil || count > (math.MaxInt64-int64(total))/int64(scale) {
			return bad
		}
		total += time.Duration(count) * scale
		rest = after
	}
	*d = Duration(total)
	return nil
}

// splitQuantity cuts "10min5s" into "10", "min" and "5s".
func splitQuantity(text string) (number, unit, rest string) {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	start := strings.IndexFunc(text, func(r rune) bool { return !isDigit(r) })
	if start < 0 {
		return text, "", ""
	}
	end := strings.IndexFunc(text[start:], isDigit)
	if end < 0 {
		return text[:start], text[start:], ""
	}
	return text[:start], text[start : start+end], text[start+end:]
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration without parts that are zero: "1m", not "1m0s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Size is a number of bytes, 0 to 2^63-1, written as a number or with a unit: "64MiB", "1 GiB", "10kB", "512B". KiB, MiB,
// GiB and TiB (also K, M, G, T) are powers of 1024; kB, MB, GB and TB are powers of 1000.
type Size int64

// sizeUnits is ordered so that printing takes the largest unit that divides the size.
var sizeUnits = []struct {
	name  string
	scale int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit, rest := splitQuantity(strings.Join(strings.Fields(string(text)), ""))
	count, err := strconv.ParseInt(number, 10, 64)
	if err == nil && rest == "" {
		for _, u := range sizeUnits {
			if strings.EqualFold(u.name, unit) && count <= math.MaxInt64/u.scale {
				*s = Size(count * u.scale)
				return nil
			}
		}
	}
	return fmt.Errorf("%q is not a size in bytes such as 512B, 64MiB or 2GiB", text)
}

// Uint64 returns the number of bytes for those who count in unsigned integers.
func (s Size) Uint64() uint64 {
	return uint64(s) //nolint:gosec // text cannot make it negative
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the size in the largest power of 1024 that divides it.
func (s Size) String() string {
	if s != 0 {
		for _, u := range sizeUnits[:4] {
			if int64(s)%u.scale == 0 {
				return strconv.FormatInt(int64(s)/u.scale, 10) + u.name
			}
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Secret is text that no dump, log line or error shows. Convert it to a string to use it.
type Secret string

// MarshalText implements encoding.TextMarshaler and hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String implements fmt.Stringer and hides the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString implements fmt.GoStringer and hides the text.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }
