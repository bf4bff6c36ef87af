package shuffle

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/dispatch"
)

const (
	// ingressQueue bounds the results on their way to one ingress, responseBatch those in one message.
	ingressQueue  = 4096
	responseBatch = 512
	// maxResponseBytes keeps a message below what the broker takes.
	maxResponseBytes = 4 << 20
	replyTimeout     = 5 * time.Second
	// goneAfter is how long an ingress may be unknown to the broker before it counts as gone. It has to exceed the
	// time an ingress takes to connect again.
	goneAfter = 30 * time.Second
	retryWait = 100 * time.Millisecond
)

type response struct {
	message *storagev1.IngressResponse
	arrived func()
}

// ingress sends results to one ingress process: one message at a time, with all that has come meanwhile.
type ingress struct {
	id    string
	conn  *broker.Conn
	queue chan response
	log   *slog.Logger
	// patience is how long the ingress may take to acknowledge results before they are repeated.
	patience time.Duration
}

// NewIngress returns the destination of results for the ingress process with the id.
func NewIngress(id string, conn *broker.Conn, log *slog.Logger) Destination {
	return &ingress{id: id, conn: conn, queue: make(chan response, ingressQueue), log: log, patience: replyTimeout}
}

// Send implements Destination.
func (i *ingress) Send(ctx context.Context, _ uint64, message *storagev1.OutboxMessage, arrived func()) error {
	select {
	case i.queue <- response{message.GetIngressResponse(), arrived}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run implements Destination.
func (i *ingress) Run(ctx context.Context) error {
	var pending *response
	for {
		batch, next, err := i.next(ctx, pending)
		if err != nil {
			return err
		}
		pending = next
		if err := i.deliver(ctx, batch); err != nil {
			return err
		}
		for _, r := range batch {
			r.arrived()
		}
	}
}

// next waits for a response and takes what else is queued and fits; one that does not fit is returned apart.
func (i *ingress) next(ctx context.Context, first *response) (batch []response, left *response, err error) {
	if first == nil {
		select {
		case r := <-i.queue:
			first = &r
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	batch = append(batch, *first)
	size := len(first.message.GetResult().GetValue())
	for len(batch) < responseBatch {
		select {
		case r := <-i.queue:
			size += len(r.message.GetResult().GetValue())
			if size > maxResponseBytes {
				return batch, &r, nil
			}
			batch = append(batch, r)
		default:
			return batch, nil, nil
		}
	}
	return batch, nil, nil
}

// deliver repeats the results until the ingress has them or is gone.
func (i *ingress) deliver(ctx context.Context, batch []response) error {
	message := &workerv1.ResponseBatch{Responses: make([]*storagev1.IngressResponse, len(batch))}
	for n, r := range batch {
		message.Responses[n] = r.message
	}
	data, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	var unknownSince time.Time
	for {
		attempt, cancel := i.conn.Attached(ctx, i.patience)
		_, err := i.conn.NC.RequestWithContext(attempt, dispatch.ResponseSubject(i.id), data)
		err = broker.Explain(attempt, err)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, nats.ErrNoResponders):
			unknownSince = time.Time{}
			i.log.Warn("an ingress did not take results, trying again", "ingress", i.id, "results", len(batch), "error", err)
		case unknownSince.IsZero():
			unknownSince = time.Now()
		case time.Since(unknownSince) > goneAfter:
			i.log.Info("an ingress is gone, dropping its results", "ingress", i.id, "results", len(batch))
			return nil
		}
		if !i.conn.Pause(ctx, retryWait) {
			return ctx.Err()
		}
	}
}
