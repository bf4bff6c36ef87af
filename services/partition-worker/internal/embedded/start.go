package embedded

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/embedded"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	"github.com/restate-go/restate/pkg/storage"
)

// Start begins the operation, or goes on with it: the answer has its journal so far. A stream before has no effect from
// then on. An operation that is over is answered with its result.
func (h *Host) Start(
	ctx context.Context, request *restatev1.StartRequest, span *journalv1.SpanContext,
) (*restatev1.StartResponse, error) {
	id := embedded.InvocationID(request.GetOperationId())
	record, err := h.record(id)
	if err != nil {
		return nil, err
	}
	if record.GetState() == storagev1.Invocation_STATE_COMPLETED {
		return h.completed(record), nil
	}
	if err := h.makeRoom(); err != nil {
		return nil, err
	}
	retention := uint64(embedded.DefaultRetention / time.Millisecond)
	if seconds := request.GetRetentionPeriodSec(); seconds != 0 {
		retention = uint64(seconds) * 1000
	}
	// The run is numbered by the record that begins it.
	run, err := h.apply(ctx, id, &logv1.Record{Command: &logv1.Record_Invoke{Invoke: &logv1.Invoke{
		InvocationId:        id[:],
		Target:              embedded.Target(request.GetOperationId()),
		Argument:            request.GetArgument(),
		CompletionRetention: retention,
		SpanContext:         span,
		ClientStream:        request.GetStreamId(),
	}}})
	if err != nil {
		return nil, err
	}
	return h.begin(id, run)
}

// begin tells the client of a run where it begins.
func (h *Host) begin(id ids.InvocationID, run uint64) (*restatev1.StartResponse, error) {
	snapshot := h.deps.State.Snapshot()
	defer snapshot.Close()
	record, err := storage.GetInvocation(snapshot, id)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "read the invocation %s: %s", id, err)
	}
	switch {
	case record.GetState() == storagev1.Invocation_STATE_COMPLETED:
		return h.completed(record), nil
	case record.GetRun() != run:
		return nil, status.Error(codes.Aborted, "another stream of the operation was started at the same time")
	}
	size := 0
	entries, err := storage.LoadJournal(snapshot, id, record.GetJournalLength(), func(bytes int) error {
		if size += bytes; size > h.deps.Bounds.Bytes { // results count, which nothing else holds back
			return h.deps.Bounds.Exceeded()
		}
		return nil
	})
	switch {
	case errcode.Of(err, "") == errcode.JournalTooLarge:
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	case err != nil:
		return nil, status.Error(codes.Internal, err.Error())
	}
	frames, err := wire.AppendStart(nil, wire.Start{ID: id, Entries: entries, PartialState: true})
	if err != nil {
		return nil, status.Errorf(codes.Internal, "encode the journal of %s: %s", id, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if o, ok := h.operations[id]; ok && o.stream != nil && o.stream.run.Number == run {
		s := o.stream
		s.begun, s.seen = true, h.deps.Now()
		s.next, s.size = record.GetCommandCount(), len(frames)
		s.position, s.commands = record.GetJournalLength(), record.GetCommandCount()
	}
	return &restatev1.StartResponse{
		InvocationStatus: &restatev1.StartResponse_Executing{Executing: frames},
		StreamTimeoutSec: h.timeoutSeconds(),
	}, nil
}

func (h *Host) completed(record *storagev1.Invocation) *restatev1.StartResponse {
	return &restatev1.StartResponse{
		InvocationStatus: &restatev1.StartResponse_Completed{Completed: resultOf(record)},
		StreamTimeoutSec: h.timeoutSeconds(),
	}
}

func (h *Host) timeoutSeconds() uint32 {
	return uint32(max(h.cfg.StreamTimeout, 0) / time.Second) //nolint:gosec // a minute
}
