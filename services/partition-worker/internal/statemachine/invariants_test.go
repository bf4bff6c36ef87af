package statemachine_test

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// tables is the decoded state of a partition.
type tables struct {
	meta        *storagev1.PartitionMeta
	invocations map[ids.InvocationID]*storagev1.Invocation
	journals    map[ids.InvocationID]map[uint32]*journalv1.Entry
	completions map[ids.InvocationID]map[uint32]*storagev1.Completion
	signals     map[ids.InvocationID]map[signalName]*storagev1.Signal
	// promises are by instance and key.
	promises map[string]map[string]*storagev1.Promise
	// inbox and locks are by instance; an inbox is in order of its sequences.
	inbox  map[string][]waiting
	locks  map[string]ids.InvocationID
	timers map[storage.TimerID]bool
	outbox []uint64
	// state holds the instances that have any.
	state []storage.Instance

	problems []error
}

type waiting struct {
	sequence uint64
	// id is zero for a change of the state.
	id ids.InvocationID
}

type signalName struct {
	index uint32
	name  string
}

// checkInvariants reports everything in the tables of a partition that contradicts something else in them.
func checkInvariants(state kv.Reader) error {
	t, err := readTables(state)
	if err != nil {
		return err
	}
	for id, invocation := range t.invocations {
		t.checkState(id, invocation)
		t.checkLocks(id, invocation)
		t.checkJournal(id, invocation)
		t.checkPromises(id, invocation)
		t.checkTimers(id, invocation)
	}
	t.checkOrphans()
	t.checkOutbox()
	return errors.Join(t.problems...)
}

func (t *tables) expect(ok bool, format string, args ...any) {
	if !ok {
		t.problems = append(t.problems, fmt.Errorf(format, args...))
	}
}

func readTables(state kv.Reader) (*tables, error) {
	t := &tables{
		invocations: map[ids.InvocationID]*storagev1.Invocation{},
		journals:    map[ids.InvocationID]map[uint32]*journalv1.Entry{},
		completions: map[ids.InvocationID]map[uint32]*storagev1.Completion{},
		signals:     map[ids.InvocationID]map[signalName]*storagev1.Signal{},
		promises:    map[string]map[string]*storagev1.Promise{},
		inbox:       map[string][]waiting{},
		locks:       map[string]ids.InvocationID{},
		timers:      map[storage.TimerID]bool{},
	}
	var err error
	if t.meta, err = storage.GetMeta(state); err != nil {
		return nil, err
	}
	plain := newNames()
	it := state.Scan(nil, nil)
	defer it.Close()
	for it.Next() {
		_, message, err := plain.key(it.Key())
		if err != nil {
			return nil, err
		}
		if message != nil {
			if err := proto.Unmarshal(it.Value(), message); err != nil {
				return nil, err
			}
		}
		t.add(it.Key(), message)
	}
	return t, it.Err()
}

// add files a row whose key and value have been read without an error before.
func (t *tables) add(key []byte, message any) {
	switch m := message.(type) {
	case *storagev1.Invocation:
		id, _ := storage.ParseInvocationKey(key)
		t.invocations[id] = m
	case *journalv1.Entry:
		id, index, _ := storage.ParseJournalKey(key)
		if t.journals[id] == nil {
			t.journals[id] = map[uint32]*journalv1.Entry{}
		}
		t.journals[id][index] = m
	case *storagev1.Completion:
		id, completion, _ := storage.ParseCompletionKey(key)
		if t.completions[id] == nil {
			t.completions[id] = map[uint32]*storagev1.Completion{}
		}
		t.completions[id][completion] = m
	case *storagev1.Signal:
		id, index, name, _ := storage.ParseSignalKey(key)
		if t.signals[id] == nil {
			t.signals[id] = map[signalName]*storagev1.Signal{}
		}
		t.signals[id][signalName{index, name}] = m
	case *storagev1.Promise:
		instance, promise, _ := storage.ParsePromiseKey(key)
		name := instanceName(instance)
		if t.promises[name] == nil {
			t.promises[name] = map[string]*storagev1.Promise{}
		}
		t.promises[name][promise] = m
	case *storagev1.InboxEntry:
		instance, sequence, _ := storage.ParseInboxKey(key)
		w := waiting{sequence: sequence}
		copy(w.id[:], m.GetInvocationId())
		t.inbox[instanceName(instance)] = append(t.inbox[instanceName(instance)], w)
	case *storagev1.ServiceLock:
		instance, _ := storage.ParseLockKey(key)
		t.locks[instanceName(instance)] = ids.InvocationID(m.GetInvocationId())
	case *storagev1.Timer:
		id, _ := storage.ParseTimerKey(key)
		t.timers[id] = true
	case *storagev1.OutboxMessage:
		sequence, _ := storage.ParseOutboxKey(key)
		t.outbox = append(t.outbox, sequence)
	case nil:
		instance, _, _ := storage.ParseStateKey(key)
		t.state = append(t.state, instance)
	}
}

