package invoker

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
	v0 "github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol/v0"
	v5 "github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol/v5"
)

// A service on an SDK of 2023 may pass over a result that comes while its handler is getting through the journal. The
// request ends after such a result, so that the service asks for it; and after no other.
func TestResultsThatAreForgotten(t *testing.T) {
	latest, ok := v5.New(7)
	require.True(t, ok)
	for name, c := range map[string]struct {
		codec protocol.Codec
		// commands are in the journal that the attempt begins with; the result is of the command with the index 1.
		commands uint32
		spoil    func(*exchange)
		ends     bool
	}{
		"while the journal is replayed":    {codec: v0.Codec{}, commands: 2, ends: true},
		"of a command of this attempt":     {codec: v0.Codec{}, commands: 1},
		"after the handler did something":  {codec: v0.Codec{}, commands: 2, spoil: func(x *exchange) { x.heard.Store(true) }},
		"long after":                       {codec: v0.Codec{}, commands: 2, spoil: func(x *exchange) { x.began = x.began.Add(-time.Hour) }},
		"with an SDK that forgets nothing": {codec: latest, commands: 2},
	} {
		t.Run(name, func(t *testing.T) {
			_, attempt, err := c.codec.Begin(nil, protocol.Start{})
			require.NoError(t, err)
			x := &exchange{
				codec: c.codec, attempt: attempt, commands: c.commands, began: time.Now(), body: newBody(claim{}),
				abort: func(err error) { t.Error(err) },
				watch: newWatchdog(time.Hour, time.Hour, func() {}, func() {}),
			}
			defer x.watch.stop()
			if c.spoil != nil {
				c.spoil(x)
			}
			result := completion(1, []byte("late"))
			if !c.codec.Forgetful() { // it would look at what the command is
				result.Id = &journalv1.Notification_SignalIndex{SignalIndex: 17}
			}
			x.send(delivery{index: c.commands, notification: result})
			require.Equal(t, c.ends, x.body.closed)
			x.body.end()
			sent, err := io.ReadAll(x.body)
			require.NoError(t, err)
			require.Contains(t, string(sent), "late")
		})
	}
}
