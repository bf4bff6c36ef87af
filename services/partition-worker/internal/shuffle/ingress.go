package shuffle

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
)

const (
	// ingressQueue and maxHeldBytes bound the results on their way to one ingress, responseBatch those in one message.
	ingressQueue  = 4096
	maxHeldBytes  = 16 << 20
	responseBatch = 512
	// maxResponseBytes keeps a message of several results below what the broker takes.
	maxResponseBytes = 4 << 20
	replyTimeout     = 5 * time.Second
	// goneAfter is how long an ingress may be unknown to the broker before it counts as gone. It has to exceed the
	// time an ingress takes to connect again.
	goneAfter = 30 * time.Second
	// silentAfter is how long an ingress may acknowledge nothing, though the broker knows it, before it counts as gone. It
	// has to exceed the time the broker takes to notice that a connection is dead.
	silentAfter = 10 * time.Minute
	retryWait   = 100 * time.Millisecond
)

// response is a result on its way; size is what it takes of a message.
type response struct {
	message *storagev1.IngressResponse
	size    int
	arrived func()
}

// newResponse counts all that the message has: failures and the key of the target may be as large as values.
func newResponse(message *storagev1.IngressResponse, arrived func()) response {
	return response{message, protowire.SizeTag(1) + protowire.SizeBytes(proto.Size(message)), arrived}
}

// ingress sends results to one ingress process: one message at a time, with all that has come meanwhile.
type ingress struct {
	id    string
	conn  *broker.Conn
	queue chan response
	// held is how many bytes the results have that have not arrived.
	held atomic.Int64
	log  *slog.Logger
	// patience is how long the ingress may take to acknowledge results before they are repeated.
	patience, goneAfter, silentAfter time.Duration
}

// NewIngress returns the destination of results for the ingress process with the id.
func NewIngress(id string, conn *broker.Conn, log *slog.Logger) Destination {
	return newIngress(id, conn, log)
}

func newIngress(id string, conn *broker.Conn, log *slog.Logger) *ingress {
	return &ingress{
		id: id, conn: conn, queue: make(chan response, ingressQueue), log: log,
		patience: replyTimeout, goneAfter: goneAfter, silentAfter: silentAfter,
	}
}

// Send implements Destination. It does not wait.
func (i *ingress) Send(_ context.Context, _ uint64, message *storagev1.OutboxMessage, arrived func()) (bool, error) {
	r := newResponse(message.GetIngressResponse(), arrived)
	size := int64(r.size)
	// However large, one goes when there is no other.
	if held := i.held.Add(size); held > size && held > maxHeldBytes {
		i.held.Add(-size)
		return false, nil
	}
	select {
	case i.queue <- r:
		return true, nil
	default:
		i.held.Add(-size)
		return false, nil
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
		// There is room for all before it is told of.
		for _, r := range batch {
			i.held.Add(-int64(r.size))
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
	size := first.size
	for len(batch) < responseBatch {
		select {
		case r := <-i.queue:
			size += r.size
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

// deliver returns when the ingress has the results, or ErrGone. A batch that is more than the broker takes goes in parts, and
// what is so alone becomes a failure: whoever waits for it hears why it does not come, and the others get theirs.
func (i *ingress) deliver(ctx context.Context, batch []response) error {
	err := i.repeat(ctx, batch)
	if !errors.Is(err, nats.ErrMaxPayload) {
		return err
	}
	if half := len(batch) / 2; half > 0 {
		if err := i.deliver(ctx, batch[:half]); err != nil {
			return err
		}
		return i.deliver(ctx, batch[half:])
	}
	message := tooLarge(batch[0], i.conn.NC.MaxPayload())
	i.log.Warn("a result is larger than the broker takes", "ingress", i.id, "error", message.GetResult().GetFailure().GetMessage())
	return i.repeat(ctx, []response{newResponse(message, nil)})
}

// codeInternal is the failure code of what the engine makes up.
const codeInternal = 500

// tooLarge is what is delivered instead of a result that is larger than the broker takes.
func tooLarge(r response, most int64) *storagev1.IngressResponse {
	of := "an invocation"
	if id, err := ids.InvocationIDFromBytes(r.message.GetInvocationId()); err == nil {
		of = id.String()
	}
	return &storagev1.IngressResponse{
		IngressId:    r.message.GetIngressId(),
		RequestId:    r.message.GetRequestId(),
		InvocationId: r.message.GetInvocationId(),
		ExpiresAt:    r.message.GetExpiresAt(),
		Retained:     r.message.GetRetained(),
		Result: &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{
			Code: codeInternal,
			Message: errcode.New(errcode.ResultTooLarge,
				"the result of %s takes %d bytes, and the broker takes %d in a message", of, r.size, most).Error(),
		}}},
	}
}

// repeat sends the results until the ingress has them. ErrGone when it does not come for them, ErrMaxPayload when they are more
// than the broker takes.
func (i *ingress) repeat(ctx context.Context, batch []response) error {
	message := &workerv1.ResponseBatch{Responses: make([]*storagev1.IngressResponse, len(batch))}
	for n, r := range batch {
		message.Responses[n] = r.message
	}
	data, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	var since struct{ unknown, silent time.Time }
	for {
		attempt, cancel := i.conn.Attached(ctx, i.patience)
		asked := time.Now()
		_, err := i.conn.NC.RequestWithContext(attempt, dispatch.ResponseSubject(i.id), data)
		err = broker.Explain(attempt, err)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, nats.ErrMaxPayload):
			return err
		case errors.Is(err, nats.ErrNoResponders):
			since.unknown, since.silent = earlier(since.unknown, asked), time.Time{}
		case errors.Is(err, context.DeadlineExceeded):
			since.unknown, since.silent = time.Time{}, earlier(since.silent, asked)
		default:
			since.unknown, since.silent = time.Time{}, time.Time{}
		}
		if passed(since.unknown, i.goneAfter) || passed(since.silent, i.silentAfter) {
			i.log.Info("an ingress is gone, dropping its results", "ingress", i.id, "error", err)
			return ErrGone
		}
		if since.unknown.IsZero() {
			i.log.Warn("an ingress did not take results, trying again", "ingress", i.id, "results", len(batch), "error", err)
		}
		if !i.conn.Pause(ctx, retryWait) {
			return ctx.Err()
		}
	}
}

// earlier returns when it began, which is now if it had not.
func earlier(began, now time.Time) time.Time {
	if began.IsZero() {
		return now
	}
	return began
}

// passed says whether it has been going on for longer, if at all.
func passed(began time.Time, limit time.Duration) bool {
	return !began.IsZero() && time.Since(began) > limit
}
