package statemachine

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// maxLeaves bounds what is remembered of suspended invocations.
const maxLeaves = 1 << 14

// waits remembers what has arrived of what suspended invocations wait for. Of one that waits for many results all would
// otherwise be looked up again with each. It holds nothing that the tables do not.
type waits struct {
	of     map[ids.InvocationID]*wait
	leaves int
}

func newWaits() waits { return waits{of: map[ids.InvocationID]*wait{}} }

func (w *waits) put(id ids.InvocationID, added *wait) {
	w.forget(id)
	if w.leaves+len(added.leaves) > maxLeaves {
		clear(w.of)
		w.leaves = 0
	}
	w.of[id] = added
	w.leaves += len(added.leaves)
}

func (w *waits) forget(id ids.InvocationID) {
	if known := w.of[id]; known != nil {
		w.leaves -= len(known.leaves)
		delete(w.of, id)
	}
}

// wait is that of one invocation. A new run makes it out of date, and forgets it.
type wait struct {
	on node
	// leaves has where in the tree each of them is, which may be in several places.
	leaves map[leaf][]*settlement
}

// node is a future with what has become of the leaves among its members.
type node struct {
	combinator journalv1.Future_Combinator
	leaves     []settlement
	nested     []node
}

func (n *node) settle() settlement {
	var t tally
	for _, settled := range n.leaves {
		t.add(settled)
	}
	for i := range n.nested {
		t.add(n.nested[i].settle())
	}
	return combine(n.combinator, &t)
}

// leaf is what a handler waits for in the end.
type leaf struct {
	kind  leafKind
	index uint32
	// name is that of a signal without an index.
	name string
}

type leafKind byte

const (
	leafCompletion leafKind = iota
	leafSignal
	// leafCommand is the acknowledgement of a command.
	leafCommand
)

func leafOf(notification *journalv1.Notification) leaf {
	switch n := notification.GetId().(type) {
	case *journalv1.Notification_SignalIndex:
		return leaf{kind: leafSignal, index: n.SignalIndex}
	case *journalv1.Notification_SignalName:
		return leaf{kind: leafSignal, name: n.SignalName}
	default:
		return leaf{kind: leafCompletion, index: notification.GetCompletionId()}
	}
}

// resumeIfReady starts a suspended invocation when what it waits for is completed. The notification is the one that has
// just joined the journal, at the index; nil where none has.
func (s *step) resumeIfReady(
	id ids.InvocationID, invocation *storagev1.Invocation, notification *journalv1.Notification, index uint32,
) error {
	known := s.waits.of[id]
	switch {
	case known == nil:
		known = &wait{leaves: map[leaf][]*settlement{}}
		if err := s.lookUp(id, invocation, invocation.GetAwaiting(), known, &known.on); err != nil {
			return err
		}
		s.waits.put(id, known)
	case notification != nil:
		places := known.leaves[leafOf(notification)]
		if places == nil {
			return nil
		}
		settled := arrived(index, notification.GetResult().GetFailure() != nil, places[0].verdict != pending)
		for _, place := range places {
			*place = settled
		}
	}
	if known.on.settle().verdict == pending {
		return nil
	}
	return s.begin(id, invocation, nil)
}

// lookUp fills in the node of the future by what the tables hold.
func (s *step) lookUp(
	id ids.InvocationID, invocation *storagev1.Invocation, future *journalv1.Future, known *wait, n *node,
) error {
	n.combinator = future.GetCombinator()
	all := leavesOf(future)
	n.leaves = make([]settlement, len(all))
	for i, l := range all {
		var err error
		if n.leaves[i], err = s.lookUpLeaf(id, invocation, l); err != nil {
			return err
		}
		known.leaves[l] = append(known.leaves[l], &n.leaves[i])
	}
	n.nested = make([]node, len(future.GetNested()))
	for i, nested := range future.GetNested() {
		if err := s.lookUp(id, invocation, nested, known, &n.nested[i]); err != nil {
			return err
		}
	}
	return nil
}

func leavesOf(future *journalv1.Future) []leaf {
	var all []leaf
	for _, index := range future.GetCompletions() {
		all = append(all, leaf{kind: leafCompletion, index: index})
	}
	for _, index := range future.GetSignals() {
		all = append(all, leaf{kind: leafSignal, index: index})
	}
	for _, name := range future.GetNamedSignals() {
		all = append(all, leaf{kind: leafSignal, name: name})
	}
	for _, index := range future.GetCommands() {
		all = append(all, leaf{kind: leafCommand, index: index})
	}
	return all
}

func (s *step) lookUpLeaf(id ids.InvocationID, invocation *storagev1.Invocation, l leaf) (settlement, error) {
	switch l.kind {
	case leafCompletion:
		row, err := storage.GetCompletion(s.tx, id, l.index)
		if err != nil || row.GetJournalIndex() == 0 {
			return settlement{}, err
		}
		return arrived(row.GetJournalIndex(), row.GetFailed(), false), nil
	case leafSignal:
		// What the attempt was given it has taken, or put aside: it waits for the next one.
		given := invocation.GetKnownEntries()
		row, err := storage.GetSignal(s.tx, id, l.index, l.name)
		if err != nil || row == nil || row.GetJournalIndex() < given {
			return settlement{}, err
		}
		again := row.GetPreviousIndex() != 0 && row.GetPreviousIndex() >= given
		return arrived(row.GetJournalIndex(), row.GetFailed(), again), nil
	case leafCommand:
		if l.index < invocation.GetCommandCount() {
			return settlement{verdict: succeeded, vague: true}, nil
		}
	}
	return settlement{}, nil
}

// arrived is what a notification makes of its leaf. The handler takes the first of several signals, and only the last is
// known.
func arrived(index uint32, failure, again bool) settlement {
	switch {
	case again:
		return settlement{verdict: undetermined, at: index, vague: true}
	case failure:
		return settlement{verdict: failed, at: index}
	default:
		return settlement{verdict: succeeded, at: index}
	}
}
