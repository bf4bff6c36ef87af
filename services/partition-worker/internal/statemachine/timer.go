package statemachine

import (
	"fmt"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/storage"
)

func (s *step) setTimer(id storage.TimerID, timer *storagev1.Timer) error {
	s.act(SetTimer{Timer: id})
	return storage.PutTimer(s.tx, id, timer)
}

// timerFired does what the timer was set for. Leaders may report a timer twice; the second finds no row.
func (s *step) timerFired(command *logv1.TimerFired) error {
	timer, err := storage.GetTimer(s.tx, command.GetKey())
	if err != nil || timer == nil {
		return err
	}
	id, err := storage.ParseTimerKey(command.GetKey())
	if err != nil {
		return err
	}
	s.tx.Delete(command.GetKey())
	invocation, err := s.cache.get(s.tx, id.Invocation)
	if err != nil {
		return err
	}
	switch t := timer.GetTimer().(type) {
	case *storagev1.Timer_CompleteSleep:
		if !inProgress(invocation) {
			return nil
		}
		invocation.PendingSleeps--
		s.cache.put(id.Invocation, invocation)
		known, err := storage.GetCompletion(s.tx, id.Invocation, t.CompleteSleep.GetCompletionId())
		if err != nil || known.GetJournalIndex() != 0 {
			return err
		}
		return s.complete(id.Invocation, invocation, t.CompleteSleep.GetCompletionId(), void())
	case *storagev1.Timer_StartInvocation:
		if invocation.GetState() != storagev1.Invocation_STATE_SCHEDULED {
			return nil
		}
		return s.admit(id.Invocation, invocation, nil)
	case *storagev1.Timer_DropInvocation:
		if invocation.GetState() != storagev1.Invocation_STATE_COMPLETED || invocation.GetExpiresAt() != id.FireAt {
			return nil
		}
		return s.drop(id.Invocation, invocation, false)
	case *storagev1.Timer_DropJournal:
		if invocation.GetState() != storagev1.Invocation_STATE_COMPLETED || invocation.GetJournalExpiresAt() != id.FireAt {
			return nil
		}
		return s.drop(id.Invocation, invocation, true)
	default:
		return fmt.Errorf("timer %x is for nothing that this release knows", command.GetKey())
	}
}
