package statemachine

import journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

// verdict is what is known of a future. Resuming a handler too early costs an attempt, too late hangs it.
type verdict int

const (
	pending verdict = iota
	succeeded
	failed
	// undetermined is completed, but the journal does not tell how.
	undetermined
)

// settlement is what has become of a future, and when.
type settlement struct {
	verdict verdict
	// at is the journal index that completed it; it means nothing where that is not known, which is vague.
	at    uint32
	vague bool
}

// tally is what the members of a future have come to.
type tally struct {
	members int
	count   [undetermined + 1]int
	// first has the earliest member of each verdict, last the latest of all.
	first [undetermined + 1]settlement
	last  settlement
	vague bool
}

func (t *tally) add(m settlement) {
	if t.count[m.verdict] == 0 || m.at < t.first[m.verdict].at {
		t.first[m.verdict] = m
	}
	if m.at >= t.last.at {
		t.last = m
	}
	t.count[m.verdict]++
	t.members++
	t.vague = t.vague || m.vague
}

// earliest returns the first of the members that are completed.
func (t *tally) earliest() settlement {
	var earliest settlement
	for v := succeeded; v <= undetermined; v++ {
		if t.count[v] > 0 && (earliest.verdict == pending || t.first[v].at < earliest.at) {
			earliest = t.first[v]
		}
	}
	return earliest
}

// decided is completed by the earliest member of the verdict, if not by one of which the verdict is not known.
func (t *tally) decided(v verdict) settlement {
	return settlement{v, t.first[v].at, t.vague || t.count[undetermined] > 0}
}

// together is completed by the last member.
func (t *tally) together(v verdict) settlement { return settlement{v, t.last.at, t.vague} }

// combine says what a combinator makes of its members.
func combine(combinator journalv1.Future_Combinator, t *tally) settlement {
	switch combinator {
	case journalv1.Future_COMBINATOR_ALL_COMPLETED:
		if t.count[pending] == 0 {
			return t.together(succeeded)
		}
	case journalv1.Future_COMBINATOR_FIRST_SUCCEEDED_OR_ALL_FAILED:
		switch {
		case t.count[succeeded] > 0:
			return t.decided(succeeded)
		case t.count[undetermined] > 0:
			return t.decided(undetermined)
		case t.count[pending] == 0:
			return t.together(failed)
		}
	case journalv1.Future_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED:
		switch {
		case t.count[failed] > 0:
			return t.decided(failed)
		case t.count[undetermined] > 0:
			return t.decided(undetermined)
		case t.count[pending] == 0:
			return t.together(succeeded)
		}
	case journalv1.Future_COMBINATOR_FIRST_COMPLETED:
		first := t.earliest()
		if t.vague && t.count[first.verdict]+t.count[pending] < t.members {
			first.verdict = undetermined // they differ, and which was first is not known
		}
		first.vague = t.vague
		return first
	case journalv1.Future_COMBINATOR_UNSPECIFIED:
		if t.count[pending] < t.members {
			return settlement{undetermined, t.earliest().at, t.vague}
		}
	}
	return settlement{}
}