func instanceName(i storage.Instance) string {
	return fmt.Sprintf("%d/%s/%q", i.PartitionKey, i.Service, i.Key)
}

// exclusive says whether only one invocation of the instance runs at a time.
func exclusive(invocation *storagev1.Invocation) bool {
	return invocation.GetTarget().GetKind() != journalv1.ServiceKind_SERVICE_KIND_UNKEYED &&
		!invocation.GetTarget().GetShared()
}

func inProgress(invocation *storagev1.Invocation) bool {
	switch invocation.GetState() { //nolint:exhaustive // the others have no handler
	case storagev1.Invocation_STATE_INVOKED, storagev1.Invocation_STATE_SUSPENDED, storagev1.Invocation_STATE_PAUSED:
		return true
	}
	return false
}

// checkState looks at what a record may have in its state only.
func (t *tables) checkState(id ids.InvocationID, i *storagev1.Invocation) {
	completed := i.GetState() == storagev1.Invocation_STATE_COMPLETED
	suspended := i.GetState() == storagev1.Invocation_STATE_SUSPENDED
	scheduled := i.GetState() == storagev1.Invocation_STATE_SCHEDULED
	inboxed := i.GetState() == storagev1.Invocation_STATE_INBOXED
	t.expect(i.GetState() != storagev1.Invocation_STATE_UNSPECIFIED, "%s has no state", id)
	t.expect((i.GetAwaiting() != nil) == suspended, "%s is %s and awaits %v", id, i.GetState(), i.GetAwaiting())
	t.expect((i.GetResult() != nil) == completed, "%s is %s and has the result %v", id, i.GetState(), i.GetResult())
	t.expect((i.GetExpiresAt() != 0) == completed, "%s is %s and expires at %d", id, i.GetState(), i.GetExpiresAt())
	t.expect(i.GetExecutionTime() != 0 || !scheduled, "%s is scheduled for no time", id)
	t.expect(len(i.GetResponseSinks()) <= 1000, "%d wait for %s", len(i.GetResponseSinks()), id)
	t.expect(i.GetInboxSequence() == 0 || inboxed, "%s is %s and has a place in an inbox", id, i.GetState())
	t.expect((i.GetRun() != 0) == inProgress(i), "%s is %s with the run %d", id, i.GetState(), i.GetRun())
	t.expect(i.GetKnownEntries() == 0 || suspended, "%s is %s and has been given entries", id, i.GetState())
	t.expect(i.GetPausedWith() == nil || i.GetState() == storagev1.Invocation_STATE_PAUSED,
		"%s is %s and paused with %v", id, i.GetState(), i.GetPausedWith())
	t.expect(i.GetPausedCode() == "" && i.GetPausedAttempts() == 0 || i.GetPausedWith() != nil,
		"%s is paused with nothing, but %s after %d attempts", id, i.GetPausedCode(), i.GetPausedAttempts())
	t.expect((i.GetCompletedAt() != 0) == completed, "%s is %s and completed at %d", id, i.GetState(), i.GetCompletedAt())
	t.expect((i.GetRunningAt() != 0) == (completed || inProgress(i)), "%s is %s and runs since %d",
		id, i.GetState(), i.GetRunningAt())
	t.expect((i.GetJournalExpiresAt() != 0) == (completed && i.GetJournalLength() > 0) &&
		i.GetJournalExpiresAt() <= i.GetExpiresAt(),
		"%s is %s and its %d entries expire at %d", id, i.GetState(), i.GetJournalLength(), i.GetJournalExpiresAt())
	if suspended {
		hangs := t.settled(id, i, i.GetAwaiting())
		t.expect(!hangs.done, "%s is suspended on %v, which is over", id, i.GetAwaiting())
	}
}

// checkLocks looks at the instance: who holds it is in progress, and who does not waits in order.
func (t *tables) checkLocks(id ids.InvocationID, i *storagev1.Invocation) {
	name := instanceName(storage.InstanceOf(id, i.GetTarget()))
	holds := exclusive(i) && inProgress(i)
	if holds {
		t.expect(t.locks[name] == id, "%s is in progress and %s holds %s", id, t.locks[name], name)
		for _, w := range t.inbox[name] {
			t.expect(w.sequence >= i.GetInboxFrom(), "%s looks from %d on and %d waits", id, i.GetInboxFrom(), w.sequence)
		}
	}
	t.expect(i.GetInboxFrom() == 0 || holds, "%s is %s and looks at an inbox", id, i.GetState())
	t.expect(i.GetInboxFrom() <= t.meta.GetNextInboxSequence(), "%s looks from a place that was never given", id)
	if i.GetState() == storagev1.Invocation_STATE_INBOXED {
		found := 0
		for _, w := range t.inbox[name] {
			if w.id == id && w.sequence == i.GetInboxSequence() {
				found++
			}
		}
		t.expect(found == 1, "%s is in the inbox %d times", id, found)
		t.expect(i.GetInboxSequence() < t.meta.GetNextInboxSequence(), "%s has a place that was never given", id)
	}
}

