package embedded

import (
	"bytes"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/embedded"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
)

// Send stores what the handler did, and answers when it is durable. Frames that cannot be taken are refused together
// with all others of the request. A request that fails as unavailable ends the stream: the client cannot know from where
// it would have to go on.
func (h *Host) Send(ctx context.Context, request *restatev1.SendRequest) (*restatev1.SendResponse, error) {
	s, why, err := h.enter(embedded.InvocationID(request.GetOperationId()), request.GetStreamId())
	if s == nil {
		return sendResponse(why), err
	}
	defer h.leave(s)
	if err := acquire(ctx, s.sending); err != nil {
		return nil, err
	}
	defer release(s.sending)
	if why, err := h.check(s); why != valid || err != nil {
		return sendResponse(why), err
	}
	frames, err := h.decode(s, request.GetMessages())
	if err != nil {
		return nil, err
	}
	if _, err := h.apply(ctx, s.run.ID, frames.records...); err != nil {
		h.end(s)
		return nil, err
	}
	s.next += uint32(len(frames.records)) //nolint:gosec // the size is bounded
	s.size += len(request.GetMessages())
	if frames.output && h.complete(s) {
		return sendResponse(valid), nil
	}
	why, err = h.check(s)
	if frames.failure != nil && why == valid {
		h.deps.Log.Warn("an embedded handler failed; it goes on when its client starts it again",
			"invocation", s.run.ID.String(), "error", frames.failure.Error())
		h.end(s)
	}
	return sendResponse(why), err
}

// Ping keeps the stream from being taken for one whose client is gone.
func (h *Host) Ping(request *restatev1.PingRequest) (*restatev1.SendResponse, error) {
	s, why, err := h.enter(embedded.InvocationID(request.GetOperationId()), request.GetStreamId())
	if s != nil {
		h.leave(s)
	}
	return sendResponse(why), err
}

func sendResponse(s standing) *restatev1.SendResponse {
	switch s {
	case invalid:
		return &restatev1.SendResponse{Response: &restatev1.SendResponse_InvalidStream{InvalidStream: &emptypb.Empty{}}}
	case completed:
		return &restatev1.SendResponse{
			Response: &restatev1.SendResponse_InvocationCompleted{InvocationCompleted: &emptypb.Empty{}},
		}
	case valid:
	}
	return &restatev1.SendResponse{Response: &restatev1.SendResponse_Ok{Ok: &emptypb.Empty{}}}
}

// sent is what the frames of a Send stand for.
type sent struct {
	records []*logv1.Record
	// output says that the last record ends the operation.
	output bool
	// failure is what the handler reports after the records; the operation does not end by it.
	failure *wire.EndpointError
}

// decode reads the frames of a Send. It changes nothing; the error is one for the client.
func (h *Host) decode(s *stream, messages []byte) (*sent, error) {
	if s.size+len(messages) > maxJournalBytes {
		return nil, status.Errorf(codes.ResourceExhausted,
			"the operation would have more than %d bytes in its journal", maxJournalBytes)
	}
	record, err := h.record(s.run.ID)
	if err != nil {
		return nil, err
	}
	var extent invoker.Extent
	extent.Begin(h.deps.Bounds, int(record.GetJournalLength()), s.size+int(s.told.Load()))
	resolver := invoker.Resolver{Schema: h.deps.Schema(), SpanContext: s.run.SpanContext}
	frames := frame.NewReader(bytes.NewReader(messages), uint32(len(messages))) //nolint:gosec // bounded above
	all := &sent{}
	for {
		f, err := frames.Next()
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, status.Errorf(codes.InvalidArgument, "messages: %s", err)
		case all.output || all.failure != nil:
			return nil, status.Error(codes.InvalidArgument, "messages: a frame follows the one that ends the handler")
		case f.Type == wire.TypeSleep:
			return nil, status.Error(codes.Unimplemented, "an embedded handler cannot sleep")
		case f.Type == wire.TypeSuspension:
			return nil, status.Error(codes.Unimplemented, "an embedded handler cannot suspend")
		}
		index := s.next + uint32(len(all.records)) //nolint:gosec // the size is bounded
		message, err := wire.Decode(f, index)
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "messages: entry %d: %s", index, err)
		}
		switch m := message.(type) {
		case *wire.EndpointError:
			all.failure = m
		case *journalv1.Command:
			if all.output = m.GetOutput() != nil; !all.output {
				if err := extent.Admit(m, frame.HeaderSize+len(f.Payload), resolver); err != nil {
					return nil, status.Errorf(refusal(err), "messages: entry %d: %s", index, err)
				}
			}
			all.records = append(all.records, s.record(index, m))
		default:
			return nil, status.Errorf(codes.InvalidArgument, "messages: entry %d: a client may not send %T", index, m)
		}
	}
}

// refusal says what a command is refused as that was not admitted.
func refusal(err error) codes.Code {
	switch errcode.Of(err, "") {
	case errcode.CommandRefused:
		return codes.InvalidArgument
	case errcode.JournalTooLarge:
		return codes.ResourceExhausted
	default: // what it calls is not there, or not so
		return codes.NotFound
	}
}

func (s *stream) record(index uint32, command *journalv1.Command) *logv1.Record {
	effect := &logv1.InvokerEffect{InvocationId: s.run.ID[:], Run: s.run.Number}
	if output := command.GetOutput(); output != nil {
		effect.Effect = &logv1.InvokerEffect_Ended{Ended: &logv1.Ended{Output: output.GetResult()}}
	} else {
		effect.Effect = &logv1.InvokerEffect_AppendCommand{
			AppendCommand: &logv1.AppendCommand{CommandIndex: index, Command: command},
		}
	}
	return &logv1.Record{Command: &logv1.Record_InvokerEffect{InvokerEffect: effect}}
}
