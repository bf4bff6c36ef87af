package ingress

import (
	"context"

	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/ids"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	"github.com/restate-go/restate/services/ingress/internal/failure"
)

// procedures runs what gRPC and Connect ask for. Its errors are *connect.Error.
type procedures struct{ dispatcher *dispatch.Dispatcher }

// Call implements front.Dispatcher.
func (p procedures) Call(ctx context.Context, invoke *logv1.Invoke) (*storagev1.IngressResponse, error) {
	key := partitionKey(invoke.GetInvocationId())
	response, err := p.dispatcher.Ask(ctx, key, func(sink *logv1.ResponseSink) *logv1.Record {
		invoke.ResponseSink = sink
		return &logv1.Record{Command: &logv1.Record_Invoke{Invoke: invoke}}
	})
	if err != nil {
		return nil, failure.OfDispatch(err)
	}
	return response, nil
}

// Submit implements builtin.Dispatcher.
func (p procedures) Submit(ctx context.Context, invoke *logv1.Invoke) error {
	return p.submit(ctx, invoke.GetInvocationId(), &logv1.Record{Command: &logv1.Record_Invoke{Invoke: invoke}})
}

// Notify implements builtin.Dispatcher.
func (p procedures) Notify(ctx context.Context, notify *logv1.Notify) error {
	return p.submit(ctx, notify.GetInvocationId(), &logv1.Record{Command: &logv1.Record_Notify{Notify: notify}})
}

func (p procedures) submit(ctx context.Context, invocationID []byte, record *logv1.Record) error {
	if err := p.dispatcher.Submit(ctx, partitionKey(invocationID), record); err != nil {
		return failure.OfDispatch(err)
	}
	return nil
}

// partitionKey takes an id that this process has made or parsed.
func partitionKey(invocationID []byte) uint64 { return ids.InvocationID(invocationID).PartitionKey() }
