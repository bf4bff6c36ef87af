package statemachine

import (
	"slices"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// appendCommand stores a command as the next entry of the journal.
func (s *step) appendCommand(id ids.InvocationID, invocation *storagev1.Invocation, command *journalv1.Command) (*journalv1.Entry, error) {
	entry := &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: command}, AppendedAt: s.now}
	if err := storage.PutJournalEntry(s.tx, id, invocation.GetJournalLength(), entry); err != nil {
		return nil, err
	}
	s.cache.put(id, invocation)
	invocation.JournalLength++
	invocation.CommandCount++
	invocation.ModifiedAt = s.now
	return entry, nil
}

// appendNotification stores a result as the next entry of the journal and hands it to whoever waits for it.
func (s *step) appendNotification(id ids.InvocationID, invocation *storagev1.Invocation, notification *journalv1.Notification) error {
	index := invocation.GetJournalLength()
	entry := &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: notification}, AppendedAt: s.now}
	if err := storage.PutJournalEntry(s.tx, id, index, entry); err != nil {
		return err
	}
	if err := s.noteArrival(id, notification, index); err != nil {
		return err
	}
	s.cache.put(id, invocation)
	invocation.JournalLength++
	invocation.ModifiedAt = s.now
	switch invocation.GetState() {
	case storagev1.Invocation_STATE_INVOKED:
		s.act(NotifyInvocation{ID: id, Run: invocation.GetRun(), JournalIndex: index, Notification: notification})
		return nil
	case storagev1.Invocation_STATE_SUSPENDED:
		return s.resumeIfReady(id, invocation, notification, index)
	case storagev1.Invocation_STATE_PAUSED:
		if notification.GetSignalIndex() == signalCancel {
			return s.begin(id, invocation, nil)
		}
		return nil
	case storagev1.Invocation_STATE_UNSPECIFIED, storagev1.Invocation_STATE_SCHEDULED,
		storagev1.Invocation_STATE_INBOXED, storagev1.Invocation_STATE_COMPLETED:
		return nil
	}
	return nil
}

// noteArrival makes a notification findable by its id.
func (s *step) noteArrival(id ids.InvocationID, notification *journalv1.Notification, index uint32) error {
	failed := notification.GetResult().GetFailure() != nil
	l := leafOf(notification)
	if l.kind == leafCompletion {
		return storage.PutCompletion(s.tx, id, l.index, &storagev1.Completion{
			Completion: &storagev1.Completion_JournalIndex{JournalIndex: index}, Failed: failed,
		})
	}
	before, err := storage.GetSignal(s.tx, id, l.index, l.name)
	if err != nil {
		return err
	}
	return storage.PutSignal(s.tx, id, l.index, l.name, &storagev1.Signal{
		JournalIndex: index, Failed: failed, PreviousIndex: before.GetJournalIndex(),
	})
}

// complete stores the result of a command that the runtime can answer at once.
func (s *step) complete(id ids.InvocationID, invocation *storagev1.Invocation, completionID uint32, result *journalv1.Result) error {
	return s.appendNotification(id, invocation, &journalv1.Notification{
		Id:     &journalv1.Notification_CompletionId{CompletionId: completionID},
		Result: result,
	})
}

// suspend stores what the handler waits for, unless that has arrived in the meantime.
func (s *step) suspend(id ids.InvocationID, invocation *storagev1.Invocation, future *journalv1.Future, knownEntries uint32) error {
	s.cache.put(id, invocation)
	invocation.State = storagev1.Invocation_STATE_SUSPENDED
	invocation.ModifiedAt = s.now
	invocation.Awaiting, invocation.KnownEntries = future, knownEntries
	return s.resumeIfReady(id, invocation, nil, 0)
}

// notify delivers a result to an invocation. Each completion id is completed once; what comes later, or for an
// invocation that is over, is dropped.
func (s *step) notify(command *logv1.Notify) error {
	id, err := invocationID(command.GetInvocationId())
	if err != nil {
		return err
	}
	invocation, err := s.cache.get(s.tx, id)
	if err != nil || !inProgress(invocation) {
		return err
	}
	if created := command.GetCreatedLsn(); created != 0 && created != invocation.GetCreatedLsn() {
		return nil
	}
	notification := command.GetNotification()
	if _, ok := notification.GetId().(*journalv1.Notification_CompletionId); !ok {
		return s.appendNotification(id, invocation, notification)
	}
	known, err := storage.GetCompletion(s.tx, id, notification.GetCompletionId())
	if err != nil || known.GetCompletion() != nil && (known.GetEarly() == nil || command.GetAwakeable()) {
		return err
	}
	if command.GetAwakeable() {
		// The id came from outside the runtime and may name any command, or one that is not there yet.
		awakeable, found, err := s.isAwakeable(id, invocation, notification.GetCompletionId())
		if err != nil || (found && !awakeable) {
			return err
		}
		if !found {
			s.cache.put(id, invocation)
			invocation.EarlyCompletions = true
			return storage.PutCompletion(s.tx, id, notification.GetCompletionId(), &storagev1.Completion{
				Completion: &storagev1.Completion_Early{Early: notification.GetResult()},
			})
		}
	}
	return s.appendNotification(id, invocation, notification)
}

// inProgress says whether the journal of the invocation takes results.
func inProgress(invocation *storagev1.Invocation) bool {
	state := invocation.GetState()
	return state == storagev1.Invocation_STATE_INVOKED || state == storagev1.Invocation_STATE_SUSPENDED ||
		state == storagev1.Invocation_STATE_PAUSED
}

// isAwakeable looks for the command with the completion id, and says whether it is an awakeable.
func (s *step) isAwakeable(id ids.InvocationID, invocation *storagev1.Invocation, completionID uint32) (awakeable, found bool, err error) {
	err = storage.ScanJournal(s.tx, id, 0, invocation.GetJournalLength(), func(_ uint32, entry *journalv1.Entry) error {
		if slices.Contains(completionIDs(entry.GetCommand()), completionID) {
			awakeable, found = entry.GetCommand().GetAwakeable() != nil, true
		}
		return nil
	})
	return awakeable, found, err
}
