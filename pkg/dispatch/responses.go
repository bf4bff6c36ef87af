package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
)

// ResponseSubject is where the process with the id takes results.
func ResponseSubject(id string) string { return "restate.ingress." + id + ".responses" }

// Subscribe hands results to those who wait for them, from now on until the context of run ends. The caller has to call
// run. The reply tells the worker that the results arrived.
func (d *Dispatcher) Subscribe(nc *nats.Conn, log *slog.Logger) (run func(ctx context.Context) error, err error) {
	subscription, err := nc.Subscribe(ResponseSubject(d.id), func(message *nats.Msg) {
		if err := d.Deliver(message.Data); err != nil {
			// Not acknowledged, so the worker will complain too, and repeat it.
			log.Error("cannot read results", "error", err)
			return
		}
		if err := message.Respond(nil); err != nil {
			log.Debug("could not acknowledge results, they will be repeated", "error", err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to results: %w", err)
	}
	return func(ctx context.Context) error {
		<-ctx.Done()
		if err := subscription.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			return fmt.Errorf("end the subscription to results: %w", err)
		}
		return nil
	}, nil
}
