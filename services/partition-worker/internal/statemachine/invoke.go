package statemachine

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// invoke creates an invocation. An id that exists already is a repeated request: the caller gets the one result, and a
// client that runs the invocation itself goes on with it.
func (s *step) invoke(command *logv1.Invoke) error {
	id, err := invocationID(command.GetInvocationId())
	if err != nil {
		return err
	}
	existing, err := s.cache.get(s.tx, id)
	if err != nil {
		return err
	}
	if existing != nil {
		s.dropLeft(id, existing, command.GetResponseSink().GetIngress())
		if command.GetClientStream() != "" && existing.GetClientStream() != "" && inProgress(existing) {
			return s.takeOver(id, existing, command.GetClientStream())
		}
		return s.repeated(id, existing, command.GetResponseSink())
	}
	invocation := &storagev1.Invocation{
		Target:              command.GetTarget(),
		SpanContext:         command.GetSpanContext(),
		CreatedAt:           s.now,
		ModifiedAt:          s.now,
		CompletionRetention: command.GetCompletionRetention(),
		ExecutionTime:       command.GetExecutionTime(),
		CallerInvocationId:  command.GetCallerInvocationId(),
		CallerCommandIndex:  command.GetCallerCommandIndex(),
		CallerTarget:        command.GetCallerTarget(),
		CreatedLsn:          s.lsn,
		JournalRetention:    command.GetJournalRetention(),
		IdempotencyKey:      command.IdempotencyKey, //nolint:protogetter // nil differs from empty
		ClientStream:        command.GetClientStream(),
	}
	if err := s.await(id, invocation, command.GetResponseSink()); err != nil {
		return err
	}
	s.cache.put(id, invocation)
	input := &journalv1.Command{Command: &journalv1.Command_Input{
		Input: &journalv1.Input{Headers: command.GetHeaders(), Value: command.GetArgument()},
	}}
	entry, err := s.appendCommand(id, invocation, input)
	if err != nil {
		return err
	}
	if at := invocation.GetExecutionTime(); at > s.now {
		invocation.State = storagev1.Invocation_STATE_SCHEDULED
		invocation.ScheduledAt = s.now
		return s.setTimer(
			storage.TimerID{FireAt: at, Invocation: id, Kind: storage.TimerStart},
			&storagev1.Timer{Timer: &storagev1.Timer_StartInvocation{StartInvocation: &storagev1.StartInvocation{}}},
		)
	}
	return s.admit(id, invocation, entry)
}

// await notes who waits for a new invocation. One that wants to know no more than that it exists is told at once.
func (s *step) await(id ids.InvocationID, invocation *storagev1.Invocation, sink *logv1.ResponseSink) error {
	switch {
	case sink == nil:
		return nil
	case sink.GetIngress().GetAcceptance():
		return s.answer(sink, &storagev1.IngressResponse{
			InvocationId: id[:], Outcome: storagev1.Outcome_OUTCOME_ACCEPTED,
			ExecutionTime: invocation.GetExecutionTime(),
		})
	}
	invocation.ResponseSinks = append(invocation.ResponseSinks, stored(sink))
	return nil
}

// repeated answers a request for an invocation that exists.
func (s *step) repeated(id ids.InvocationID, invocation *storagev1.Invocation, sink *logv1.ResponseSink) error {
	switch {
	case sink == nil:
		return nil
	case sink.GetIngress().GetAcceptance():
		return s.answer(sink, &storagev1.IngressResponse{
			InvocationId: id[:], Outcome: storagev1.Outcome_OUTCOME_PREVIOUSLY_ACCEPTED,
			ExecutionTime: invocation.GetExecutionTime(),
		})
	case workflowRun(invocation.GetTarget()):
		return s.respond(id, invocation, sink, failure(&journalv1.Failure{
			Code: codeConflict, Message: "the workflow method was already invoked",
		}), 0, false)
	}
	return s.attach(id, invocation, sink)
}

// codeConflict is the failure code of what can be done only once.
const codeConflict = 409

// takeOver lets a client go on with an invocation that a client runs, itself or another. The new run replaces the one
// before: whatever is still reported for that is of no effect.
func (s *step) takeOver(id ids.InvocationID, invocation *storagev1.Invocation, stream string) error {
	invocation.ClientStream = stream
	return s.begin(id, invocation, nil)
}

