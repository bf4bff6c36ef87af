package embedded

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/embedded"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	"github.com/restate-go/restate/pkg/storage"
)

// Recv waits for results and acknowledgements that the client has not been told of. It is answered without any after a
// while, and when another Recv comes: the client has given this one up.
func (h *Host) Recv(ctx context.Context, request *restatev1.RecvRequest) (*restatev1.RecvResponse, error) {
	s, why, err := h.enter(embedded.InvocationID(request.GetOperationId()), request.GetStreamId())
	if s == nil {
		return recvResponse(why, nil), err
	}
	defer h.leave(s)
	number := h.receiver(s)
	if err := acquire(ctx, s.receiving); err != nil {
		return nil, err
	}
	defer release(s.receiving)
	patience := time.NewTimer(h.cfg.RecvWait)
	defer patience.Stop()
	for {
		changed, replaced := h.watch(s, number)
		if why, err := h.check(s); why != valid || err != nil {
			return recvResponse(why, nil), err
		}
		if replaced {
			return recvResponse(valid, nil), nil
		}
		frames, err := h.results(s)
		if err != nil || len(frames) > 0 {
			return recvResponse(valid, frames), err
		}
		select {
		case <-changed:
		case <-patience.C:
			return recvResponse(valid, nil), nil
		case <-ctx.Done():
			return nil, errUnavailable("the client stopped waiting")
		case <-h.closed:
			return nil, errUnavailable("this worker leads the partition no longer")
		}
	}
}

// receiver numbers a Recv, and lets the one before it go.
func (h *Host) receiver(s *stream) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.receivers++
	s.operation.notify()
	return s.receivers
}

// watch returns what is closed when something happens, and whether another Recv has come.
func (h *Host) watch(s *stream, number uint64) (changed <-chan struct{}, replaced bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.operation.changed, s.receivers != number
}

// errEnough ends a scan that has found enough.
var errEnough = errors.New("enough for one answer")

// results returns the frames of what the client has not been told, and moves on behind them.
func (h *Host) results(s *stream) ([]byte, error) {
	snapshot := h.deps.State.Snapshot()
	defer snapshot.Close()
	record, err := storage.GetInvocation(snapshot, s.run.ID)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "read the invocation %s: %s", s.run.ID, err)
	}
	if record.GetRun() != s.run.Number {
		return nil, nil // the stream is about to be told
	}
	var frames []byte
	err = storage.ScanJournal(snapshot, s.run.ID, s.position, record.GetJournalLength(),
		func(index uint32, entry *journalv1.Entry) error {
			if len(frames) >= maxRecvBytes {
				return errEnough
			}
			var err error
			if notification := entry.GetNotification(); notification != nil {
				s.told.Add(int64(proto.Size(notification)))
				frames, err = wire.AppendCompletion(frames, notification.GetCompletionId(), notification.GetResult())
			} else {
				if entry.GetCommand().GetAckRequested() {
					frames, err = wire.AppendAck(frames, s.commands)
				}
				s.commands++
			}
			s.position = index + 1
			return err
		})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, status.Errorf(codes.Internal, "read the journal of %s: %s", s.run.ID, err)
	}
	return frames, nil
}

func recvResponse(s standing, frames []byte) *restatev1.RecvResponse {
	switch s {
	case invalid:
		return &restatev1.RecvResponse{Response: &restatev1.RecvResponse_InvalidStream{InvalidStream: &emptypb.Empty{}}}
	case completed:
		return &restatev1.RecvResponse{
			Response: &restatev1.RecvResponse_InvocationCompleted{InvocationCompleted: &emptypb.Empty{}},
		}
	case valid:
	}
	return &restatev1.RecvResponse{Response: &restatev1.RecvResponse_Messages{Messages: frames}}
}
