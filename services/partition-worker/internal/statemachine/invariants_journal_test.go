package statemachine_test

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// checkJournal looks for gaps, and for results without a row for their id or the other way round.
func (t *tables) checkJournal(id ids.InvocationID, i *storagev1.Invocation) {
	journal := t.journals[id]
	t.expect(len(journal) == int(i.GetJournalLength()), "%s has %d entries of %d", id, len(journal), i.GetJournalLength())
	commands := 0
	asked := map[uint32]bool{}
	completions, signals := map[uint32]*storagev1.Completion{}, map[signalName]*storagev1.Signal{}
	for index := range i.GetJournalLength() {
		switch e := journal[index].GetEntry().(type) {
		case *journalv1.Entry_Command:
			commands++
			t.expect((index == 0) == (e.Command.GetInput() != nil), "entry %d of %s is %v", index, id, e.Command)
			for _, completion := range completionsOf(e.Command) {
				asked[completion] = true
			}
		case *journalv1.Entry_Notification:
			failed := e.Notification.GetResult().GetFailure() != nil
			if signal, ok := signalOf(e.Notification); ok {
				signals[signal] = &storagev1.Signal{
					JournalIndex: index, Failed: failed, PreviousIndex: signals[signal].GetJournalIndex(),
				}
				continue
			}
			completion := e.Notification.GetCompletionId()
			t.expect(asked[completion], "entry %d of %s completes %d, which is no command before it", index, id, completion)
			t.expect(completions[completion] == nil, "entry %d of %s completes %d again", index, id, completion)
			completions[completion] = &storagev1.Completion{
				Completion: &storagev1.Completion_JournalIndex{JournalIndex: index}, Failed: failed,
			}
		default:
			t.expect(false, "entry %d of %s is missing", index, id)
		}
	}
	t.expect(commands == int(i.GetCommandCount()), "%s has %d commands of %d", id, commands, i.GetCommandCount())
	if output := i.GetOutputIndex(); output != 0 {
		t.expect(journal[output].GetCommand().GetOutput() != nil, "entry %d of %s is no output", output, id)
	}
	if i.GetState() == storagev1.Invocation_STATE_COMPLETED {
		completions, signals = nil, nil
	}
	for completion, known := range t.completions[id] {
		if known.GetEarly() != nil {
			t.expect(i.GetEarlyCompletions(), "%s has an early completion", id)
			t.expect(completions[completion] == nil, "completion %d of %s is early and in the journal", completion, id)
			continue
		}
		t.expect(known.String() == completions[completion].String(), "of completion %d of %s %v is known", completion, id, known)
		delete(completions, completion)
	}
	for signal, known := range t.signals[id] {
		t.expect(known.String() == signals[signal].String(), "of signal %v of %s %v is known", signal, id, known)
		delete(signals, signal)
	}
	t.expect(len(completions)+len(signals) == 0, "%s has %v and %v without a row", id, completions, signals)
}

func signalOf(n *journalv1.Notification) (signalName, bool) {
	switch of := n.GetId().(type) {
	case *journalv1.Notification_SignalIndex:
		return signalName{index: of.SignalIndex}, true
	case *journalv1.Notification_SignalName:
		return signalName{name: of.SignalName}, true
	}
	return signalName{}, false
}

// completionsOf returns the completion ids that the command waits for, those of its fields that are named so.
func completionsOf(c *journalv1.Command) []uint32 {
	m := c.ProtoReflect()
	set := m.WhichOneof(m.Descriptor().Oneofs().ByName("command"))
	if set == nil || c.GetCompleteAwakeable() != nil { // whose completion is somebody else's
		return nil
	}
	var completions []uint32
	m = m.Get(set).Message()
	for _, name := range []protoreflect.Name{"invocation_id_completion_id", "completion_id"} {
		if field := m.Descriptor().Fields().ByName(name); field != nil && m.Has(field) {
			completions = append(completions, uint32(m.Get(field).Uint()))
		}
	}
	return completions
}

