package v5

import (
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// futureFromWire copies a tree whose depth has been checked.
func futureFromWire(f *wire.Future) *journalv1.Future {
	future := &journalv1.Future{
		Completions:  f.GetWaitingCompletions(),
		Signals:      f.GetWaitingSignals(),
		NamedSignals: f.GetWaitingNamedSignals(),
		Combinator:   combinators[f.GetCombinatorType()],
	}
	for _, nested := range f.GetNestedFutures() {
		future.Nested = append(future.Nested, futureFromWire(nested))
	}
	return future
}

// combinators lacks those that this release does not know: such a future is completed when any of its members is, which
// at worst wakes a handler too early.
var combinators = map[wire.Combinator]journalv1.Future_Combinator{
	wire.Combinator_COMBINATOR_FIRST_COMPLETED:               journalv1.Future_COMBINATOR_FIRST_COMPLETED,
	wire.Combinator_COMBINATOR_ALL_COMPLETED:                 journalv1.Future_COMBINATOR_ALL_COMPLETED,
	wire.Combinator_COMBINATOR_FIRST_SUCCEEDED_OR_ALL_FAILED: journalv1.Future_COMBINATOR_FIRST_SUCCEEDED_OR_ALL_FAILED,
	wire.Combinator_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED: journalv1.Future_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED,
}

// decodeSuspension reads what a handler waits for: a tree, or below version 7 a list of which any member wakes it.
func (v Version) decodeSuspension(f frame.Frame) (Suspension, error) {
	m := &wire.Suspension{}
	if err := unmarshal(f, m); err != nil {
		return Suspension{}, err
	}
	var future *journalv1.Future
	if v >= V7 {
		future = futureFromWire(m.GetAwaitingOn())
	} else {
		future = &journalv1.Future{
			Completions:  m.GetWaitingCompletions(),
			Signals:      m.GetWaitingSignals(),
			NamedSignals: m.GetWaitingNamedSignals(),
		}
	}
	if !waits(future) {
		return Suspension{}, fmt.Errorf("%w: suspension that waits for nothing", frame.ErrViolation)
	}
	return Suspension{Future: future}, nil
}

// waits says whether there is anything that could complete the future.
func waits(f *journalv1.Future) bool {
	if len(f.GetCompletions())+len(f.GetSignals())+len(f.GetNamedSignals()) > 0 {
		return true
	}
	for _, nested := range f.GetNested() {
		if waits(nested) {
			return true
		}
	}
	return false
}
