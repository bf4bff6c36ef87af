package statemachine

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

// TestCombine has the rules by which the SDKs go on. A future that is completed and called pending hangs its handler; the
// other way round costs it an attempt.
func TestCombine(t *testing.T) {
	const (
		anyOf        = journalv1.Future_COMBINATOR_UNSPECIFIED
		first        = journalv1.Future_COMBINATOR_FIRST_COMPLETED
		all          = journalv1.Future_COMBINATOR_ALL_COMPLETED
		firstSuccess = journalv1.Future_COMBINATOR_FIRST_SUCCEEDED_OR_ALL_FAILED
		firstFailure = journalv1.Future_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED
	)
	p := settlement{}
	s := func(at uint32) settlement { return settlement{verdict: succeeded, at: at} }
	f := func(at uint32) settlement { return settlement{verdict: failed, at: at} }
	u := func(at uint32) settlement { return settlement{verdict: undetermined, at: at} }
	vague := func(s settlement) settlement { return settlement{verdict: s.verdict, vague: true} }
	type table = map[journalv1.Future_Combinator]settlement
	for _, c := range []struct {
		members []settlement
		want    table
	}{
		// Nothing to wait for: all of it is there, the first of it never comes.
		{nil, table{anyOf: p, first: p, all: s(0), firstSuccess: f(0), firstFailure: s(0)}},
		{[]settlement{p}, table{anyOf: p, first: p, all: p, firstSuccess: p, firstFailure: p}},
		{[]settlement{s(1)}, table{anyOf: u(1), first: s(1), all: s(1), firstSuccess: s(1), firstFailure: s(1)}},
		{[]settlement{f(1)}, table{anyOf: u(1), first: f(1), all: s(1), firstSuccess: f(1), firstFailure: f(1)}},
		{[]settlement{u(1)}, table{anyOf: u(1), first: u(1), all: s(1), firstSuccess: vague(u(1)), firstFailure: vague(u(1))}},
		{[]settlement{p, p}, table{anyOf: p, first: p, all: p, firstSuccess: p, firstFailure: p}},
		{[]settlement{p, s(1)}, table{anyOf: u(1), first: s(1), all: p, firstSuccess: s(1), firstFailure: p}},
		{[]settlement{p, f(1)}, table{anyOf: u(1), first: f(1), all: p, firstSuccess: p, firstFailure: f(1)}},
		{[]settlement{p, u(1)}, table{anyOf: u(1), first: u(1), all: p, firstSuccess: vague(u(1)), firstFailure: vague(u(1))}},
		{[]settlement{s(1), s(2)}, table{anyOf: u(1), first: s(1), all: s(2), firstSuccess: s(1), firstFailure: s(2)}},
		{[]settlement{f(1), f(2)}, table{anyOf: u(1), first: f(1), all: s(2), firstSuccess: f(2), firstFailure: f(1)}},
		// Which was first, and which decided.
		{[]settlement{s(1), f(2)}, table{anyOf: u(1), first: s(1), all: s(2), firstSuccess: s(1), firstFailure: f(2)}},
		{[]settlement{s(2), f(1)}, table{anyOf: u(1), first: f(1), all: s(2), firstSuccess: s(2), firstFailure: f(1)}},
		{[]settlement{s(1), u(2)}, table{anyOf: u(1), first: s(1), all: s(2), firstSuccess: vague(s(1)), firstFailure: vague(u(2))}},
		{[]settlement{s(2), u(1)}, table{anyOf: u(1), first: u(1), all: s(2), firstSuccess: vague(s(2)), firstFailure: vague(u(1))}},
		{[]settlement{f(1), u(2)}, table{anyOf: u(1), first: f(1), all: s(2), firstSuccess: vague(u(2)), firstFailure: vague(f(1))}},
		{[]settlement{p, s(3), f(2), f(4)}, table{anyOf: u(2), first: f(2), all: p, firstSuccess: s(3), firstFailure: f(2)}},
		{[]settlement{p, s(2), s(3)}, table{anyOf: u(2), first: s(2), all: p, firstSuccess: s(2), firstFailure: p}},
		{[]settlement{p, f(2), f(3)}, table{anyOf: u(2), first: f(2), all: p, firstSuccess: p, firstFailure: f(2)}},
		{[]settlement{p, f(2), u(1)}, table{anyOf: u(1), first: u(1), all: p, firstSuccess: vague(u(1)), firstFailure: vague(f(2))}},
		// One of which it is not known when: it matters where the first decides and they differ.
		{[]settlement{vague(s(0))}, table{
			anyOf: vague(u(0)), first: vague(s(0)), all: vague(s(0)), firstSuccess: vague(s(0)), firstFailure: vague(s(0)),
		}},
		{[]settlement{p, vague(s(0)), s(2)}, table{
			anyOf: vague(u(0)), first: vague(s(0)), all: p, firstSuccess: vague(s(0)), firstFailure: p,
		}},
		{[]settlement{p, vague(s(0)), f(2)}, table{
			anyOf: vague(u(0)), first: vague(u(0)), all: p, firstSuccess: vague(s(0)), firstFailure: vague(f(2)),
		}},
		{[]settlement{p, vague(u(0)), f(2)}, table{
			anyOf: vague(u(0)), first: vague(u(0)), all: p, firstSuccess: vague(u(0)), firstFailure: vague(f(2)),
		}},
	} {
		require.Len(t, c.want, len(journalv1.Future_Combinator_name))
		for combinator, want := range c.want {
			// The order of the members plays no part.
			for range 2 {
				var members tally
				for _, m := range c.members {
					members.add(m)
				}
				got := combine(combinator, &members)
				if want.vague {
					got.at, want.at = 0, 0
				}
				require.Equal(t, want, got, "%s of %v", combinator, c.members)
				slices.Reverse(c.members)
			}
		}
	}
}
