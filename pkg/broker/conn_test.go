package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/broker/brokertest"
)

// Nobody waits for an answer that cannot come any more, or longer than it takes to have a connection again.
func TestConnectionThatIsLost(t *testing.T) {
	server := brokertest.Start(t)
	conn, silent := server.Connect(), server.Connect()
	asked := make(chan struct{}, 1)
	_, err := silent.NC.Subscribe("question", func(*nats.Msg) { asked <- struct{}{} })
	require.NoError(t, err)
	require.NoError(t, silent.NC.Flush())

	answered, paused := make(chan error, 1), make(chan bool, 1)
	go func() {
		ctx, cancel := conn.Attached(context.Background(), time.Hour)
		defer cancel()
		_, err := conn.NC.RequestWithContext(ctx, "question", nil)
		answered <- broker.Explain(ctx, err)
	}()
	go func() { paused <- conn.Pause(t.Context(), time.Hour) }()
	<-asked
	// The pause may begin after the first restart.
	await.True(t, await.Deadline, func() bool {
		server.Restart()
		await.True(t, await.Deadline, conn.NC.IsConnected, "the connection to be there again")
		select {
		case going := <-paused:
			return going
		default:
			return false
		}
	}, "the pause to end")
	require.ErrorIs(t, <-answered, broker.ErrDetached)

	ctx, cancel := conn.Attach(t.Context())
	require.NoError(t, ctx.Err(), "the new connection is another one")
	cancel()
	require.NoError(t, broker.Explain(ctx, nil))
	require.ErrorIs(t, broker.Explain(ctx, nats.ErrTimeout), context.Canceled)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, conn.Pause(ended, time.Hour))
}