// admit starts the invocation, or lets it wait for the one that holds its service instance.
func (s *step) admit(id ids.InvocationID, invocation *storagev1.Invocation, input *journalv1.Entry) error {
	s.cache.put(id, invocation)
	invocation.ModifiedAt = s.now
	if !exclusive(invocation) {
		return s.begin(id, invocation, input)
	}
	instance := instanceOf(id, invocation)
	lock, err := storage.GetLock(s.tx, instance)
	if err != nil {
		return err
	}
	if lock == nil {
		if err := storage.PutLock(s.tx, instance, id); err != nil {
			return err
		}
		invocation.InboxFrom = s.meta.GetNextInboxSequence() // nothing waits for what was free
		return s.begin(id, invocation, input)
	}
	invocation.State = storagev1.Invocation_STATE_INBOXED
	invocation.InboxedAt = s.now
	invocation.InboxSequence = s.nextInInbox()
	return storage.PutInbox(s.tx, instance, invocation.GetInboxSequence(), &storagev1.InboxEntry{InvocationId: id[:]})
}

func (s *step) nextInInbox() uint64 {
	sequence := s.meta.GetNextInboxSequence()
	s.meta.NextInboxSequence++
	return sequence
}

// begin starts a run. The input is the whole journal where the caller has it at hand, or nil.
func (s *step) begin(id ids.InvocationID, invocation *storagev1.Invocation, input *journalv1.Entry) error {
	s.cache.put(id, invocation)
	invocation.State = storagev1.Invocation_STATE_INVOKED
	invocation.ModifiedAt = s.now
	if invocation.GetRunningAt() == 0 {
		invocation.RunningAt = s.now
	}
	invocation.Run = s.lsn
	invocation.Awaiting, invocation.KnownEntries = nil, 0
	invocation.PausedWith, invocation.PausedCode, invocation.PausedAttempts = nil, "", 0
	invocation.InboxSequence = 0
	s.waits.forget(id)
	s.act(startOf(id, invocation, input))
	return nil
}

func startOf(id ids.InvocationID, invocation *storagev1.Invocation, input *journalv1.Entry) StartInvocation {
	return StartInvocation{
		ID:          id,
		Run:         invocation.GetRun(),
		Target:      invocation.GetTarget(),
		Pin:         invocation.GetPin(),
		SpanContext: invocation.GetSpanContext(),
		CreatedAt:   invocation.GetCreatedAt(),
		RandomSeed:  randomSeed(id, invocation),
		Input:       input,

		ClientStream:   invocation.GetClientStream(),
		IdempotencyKey: invocation.IdempotencyKey, //nolint:protogetter // nil differs from empty
	}
}

func randomSeed(id ids.InvocationID, invocation *storagev1.Invocation) uint64 {
	if seed := invocation.GetRandomSeed(); seed != 0 {
		return seed
	}
	return id.RandomSeed()
}

// exclusive says whether the invocation holds its service instance while it is in progress.
func exclusive(invocation *storagev1.Invocation) bool {
	switch invocation.GetTarget().GetKind() {
	case journalv1.ServiceKind_SERVICE_KIND_KEYED, journalv1.ServiceKind_SERVICE_KIND_SINGLETON,
		journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
		return !invocation.GetTarget().GetShared()
	case journalv1.ServiceKind_SERVICE_KIND_UNKEYED, journalv1.ServiceKind_SERVICE_KIND_UNSPECIFIED:
	}
	return false
}

func unkeyed(invocation *storagev1.Invocation) bool {
	return invocation.GetTarget().GetKind() == journalv1.ServiceKind_SERVICE_KIND_UNKEYED
}

// workflowRun says whether the target is the one invocation of a workflow's key.
func workflowRun(target *journalv1.Target) bool {
	return target.GetKind() == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW && !target.GetShared()
}

// hasOwnState says whether the state of the service instance is the invocation's alone, and goes with it: no other
// invocation of an unkeyed service, or of the key of one that a client runs, will ever see it.
func hasOwnState(invocation *storagev1.Invocation) bool {
	return unkeyed(invocation) || invocation.GetClientStream() != ""
}

// instanceOf returns what the invocation's state and lock belong to.
func instanceOf(id ids.InvocationID, invocation *storagev1.Invocation) storage.Instance {
	return storage.InstanceOf(id, invocation.GetTarget())
}
