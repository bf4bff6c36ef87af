package statemachine

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// restartAsNew runs an invocation that is over again under a new id, from a prefix of its journal.
func (s *step) restartAsNew(command *logv1.RestartAsNew) error {
	id, old, err := s.asked(command.GetInvocationId())
	if err != nil {
		return err
	}
	outcome := storagev1.Outcome_OUTCOME_DONE
	switch {
	case old.GetState() != storagev1.Invocation_STATE_COMPLETED:
		outcome = cannot(old)
	case old.GetTarget().GetKind() == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
		outcome = storagev1.Outcome_OUTCOME_UNSUPPORTED
	case old.GetJournalLength() == 0:
		outcome = storagev1.Outcome_OUTCOME_JOURNAL_GONE
	default:
		entries, err := s.prefix(id, old, command.GetFrom())
		if err != nil {
			return err
		}
		if entries == nil {
			outcome = storagev1.Outcome_OUTCOME_BAD_PREFIX
			break
		}
		if err := s.restart(id, old, entries, command); err != nil {
			return err
		}
	}
	return s.report(id, command.GetResponseSink(), outcome)
}

// prefix returns the entries 0 to last of a journal, followed by the later completions of the commands among them; nil
// when there are not so many, or a command has no completion.
func (s *step) prefix(id ids.InvocationID, invocation *storagev1.Invocation, last uint32) ([]*journalv1.Entry, error) {
	if last >= invocation.GetJournalLength() {
		return nil, nil
	}
	var entries []*journalv1.Entry
	open := map[uint32]bool{}
	err := storage.ScanJournal(s.tx, id, 0, invocation.GetJournalLength(), func(index uint32, entry *journalv1.Entry) error {
		completes := false
		if n, ok := entry.GetNotification().GetId().(*journalv1.Notification_CompletionId); ok {
			completes = open[n.CompletionId]
			delete(open, n.CompletionId)
		}
		if index <= last || completes {
			entries = append(entries, entry)
		}
		if index <= last {
			for _, completionID := range completionIDs(entry.GetCommand()) {
				open[completionID] = true
			}
		}
		return nil
	})
	if err != nil || len(open) > 0 {
		return nil, err
	}
	return entries, nil
}

func (s *step) restart(id ids.InvocationID, old *storagev1.Invocation, entries []*journalv1.Entry, command *logv1.RestartAsNew) error {
	newID, err := invocationID(command.GetNewInvocationId())
	if err != nil {
		return err
	}
	existing, err := s.cache.get(s.tx, newID)
	if err != nil || existing != nil {
		return err
	}
	invocation := &storagev1.Invocation{
		Target:              old.GetTarget(),
		SpanContext:         old.GetSpanContext(),
		CreatedAt:           s.now,
		ModifiedAt:          s.now,
		CompletionRetention: old.GetCompletionRetention(),
		JournalRetention:    old.GetJournalRetention(),
		CreatedLsn:          s.lsn,
		RestartedFrom:       id[:],
		Pin:                 old.GetPin(),
		// What the handler has drawn is in the entries that are taken over: it has to draw the same again.
		RandomSeed: randomSeed(id, old),
	}
	switch {
	case command.GetUnpinned():
		invocation.Pin = nil
	case command.GetPin() != nil:
		invocation.Pin = command.GetPin()
	}
	for _, entry := range entries {
		if err := storage.PutJournalEntry(s.tx, newID, invocation.GetJournalLength(), entry); err != nil {
			return err
		}
		if notification := entry.GetNotification(); notification != nil {
			if err := s.noteArrival(newID, notification, invocation.GetJournalLength()); err != nil {
				return err
			}
		} else {
			invocation.CommandCount++
		}
		if unkeyed(invocation) {
			// Its state was its own, and is gone.
			if err := s.changeState(newID, invocation, entry.GetCommand()); err != nil {
				return err
			}
		}
		if entry.GetCommand().GetOutput() != nil {
			invocation.OutputIndex = invocation.GetJournalLength()
		}
		invocation.JournalLength++
	}
	return s.admit(newID, invocation, nil)
}

// completionIDs returns the ids under which the results of a command arrive.
func completionIDs(command *journalv1.Command) []uint32 {
	switch c := command.GetCommand().(type) {
	case *journalv1.Command_GetState:
		return []uint32{c.GetState.GetCompletionId()}
	case *journalv1.Command_GetStateKeys:
		return []uint32{c.GetStateKeys.GetCompletionId()}
	case *journalv1.Command_Sleep:
		return []uint32{c.Sleep.GetCompletionId()}
	case *journalv1.Command_Call:
		if told := c.Call.GetInvocationIdCompletionId(); told != 0 {
			return []uint32{told, c.Call.GetCompletionId()}
		}
		return []uint32{c.Call.GetCompletionId()}
	case *journalv1.Command_OneWayCall:
		if told := c.OneWayCall.GetInvocationIdCompletionId(); told != 0 {
			return []uint32{told}
		}
	case *journalv1.Command_Awakeable:
		return []uint32{c.Awakeable.GetCompletionId()}
	case *journalv1.Command_GetPromise:
		return []uint32{c.GetPromise.GetCompletionId()}
	case *journalv1.Command_PeekPromise:
		return []uint32{c.PeekPromise.GetCompletionId()}
	case *journalv1.Command_CompletePromise:
		return []uint32{c.CompletePromise.GetCompletionId()}
	case *journalv1.Command_Run:
		return []uint32{c.Run.GetCompletionId()}
	case *journalv1.Command_AttachInvocation:
		return []uint32{c.AttachInvocation.GetCompletionId()}
	case *journalv1.Command_GetInvocationOutput:
		return []uint32{c.GetInvocationOutput.GetCompletionId()}
	}
	return nil
}
