package statemachine

import (
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// finish ends an invocation that holds its service instance, and gives the instance to the next in the inbox.
func (s *step) finish(id ids.InvocationID, invocation *storagev1.Invocation, result *journalv1.Result) error {
	if err := s.conclude(id, invocation, result); err != nil {
		return err
	}
	if !exclusive(invocation) {
		return nil
	}
	return s.passOn(instanceOf(id, invocation), invocation.GetInboxFrom())
}

// conclude answers everybody who waits for the invocation, drops its journal and keeps its result for as long as asked.
func (s *step) conclude(id ids.InvocationID, invocation *storagev1.Invocation, result *journalv1.Result) error {
	var expiresAt uint64
	if retention := invocation.GetCompletionRetention(); retention > 0 {
		expiresAt = s.now + retention
	}
	// It may wait for itself. It takes no result any more, not even its own.
	invocation.State = storagev1.Invocation_STATE_COMPLETED
	if err := s.answerAll(id, invocation, result, expiresAt); err != nil {
		return err
	}
	journalExpiresAt, err := s.keepJournal(id, invocation)
	if err != nil {
		return err
	}
	if err := s.dropSleeps(id, invocation); err != nil {
		return err
	}
	if err := s.dropNotifications(id, invocation); err != nil {
		return err
	}
	if journalExpiresAt == 0 {
		s.dropJournal(id, invocation)
	}
	if hasOwnState(invocation) && invocation.GetWroteState() {
		if err := storage.DeleteState(s.tx, s.tx, instanceOf(id, invocation)); err != nil {
			return err
		}
	}
	if expiresAt == 0 {
		return s.forget(id, invocation)
	}
	s.cache.put(id, &storagev1.Invocation{
		State:               storagev1.Invocation_STATE_COMPLETED,
		Target:              invocation.GetTarget(),
		SpanContext:         invocation.GetSpanContext(),
		CreatedAt:           invocation.GetCreatedAt(),
		ModifiedAt:          s.now,
		JournalLength:       invocation.GetJournalLength(),
		CommandCount:        invocation.GetCommandCount(),
		Pin:                 invocation.GetPin(),
		CompletionRetention: invocation.GetCompletionRetention(),
		Result:              result,
		ExpiresAt:           expiresAt,
		CallerInvocationId:  invocation.GetCallerInvocationId(),
		CallerCommandIndex:  invocation.GetCallerCommandIndex(),
		ExecutionTime:       invocation.GetExecutionTime(),
		JournalRetention:    invocation.GetJournalRetention(),
		IdempotencyKey:      invocation.IdempotencyKey, //nolint:protogetter // nil differs from empty
		JournalExpiresAt:    journalExpiresAt,
		ScheduledAt:         invocation.GetScheduledAt(),
		InboxedAt:           invocation.GetInboxedAt(),
		RunningAt:           invocation.GetRunningAt(),
		CompletedAt:         s.now,
		RestartedFrom:       invocation.GetRestartedFrom(),
		RandomSeed:          invocation.GetRandomSeed(),
	})
	return s.setTimer(
		storage.TimerID{FireAt: expiresAt, Invocation: id, Kind: storage.TimerDrop},
		&storagev1.Timer{Timer: &storagev1.Timer_DropInvocation{DropInvocation: &storagev1.DropInvocation{}}},
	)
}

// journalRetention is how long the journal is kept after completion, in milliseconds: no longer than the result.
func journalRetention(invocation *storagev1.Invocation) uint64 {
	return min(invocation.GetJournalRetention(), invocation.GetCompletionRetention())
}

// keepJournal returns when the journal of an invocation that is over is dropped, 0 for at once.
func (s *step) keepJournal(id ids.InvocationID, invocation *storagev1.Invocation) (uint64, error) {
	retention := journalRetention(invocation)
	if retention == 0 {
		return 0, nil
	}
	expiresAt := s.now + retention
	if retention == invocation.GetCompletionRetention() {
		return expiresAt, nil // together with the record
	}
	return expiresAt, s.setTimer(
		storage.TimerID{FireAt: expiresAt, Invocation: id, Kind: storage.TimerDropJournal},
		&storagev1.Timer{Timer: &storagev1.Timer_DropJournal{DropJournal: &storagev1.DropJournal{}}},
	)
}

// forget drops the record of an invocation that is over and, with a workflow's, what its key has.
func (s *step) forget(id ids.InvocationID, invocation *storagev1.Invocation) error {
	s.cache.put(id, nil)
	if !workflowRun(invocation.GetTarget()) {
		return nil
	}
	instance := instanceOf(id, invocation)
	if err := storage.DeleteState(s.tx, s.tx, instance); err != nil {
		return err
	}
	return s.dropPromises(instance)
}

// dropSleeps drops the timers of sleeps that the handler did not wait for: should the id be used again, they would
// complete commands of the new invocation.
func (s *step) dropSleeps(id ids.InvocationID, invocation *storagev1.Invocation) error {
	if invocation.GetPendingSleeps() == 0 {
		return nil
	}
	var timers []storage.TimerID
	if err := storage.ScanJournal(s.tx, id, 0, invocation.GetJournalLength(), func(_ uint32, entry *journalv1.Entry) error {
		if sleep := entry.GetCommand().GetSleep(); sleep != nil {
			timers = append(timers, sleepTimer(id, sleep))
		}
		return nil
	}); err != nil {
		return err
	}
	for _, timer := range timers {
		s.tx.Delete(timer.Key())
	}
	return nil
}

func (s *step) dropJournal(id ids.InvocationID, invocation *storagev1.Invocation) {
	storage.DeleteJournal(s.tx, id, invocation.GetJournalLength())
	invocation.JournalLength, invocation.CommandCount = 0, 0
}

// dropNotifications looks for rows only where there are some, which spares most invocations a search.
func (s *step) dropNotifications(id ids.InvocationID, invocation *storagev1.Invocation) error {
	if invocation.GetJournalLength() == invocation.GetCommandCount() && !invocation.GetEarlyCompletions() {
		return nil
	}
	return storage.DeleteNotifications(s.tx, s.tx, id)
}

// passOn starts the invocation that has waited longest for the instance, or sets the instance free. Changes of the state
// that come before it are made. Nothing in the inbox is before the sequence from: what was there has left it, and would
// be walked over again with each invocation that ends, for as long as the store keeps traces of deleted rows.
func (s *step) passOn(instance storage.Instance, from uint64) error {
	for from < s.meta.GetNextInboxSequence() {
		sequence, entry, err := storage.FirstInInbox(s.tx, instance, from)
		if err != nil {
			return err
		}
		if entry == nil {
			break
		}
		s.tx.Delete(storage.InboxKey(instance, sequence))
		from = sequence + 1
		if entry.GetPatchState() == nil {
			return s.beginNext(instance, entry, from)
		}
		if err := s.replaceState(instance, entry.GetPatchState()); err != nil {
			return err
		}
	}
	s.tx.Delete(storage.LockKey(instance))
	return nil
}

// beginNext gives the instance to an invocation that has waited for it; the others have sequences from the given one on.
func (s *step) beginNext(instance storage.Instance, entry *storagev1.InboxEntry, from uint64) error {
	next, err := invocationID(entry.GetInvocationId())
	if err != nil {
		return err
	}
	if err := storage.PutLock(s.tx, instance, next); err != nil {
		return err
	}
	invocation, err := s.cache.get(s.tx, next)
	if err != nil {
		return err
	}
	if invocation == nil {
		return fmt.Errorf("%w: %s waits in an inbox and is unknown", storage.ErrCorrupt, next)
	}
	invocation.InboxFrom = from
	return s.begin(next, invocation, nil)
}

// answerAll sends the result to everybody who waits for it.
func (s *step) answerAll(id ids.InvocationID, invocation *storagev1.Invocation, result *journalv1.Result, expiresAt uint64) error {
	for _, sink := range invocation.GetResponseSinks() {
		if err := s.respond(id, invocation, sink, result, expiresAt, false); err != nil {
			return err
		}
	}
	return nil
}

// respond sends a result to one that waits for it; retained says that it was there before it was asked for.
func (s *step) respond(
	id ids.InvocationID, invocation *storagev1.Invocation, sink *logv1.ResponseSink,
	result *journalv1.Result, expiresAt uint64, retained bool,
) error {
	switch to := sink.GetSink().(type) {
	case *logv1.ResponseSink_Ingress:
		return s.answer(sink, &storagev1.IngressResponse{
			InvocationId: id[:],
			Result:       result,
			ExpiresAt:    expiresAt,
			Target:       invocation.GetTarget(),
			Retained:     retained,
		})
	case *logv1.ResponseSink_Caller:
		return s.respondTo(to.Caller.GetInvocationId(), to.Caller.GetCompletionId(), to.Caller.GetCreatedLsn(), result)
	default:
		return nil
	}
}

// respondTo completes a command of an invocation that waits for it.
func (s *step) respondTo(waiter []byte, completionID uint32, createdLSN uint64, result *journalv1.Result) error {
	return s.sendNotify(&logv1.Notify{
		InvocationId: waiter,
		Notification: &journalv1.Notification{
			Id:     &journalv1.Notification_CompletionId{CompletionId: completionID},
			Result: result,
		},
		CreatedLsn: createdLSN,
	})
}

// answer sends what is to be said to a process that asked; others do not get such answers.
func (s *step) answer(sink *logv1.ResponseSink, response *storagev1.IngressResponse) error {
	to := sink.GetIngress()
	if to == nil {
		return nil
	}
	response.IngressId, response.RequestId = to.GetIngressId(), to.GetRequestId()
	return s.enqueue(&storagev1.OutboxMessage{
		Message: &storagev1.OutboxMessage_IngressResponse{IngressResponse: response},
	})
}

// report answers a request about an invocation.
func (s *step) report(id ids.InvocationID, sink *logv1.ResponseSink, outcome storagev1.Outcome) error {
	return s.answer(sink, &storagev1.IngressResponse{InvocationId: id[:], Outcome: outcome})
}
