// Package telemetry makes the ways in which a daemon tells what it does: its log, its metrics and its traces.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"
)

// LogFormat is how log lines look: Pretty, Compact or Json, in any case.
type LogFormat string

// The formats.
const (
	// Pretty is one line for people, in colour on a terminal.
	Pretty LogFormat = "Pretty"
	// Compact is key=value text.
	Compact LogFormat = "Compact"
	// JSON is one JSON object per line.
	JSON LogFormat = "Json"
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *LogFormat) UnmarshalText(text []byte) error {
	for _, format := range []LogFormat{Pretty, Compact, JSON} {
		if strings.EqualFold(string(text), string(format)) {
			*f = format
			return nil
		}
	}
	return fmt.Errorf("%q is not a log format: Pretty, Compact or Json", text)
}

// LogConfig is how the log is written.
type LogConfig struct {
	// Format of the lines. The default is Pretty.
	Format LogFormat `yaml:"format"`
	// Level is the least level that is written: DEBUG, INFO, WARN or ERROR, in any case. The default is INFO.
	Level slog.Level `yaml:"level"`
	// DisableANSICodes keeps colours out of the pretty format even on a terminal. The default is false.
	DisableANSICodes bool `yaml:"disable_ansi_codes" split_words:"true"`
}

// NewLogger returns a logger that writes to w.
func NewLogger(w io.Writer, cfg LogConfig) (*slog.Logger, error) {
	switch cfg.Format {
	case Pretty:
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: cfg.Level, TimeFormat: time.StampMilli, NoColor: cfg.DisableANSICodes || !isTerminal(w),
		})), nil
	case Compact:
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: cfg.Level})), nil
	case JSON:
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: cfg.Level})), nil
	}
	return nil, fmt.Errorf("%q is not a log format", cfg.Format)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
