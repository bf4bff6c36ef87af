package broker_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/errcode"
)

func TestOneServerPerDirectory(t *testing.T) {
	cfg := broker.ServerConfig{Dir: t.TempDir()}
	log := slog.New(slog.DiscardHandler)
	first, err := broker.StartServer(t.Context(), cfg, log)
	require.NoError(t, err)
	_, err = broker.StartServer(t.Context(), cfg, log)
	require.ErrorIs(t, err, broker.ErrLocked)
	require.Equal(t, errcode.DatabaseLocked, errcode.Of(err, ""))
	first.Close()
	second, err := broker.StartServer(t.Context(), cfg, log)
	require.NoError(t, err, "the lock ends with the server")
	second.Close()
}