// checkPromises looks for handlers that wait for a promise which will not wake them.
func (t *tables) checkPromises(id ids.InvocationID, i *storagev1.Invocation) {
	if !inProgress(i) {
		return
	}
	promises := t.promises[instanceName(storage.InstanceOf(id, i.GetTarget()))]
	for _, entry := range t.journals[id] {
		get := entry.GetCommand().GetGetPromise()
		if get == nil || t.completed(id, get.GetCompletionId()) {
			continue
		}
		found := 0
		for _, waiter := range promises[get.GetKey()].GetWaiters() {
			if ids.InvocationID(waiter.GetInvocationId()) == id && waiter.GetCompletionId() == get.GetCompletionId() &&
				waiter.GetCreatedLsn() == i.GetCreatedLsn() {
				found++
			}
		}
		t.expect(found == 1, "%s waits %d times for the promise %q", id, found, get.GetKey())
	}
	for key, promise := range promises {
		t.expect((promise.GetResult() != nil) != (len(promise.GetWaiters()) > 0), "the promise %q is %v", key, promise)
		t.expect(len(promise.GetWaiters()) <= 1024, "%d wait for the promise %q", len(promise.GetWaiters()), key)
	}
}

func (t *tables) completed(id ids.InvocationID, completion uint32) bool {
	return t.completions[id][completion].GetJournalIndex() != 0
}

// settlement is what a handler would make of a future.
type settlement struct {
	done, failed bool
	// at is the journal index that settled it.
	at uint32
}

// settled works out from the journal, in its order, whether a handler that suspended on the future could go on.
func (t *tables) settled(id ids.InvocationID, i *storagev1.Invocation, future *journalv1.Future) settlement {
	var members []settlement
	for _, command := range future.GetCommands() {
		members = append(members, settlement{done: command < i.GetCommandCount()})
	}
	first := func(from uint32, matches func(*journalv1.Notification) bool) {
		for index := from; index < i.GetJournalLength(); index++ {
			if n := t.journals[id][index].GetNotification(); n != nil && matches(n) {
				members = append(members, settlement{true, n.GetResult().GetFailure() != nil, index})
				return
			}
		}
		members = append(members, settlement{})
	}
	signal := func(wanted signalName) {
		first(i.GetKnownEntries(), func(n *journalv1.Notification) bool {
			name, ok := signalOf(n)
			return ok && name == wanted
		})
	}
	for _, completion := range future.GetCompletions() {
		first(0, func(n *journalv1.Notification) bool {
			_, isSignal := signalOf(n)
			return !isSignal && n.GetCompletionId() == completion
		})
	}
	for _, index := range future.GetSignals() {
		signal(signalName{index: index})
	}
	for _, name := range future.GetNamedSignals() {
		signal(signalName{name: name})
	}
	for _, nested := range future.GetNested() {
		members = append(members, t.settled(id, i, nested))
	}
	return settle(future.GetCombinator(), members)
}

func settle(combinator journalv1.Future_Combinator, members []settlement) settlement {
	// Of those that decide alone the earliest does; where none of them has come, the last of all.
	decides := func(m settlement) bool {
		switch combinator {
		case journalv1.Future_COMBINATOR_ALL_COMPLETED:
			return false
		case journalv1.Future_COMBINATOR_FIRST_SUCCEEDED_OR_ALL_FAILED:
			return !m.failed
		case journalv1.Future_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED:
			return m.failed
		case journalv1.Future_COMBINATOR_UNSPECIFIED, journalv1.Future_COMBINATOR_FIRST_COMPLETED:
		}
		return true
	}
	var earliest, last settlement
	all := true
	for _, m := range members {
		if !m.done {
			all = false
			continue
		}
		if decides(m) && (!earliest.done || m.at < earliest.at) {
			earliest = m
		}
		if m.at >= last.at {
			last = m
		}
	}
	switch {
	case earliest.done:
		return earliest
	case all && len(members) > 0:
		last.failed = last.failed && combinator != journalv1.Future_COMBINATOR_ALL_COMPLETED
		return last
	}
	return settlement{}
}
