// Package dispatch makes requests durable in the partition logs and waits for their results.
package dispatch

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/keyspace"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"
)

// The errors of a dispatcher wrap one of these, or the error of the context.
var (
	// ErrTooLarge means that the request does not fit into a log record. Nothing was run.
	ErrTooLarge = errors.New("the request is larger than a log record may be")
	// ErrRefused means that the log took no record. Nothing was run; the same request may be taken later.
	ErrRefused = errors.New("the request was not accepted: nothing was run, try again later")
	// ErrUnconfirmed means that the request may be in the log or not.
	ErrUnconfirmed = errors.New("the log did not confirm the request, which may run nevertheless")
	// ErrTooManyWait means that so many wait for the result of the invocation that no more may. It goes on.
	ErrTooManyWait = errors.New("the result cannot be waited for")
	// ErrClosed means that the process stops. The invocation goes on.
	ErrClosed = errors.New("this process is stopping; the invocation goes on, its result is not delivered here")
)

// Log is the log of one partition.
type Log interface {
	// Append hands a record over, waiting only while the log's queue is full. It returns an error when the record was
	// not taken; otherwise done is called once, with nil when the record is durable. done must not block.
	Append(ctx context.Context, record *logv1.Record, done func(lsn uint64, err error)) error
}

// Dispatcher sends requests to the partitions they belong to.
type Dispatcher struct {
	id      string
	layout  keyspace.Layout
	logs    []Log
	pending *pending
	left    *left
}

// New returns the dispatcher of a process, which the id names to the workers: results for a process that was restarted
// go nowhere. There is one log for each partition of the layout.
func New(id string, layout keyspace.Layout, logs []Log) *Dispatcher {
	return &Dispatcher{id: id, layout: layout, logs: logs, pending: newPending(), left: newLeft()}
}

// Ask appends a record to the partition that has the key, and waits for the response to it. ask returns the record with
// the sink that the response has to go to. What was asked for is done whether or not the caller still waits.
func (d *Dispatcher) Ask(
	ctx context.Context, partitionKey uint64, ask func(sink *logv1.ResponseSink) *logv1.Record,
) (*storagev1.IngressResponse, error) {
	id, done := d.pending.add()
	sink := &logv1.IngressSink{IngressId: d.id, RequestId: id}
	record := ask(&logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{Ingress: sink}})
	invocation := waitedFor(record)
	told := d.left.take(invocation)
	sink.Left = told
	err := d.append(ctx, partitionKey, record, func(err error) {
		if err != nil {
			d.left.add(invocation, told...) // the next one says so instead
			d.end(invocation, id, outcome{err: err})
		}
	})
	if err != nil {
		d.left.add(invocation, told...)
		d.pending.resolve(id, outcome{})
		return nil, err
	}
	select {
	case o := <-done:
		if o.response.GetOutcome() == storagev1.Outcome_OUTCOME_TOO_MANY_WAIT {
			return nil, fmt.Errorf("%w: %s", ErrTooManyWait, o.response.GetResult().GetFailure().GetMessage())
		}
		return o.response, o.err
	case <-ctx.Done():
		// In the order opposite to that of end: one of the two finds what the other has done.
		d.left.add(invocation, id)
		if !d.pending.resolve(id, outcome{}) {
			d.left.remove(invocation, id) // the end has just come
		}
		return nil, contextError(ctx)
	}
}

// end gives a request its outcome, after which there is none. It is forgotten if its caller has left.
func (d *Dispatcher) end(invocation []byte, request uint64, o outcome) {
	if !d.pending.resolve(request, o) {
		d.left.remove(invocation, request)
	}
}

// Submit appends a record to the partition that has the key, and returns when it is durable. It takes the record over.
func (d *Dispatcher) Submit(ctx context.Context, partitionKey uint64, record *logv1.Record) error {
	durable := make(chan error, 1)
	if err := d.append(ctx, partitionKey, record, func(err error) { durable <- err }); err != nil {
		return err
	}
	select {
	case err := <-durable:
		return err
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// append puts the errors of the log into words.
func (d *Dispatcher) append(ctx context.Context, partitionKey uint64, record *logv1.Record, done func(error)) error {
	partition := d.layout.PartitionOf(partitionKey)
	err := d.logs[partition].Append(ctx, record, func(_ uint64, err error) {
		if err != nil {
			err = appendError(partition, err)
		}
		done(err)
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return contextError(ctx)
	default:
		return appendError(partition, err)
	}
}

// Deliver takes a batch of results that a worker sent. Results that nobody waits for are dropped: their callers are
// gone, or they came before.
func (d *Dispatcher) Deliver(data []byte) error {
	var batch workerv1.ResponseBatch
	if err := proto.Unmarshal(data, &batch); err != nil {
		return fmt.Errorf("decode a batch of results: %w", err)
	}
	for _, response := range batch.GetResponses() {
		if response.GetIngressId() == d.id {
			d.end(response.GetInvocationId(), response.GetRequestId(), outcome{response: response})
		}
	}
	return nil
}

// Pending returns how many requests wait for a result.
func (d *Dispatcher) Pending() int { return int(d.pending.count.Load()) }

// Close ends all waits for results, those that begin later too, with ErrClosed.
func (d *Dispatcher) Close() { d.pending.close(ErrClosed) }

func appendError(partition uint32, err error) error {
	switch {
	case errors.Is(err, cmdlog.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, cmdlog.ErrRefused):
		return fmt.Errorf("%w: the log of partition %d takes no more records, because it is full or its disk is: %w",
			ErrRefused, partition, err)
	default:
		return fmt.Errorf("partition %d: %w: %w", partition, ErrUnconfirmed, err)
	}
}

func contextError(ctx context.Context) error {
	return fmt.Errorf("the caller stopped waiting: %w", ctx.Err())
}
