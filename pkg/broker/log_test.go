package broker

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// What follows from a kill is no warning; what the server says otherwise of a stream is.
func TestServerLog(t *testing.T) {
	for said, logged := range map[string]string{
		"Filestore [RESTATE_LOG_0] Recovering stream state from index errored: prior state file": `level=INFO msg="checking the log after an unclean stop" ` +
			`said="Filestore [RESTATE_LOG_0] Recovering stream state from index errored: prior state file"`,
		"Filestore [RESTATE_LOG_0] Recovering stream state from index errored: corrupt state file": `level=WARN ` +
			`msg="Filestore [RESTATE_LOG_0] Recovering stream state from index errored: corrupt state file"`,
		"Filestore [RESTATE_LOG_0] Stream state outdated, last block has additional entries, will rebuild": "",
		"Filestore [RESTATE_LOG_0] Stream state detected prior state, could not locate msg block 3":        `level=WARN`,
		"Healthcheck failed: \"no\"": "",
	} {
		var out bytes.Buffer
		log := &serverLog{slog.New(slog.NewTextHandler(&out, nil))}
		log.Warnf(said[:18]+"%s", said[18:])
		if logged == "" {
			require.Empty(t, out.String(), said)
			continue
		}
		require.Contains(t, out.String(), logged)
	}
}
