package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// serverLog passes on what the embedded server says. Its notices are of interest to nobody but its developers, and that
// it is not healthy is what the guard says better, and once.
type serverLog struct{ log *slog.Logger }

func (l *serverLog) say(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, fmt.Sprintf(format, v...))
	}
}

func (l *serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any) {
	level := slog.LevelWarn
	switch text := fmt.Sprintf(format, v...); {
	case strings.HasPrefix(format, "Healthcheck failed"), strings.Contains(text, "] Stream state outdated, "): // the next says it again
		level = slog.LevelDebug
	case strings.Contains(text, "Recovering stream state from index errored: prior state file"):
		// After a kill the index is that of the time before: the server reads the messages instead, and loses none.
		l.log.Info("checking the log after an unclean stop", "said", text)
		return
	}
	l.say(level, format, v)
}
func (l *serverLog) Fatalf(format string, v ...any) { l.say(slog.LevelError, format, v) }
func (l *serverLog) Errorf(format string, v ...any) { l.say(slog.LevelError, format, v) }
func (l *serverLog) Debugf(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
