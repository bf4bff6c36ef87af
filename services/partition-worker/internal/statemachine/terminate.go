package statemachine

import (
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// terminate ends an invocation on behalf of an operator or of its caller. One that is over or unknown is left alone.
func (s *step) terminate(command *logv1.Terminate) error {
	id, invocation, err := s.asked(command.GetInvocationId())
	if err != nil {
		return err
	}
	var outcome storagev1.Outcome
	switch command.GetMode() {
	case logv1.TerminationMode_TERMINATION_MODE_KILL:
		var callees [][]byte
		if outcome, callees, err = s.kill(id, invocation); err == nil && command.GetCascade() {
			err = s.killAll(callees)
		}
	case logv1.TerminationMode_TERMINATION_MODE_CANCEL:
		outcome, err = s.cancel(id, invocation)
	case logv1.TerminationMode_TERMINATION_MODE_UNSPECIFIED:
		return fmt.Errorf("termination of %s has no mode that this release knows", id)
	}
	if err != nil {
		return err
	}
	return s.report(id, command.GetResponseSink(), outcome)
}

// kill completes an invocation without asking the handler. It returns those whose results that one waited for.
func (s *step) kill(id ids.InvocationID, invocation *storagev1.Invocation) (outcome storagev1.Outcome, callees [][]byte, err error) {
	killed := failure(&journalv1.Failure{Code: codeConflict, Message: "killed"})
	if notBegun(invocation) {
		return storagev1.Outcome_OUTCOME_DONE, nil, s.withdraw(id, invocation, killed)
	}
	if !inProgress(invocation) {
		return cannot(invocation), nil, nil
	}
	if callees, err = s.callees(id, invocation); err != nil {
		return 0, nil, err
	}
	if invocation.GetState() == storagev1.Invocation_STATE_INVOKED {
		s.act(AbortInvocation{ID: id, Run: invocation.GetRun()})
	}
	return storagev1.Outcome_OUTCOME_DONE, callees, s.finish(id, invocation, killed)
}

// killAll kills invocations and those that they wait for, wherever they are. Calls may be nested to any depth, so it
// does not call itself.
func (s *step) killAll(invocations [][]byte) error {
	for len(invocations) > 0 {
		next := invocations[0]
		invocations = invocations[1:]
		local, err := s.isLocal(next)
		if err != nil {
			return err
		}
		if !local {
			if err := s.sendTerminate(&logv1.Terminate{
				InvocationId: next, Mode: logv1.TerminationMode_TERMINATION_MODE_KILL, Cascade: true,
			}); err != nil {
				return err
			}
			continue
		}
		id, invocation, err := s.asked(next)
		if err != nil {
			return err
		}
		_, callees, err := s.kill(id, invocation)
		if err != nil {
			return err
		}
		invocations = append(invocations, callees...)
	}
	return nil
}

// callees returns the invocations whose results an invocation waits for.
func (s *step) callees(id ids.InvocationID, invocation *storagev1.Invocation) ([][]byte, error) {
	var callees [][]byte
	err := storage.ScanJournal(s.tx, id, 0, invocation.GetJournalLength(), func(_ uint32, entry *journalv1.Entry) error {
		call := entry.GetCommand().GetCall()
		if call == nil || call.GetRequest() == nil {
			return nil
		}
		completion, err := storage.GetCompletion(s.tx, id, call.GetCompletionId())
		if completion.GetJournalIndex() == 0 {
			callees = append(callees, call.GetRequest().GetInvocationId())
		}
		return err
	})
	return callees, err
}

// cancel asks the handler to end. One that has not begun is not asked.
func (s *step) cancel(id ids.InvocationID, invocation *storagev1.Invocation) (storagev1.Outcome, error) {
	if notBegun(invocation) {
		canceled := failure(&journalv1.Failure{Code: codeConflict, Message: "canceled"})
		return storagev1.Outcome_OUTCOME_DONE, s.withdraw(id, invocation, canceled)
	}
	if !inProgress(invocation) {
		return cannot(invocation), nil
	}
	return storagev1.Outcome_OUTCOME_SIGNALLED, s.appendNotification(id, invocation, cancellation())
}

func notBegun(invocation *storagev1.Invocation) bool {
	return invocation.GetState() == storagev1.Invocation_STATE_SCHEDULED || invocation.GetState() == storagev1.Invocation_STATE_INBOXED
}

// withdraw ends an invocation that waits for its time or its turn. Nothing is kept of it.
func (s *step) withdraw(id ids.InvocationID, invocation *storagev1.Invocation, result *journalv1.Result) error {
	if invocation.GetState() == storagev1.Invocation_STATE_SCHEDULED {
		s.tx.Delete(storage.TimerID{
			FireAt: invocation.GetExecutionTime(), Invocation: id, Kind: storage.TimerStart,
		}.Key())
	} else {
		s.tx.Delete(storage.InboxKey(instanceOf(id, invocation), invocation.GetInboxSequence()))
	}
	if err := s.answerAll(id, invocation, result, 0); err != nil {
		return err
	}
	if err := s.dropNotifications(id, invocation); err != nil {
		return err
	}
	s.dropJournal(id, invocation)
	s.cache.put(id, nil)
	return nil
}
