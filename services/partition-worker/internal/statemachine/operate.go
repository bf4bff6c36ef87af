package statemachine

import (
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// rest stops the attempts of an invocation until it is resumed. It keeps its service instance.
func (s *step) rest(id ids.InvocationID, invocation *storagev1.Invocation, reason *logv1.Paused) {
	s.cache.put(id, invocation)
	invocation.State = storagev1.Invocation_STATE_PAUSED
	invocation.ModifiedAt = s.now
	invocation.Awaiting, invocation.KnownEntries = nil, 0
	invocation.PausedWith, invocation.PausedCode, invocation.PausedAttempts = reason.GetFailure(), reason.GetCode(), reason.GetAttempts()
}

// pause does so on an operator's behalf. What the attempt under way has not stored is lost with it, as when it fails.
func (s *step) pause(command *logv1.Pause) error {
	id, invocation, err := s.asked(command.GetInvocationId())
	if err != nil {
		return err
	}
	outcome := storagev1.Outcome_OUTCOME_SIGNALLED
	switch invocation.GetState() {
	case storagev1.Invocation_STATE_INVOKED:
		s.act(AbortInvocation{ID: id, Run: invocation.GetRun()})
		s.rest(id, invocation, nil)
	case storagev1.Invocation_STATE_SUSPENDED:
		s.rest(id, invocation, nil)
	case storagev1.Invocation_STATE_PAUSED:
		outcome = storagev1.Outcome_OUTCOME_DONE
	case storagev1.Invocation_STATE_SCHEDULED, storagev1.Invocation_STATE_INBOXED,
		storagev1.Invocation_STATE_COMPLETED, storagev1.Invocation_STATE_UNSPECIFIED:
		outcome = cannot(invocation)
	}
	return s.report(id, command.GetResponseSink(), outcome)
}

// resume begins the next attempt now, at another endpoint if one is named.
func (s *step) resume(command *logv1.Resume) error {
	id, invocation, err := s.asked(command.GetInvocationId())
	if err != nil {
		return err
	}
	outcome := storagev1.Outcome_OUTCOME_DONE
	move := command.GetPin()
	switch invocation.GetState() {
	case storagev1.Invocation_STATE_PAUSED, storagev1.Invocation_STATE_SUSPENDED:
		if move != nil && invocation.GetPin() == nil {
			outcome = storagev1.Outcome_OUTCOME_CANNOT_MOVE
			break
		}
		if move != nil {
			invocation.Pin = move
		}
		if err := s.begin(id, invocation, nil); err != nil {
			return err
		}
	case storagev1.Invocation_STATE_INVOKED:
		if move != nil {
			outcome = storagev1.Outcome_OUTCOME_CANNOT_MOVE
			break
		}
		s.act(RetryInvocation{ID: id, Run: invocation.GetRun()})
	case storagev1.Invocation_STATE_SCHEDULED, storagev1.Invocation_STATE_INBOXED,
		storagev1.Invocation_STATE_COMPLETED, storagev1.Invocation_STATE_UNSPECIFIED:
		outcome = cannot(invocation)
	}
	return s.report(id, command.GetResponseSink(), outcome)
}

// asked returns the invocation that an operator's request is about; nil when it is not known.
func (s *step) asked(b []byte) (ids.InvocationID, *storagev1.Invocation, error) {
	id, err := invocationID(b)
	if err != nil {
		return ids.InvocationID{}, nil, err
	}
	invocation, err := s.cache.get(s.tx, id)
	return id, invocation, err
}

// cannot says why a request does not fit the state of an invocation; nil is an unknown one.
func cannot(invocation *storagev1.Invocation) storagev1.Outcome {
	switch invocation.GetState() {
	case storagev1.Invocation_STATE_COMPLETED:
		return storagev1.Outcome_OUTCOME_COMPLETED
	case storagev1.Invocation_STATE_SCHEDULED, storagev1.Invocation_STATE_INBOXED:
		return storagev1.Outcome_OUTCOME_NOT_STARTED
	case storagev1.Invocation_STATE_INVOKED, storagev1.Invocation_STATE_SUSPENDED, storagev1.Invocation_STATE_PAUSED:
		return storagev1.Outcome_OUTCOME_NOT_COMPLETED
	case storagev1.Invocation_STATE_UNSPECIFIED:
	}
	return storagev1.Outcome_OUTCOME_UNKNOWN_INVOCATION
}

// purge forgets an invocation that is over, or its journal.
func (s *step) purge(command *logv1.Purge) error {
	id, invocation, err := s.asked(command.GetInvocationId())
	if err != nil {
		return err
	}
	outcome := storagev1.Outcome_OUTCOME_DONE
	switch {
	case invocation == nil:
		outcome = storagev1.Outcome_OUTCOME_UNKNOWN_INVOCATION
	case invocation.GetState() != storagev1.Invocation_STATE_COMPLETED:
		outcome = storagev1.Outcome_OUTCOME_NOT_COMPLETED
	default:
		if err := s.drop(id, invocation, command.GetJournalOnly()); err != nil {
			return err
		}
	}
	return s.report(id, command.GetResponseSink(), outcome)
}

// drop forgets a completed invocation, or only its journal, and the timers that were to do so.
func (s *step) drop(id ids.InvocationID, invocation *storagev1.Invocation, journalOnly bool) error {
	s.cache.put(id, invocation)
	s.dropJournal(id, invocation)
	if at := invocation.GetJournalExpiresAt(); at != 0 && at != invocation.GetExpiresAt() {
		s.tx.Delete(storage.TimerID{FireAt: at, Invocation: id, Kind: storage.TimerDropJournal}.Key())
	}
	invocation.JournalExpiresAt = 0
	if journalOnly {
		return nil
	}
	s.tx.Delete(storage.TimerID{FireAt: invocation.GetExpiresAt(), Invocation: id, Kind: storage.TimerDrop}.Key())
	return s.forget(id, invocation)
}