// checkTimers looks for timers that should be there; checkOrphans for those that should not.
func (t *tables) checkTimers(id ids.InvocationID, i *storagev1.Invocation) {
	switch i.GetState() { //nolint:exhaustive // the other states have sleeps only
	case storagev1.Invocation_STATE_SCHEDULED:
		timer := storage.TimerID{FireAt: i.GetExecutionTime(), Invocation: id, Kind: storage.TimerStart}
		t.expect(t.timers[timer], "%s is scheduled and has no timer", id)
	case storagev1.Invocation_STATE_COMPLETED:
		timer := storage.TimerID{FireAt: i.GetExpiresAt(), Invocation: id, Kind: storage.TimerDrop}
		t.expect(t.timers[timer], "%s is completed and has no timer", id)
		if at := i.GetJournalExpiresAt(); at != 0 && at != i.GetExpiresAt() {
			timer := storage.TimerID{FireAt: at, Invocation: id, Kind: storage.TimerDropJournal}
			t.expect(t.timers[timer], "%s has a journal and no timer for it", id)
		}
	}
	sleeps := uint32(0)
	for timer := range t.timers {
		if timer.Invocation == id && timer.Kind == storage.TimerSleep {
			sleeps++
			known := t.completions[id][timer.CompletionID]
			t.expect(known.GetJournalIndex() == 0, "sleep %d of %s is over and has a timer", timer.CompletionID, id)
		}
	}
	t.expect(sleeps == i.GetPendingSleeps(), "%s has %d sleeps of %d", id, sleeps, i.GetPendingSleeps())
}

func (t *tables) checkOrphans() {
	for id := range t.journals {
		t.expect(t.invocations[id] != nil, "the unknown invocation %s has a journal", id)
	}
	// One that was restarted has those of the other before it begins.
	for id := range t.completions {
		i := t.invocations[id]
		t.expect(inProgress(i) || i.GetState() == storagev1.Invocation_STATE_INBOXED,
			"%s has completions and is not in progress", id)
	}
	for id := range t.signals {
		i := t.invocations[id]
		t.expect(inProgress(i) || i.GetState() == storagev1.Invocation_STATE_INBOXED,
			"%s has signals and is not in progress", id)
	}
	for name, id := range t.locks {
		i := t.invocations[id]
		t.expect(inProgress(i) && exclusive(i) && instanceName(storage.InstanceOf(id, i.GetTarget())) == name,
			"%s holds %s and is %v", id, name, i)
	}
	for name, queue := range t.inbox {
		_, locked := t.locks[name]
		t.expect(locked, "%d wait for %s, which is free", len(queue), name)
		for _, w := range queue {
			if w.id == (ids.InvocationID{}) {
				continue
			}
			i := t.invocations[w.id]
			t.expect(i.GetState() == storagev1.Invocation_STATE_INBOXED && i.GetInboxSequence() == w.sequence &&
				instanceName(storage.InstanceOf(w.id, i.GetTarget())) == name,
				"%s is in the inbox of %s at %d and is %v", w.id, name, w.sequence, i)
		}
	}
	for timer := range t.timers {
		i := t.invocations[timer.Invocation]
		ok := false
		switch timer.Kind {
		case storage.TimerSleep:
			ok = inProgress(i)
		case storage.TimerStart:
			ok = i.GetState() == storagev1.Invocation_STATE_SCHEDULED && i.GetExecutionTime() == timer.FireAt
		case storage.TimerDrop:
			ok = i.GetState() == storagev1.Invocation_STATE_COMPLETED && i.GetExpiresAt() == timer.FireAt
		case storage.TimerDropJournal:
			ok = i.GetState() == storagev1.Invocation_STATE_COMPLETED && i.GetJournalExpiresAt() == timer.FireAt
		}
		t.expect(ok, "the timer %+v is for %v", timer, i)
	}
	for _, instance := range t.state {
		if instance.Service == clientService {
			i := t.invocations[t.locks[instanceName(instance)]]
			t.expect(i.GetClientStream() != "" && i.GetWroteState(), "state of its own has outlived what a client ran: %v", i)
		}
		if len(instance.Key) != 16 {
			continue // of a service with keys, which stays; no test uses a key of this length
		}
		i := t.invocations[ids.MakeInvocationID(instance.PartitionKey, [16]byte(instance.Key))]
		t.expect(inProgress(i) && i.GetWroteState(), "state of its own has outlived the unkeyed invocation %v", i)
	}
}

func (t *tables) checkOutbox() {
	first, next := t.meta.GetFirstOutboxSequence(), t.meta.GetNextOutboxSequence()
	t.expect(uint64(len(t.outbox)) == next-first, "the outbox has %d messages from %d to before %d", len(t.outbox), first, next)
	for n, sequence := range t.outbox {
		t.expect(sequence == first+uint64(n), "outbox message %d is missing", first+uint64(n))
	}
}
