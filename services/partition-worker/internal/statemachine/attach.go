package statemachine

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
)

// codeNotFound is the failure code of handlers that ask for an invocation that is not known.
const codeNotFound = 404

// attachTo sends the result of an invocation to whoever asks for it.
func (s *step) attachTo(command *logv1.Attach) error {
	id, err := invocationID(command.GetInvocationId())
	if err != nil {
		return err
	}
	invocation, err := s.cache.get(s.tx, id)
	if err != nil {
		return err
	}
	sink := command.GetResponseSink()
	s.dropLeft(id, invocation, sink.GetIngress())
	switch {
	case invocation == nil && sink.GetIngress() != nil:
		return s.report(id, sink, storagev1.Outcome_OUTCOME_UNKNOWN_INVOCATION)
	case invocation == nil:
		return s.respond(id, nil, sink, failure(&journalv1.Failure{Code: codeNotFound, Message: "not found"}), 0, false)
	case command.GetWait() || invocation.GetState() == storagev1.Invocation_STATE_COMPLETED:
		return s.attach(id, invocation, sink)
	case sink.GetIngress() != nil:
		return s.report(id, sink, storagev1.Outcome_OUTCOME_NOT_READY)
	}
	return s.respond(id, invocation, sink, void(), 0, false)
}

// attachCommand asks for the result of an invocation on behalf of a handler.
func (s *step) attachCommand(
	id ids.InvocationID, invocation *storagev1.Invocation, ref *journalv1.InvocationRef, completionID uint32, wait bool,
) error {
	return s.sendAttach(&logv1.Attach{
		InvocationId: ref.GetInvocationId(), ResponseSink: callerSink(id, invocation, completionID), Wait: wait,
	})
}
