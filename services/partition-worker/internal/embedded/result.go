package embedded

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/embedded"
	"github.com/restate-go/restate/pkg/ids"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"
)

// GetResult waits for the result of an operation, for as long as its client is there; none is that of an unknown one.
func (h *Host) GetResult(ctx context.Context, request *restatev1.GetResultRequest) (*restatev1.GetResultResponse, error) {
	id := embedded.InvocationID(request.GetOperationId())
	o := h.await(id)
	defer h.forget(id, o)
	for {
		changed, idle := h.look(o)
		record, err := h.record(id)
		if err != nil {
			return nil, err
		}
		if record == nil || record.GetState() == storagev1.Invocation_STATE_COMPLETED {
			return resultOf(record), nil
		}
		if idle >= h.cfg.StreamTimeout {
			return nil, status.Errorf(codes.DeadlineExceeded,
				"nothing has been heard of the operation's client for %s; it goes on when the client starts it again", h.cfg.StreamTimeout)
		}
		timer := time.NewTimer(h.cfg.StreamTimeout - idle)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			err = errUnavailable("the client stopped waiting")
		case <-h.closed:
			err = errUnavailable("this worker leads the partition no longer")
		}
		timer.Stop()
		if err != nil {
			return nil, err
		}
	}
}

func (h *Host) await(id ids.InvocationID) *operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.operation(id)
	o.waiting++
	return o
}

func (h *Host) forget(id ids.InvocationID, o *operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.waiting--
	h.release(id, o)
}

func (h *Host) look(o *operation) (changed <-chan struct{}, idle time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return o.changed, h.idle(o)
}

// resultOf is the result of an invocation that is over; an unknown one has none.
func resultOf(record *storagev1.Invocation) *restatev1.GetResultResponse {
	response := &restatev1.GetResultResponse{}
	if record == nil {
		response.Response = &restatev1.GetResultResponse_None{None: &emptypb.Empty{}}
		return response
	}
	response.ExpiryTime = time.UnixMilli(int64(record.GetExpiresAt())).UTC().Format(time.RFC3339) //nolint:gosec // set from a clock
	if failure := record.GetResult().GetFailure(); failure != nil {
		response.Response = &restatev1.GetResultResponse_Failure{Failure: &restatev1.GetResultResponse_InvocationFailure{
			Code: wire.FoldCode(failure.GetCode()), Message: failure.GetMessage(),
		}}
		return response
	}
	response.Response = &restatev1.GetResultResponse_Success{Success: record.GetResult().GetValue()}
	return response
}

// Cleanup forgets the result of an operation before its time. One that is not over is refused.
func (h *Host) Cleanup(ctx context.Context, request *restatev1.CleanupRequest) (*emptypb.Empty, error) {
	id := embedded.InvocationID(request.GetOperationId())
	record, err := h.record(id)
	switch {
	case err != nil:
		return nil, err
	case record == nil:
		return &emptypb.Empty{}, nil
	case record.GetState() != storagev1.Invocation_STATE_COMPLETED:
		return nil, status.Errorf(codes.Aborted,
			"the operation is not over; kill the invocation %s to end it", id)
	}
	if _, err := h.apply(ctx, id, &logv1.Record{Command: &logv1.Record_Purge{
		Purge: &logv1.Purge{InvocationId: id[:]},
	}}); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
