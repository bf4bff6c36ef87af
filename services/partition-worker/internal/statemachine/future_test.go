package statemachine_test

import (
	"fmt"
	"strconv"
	"strings"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

// suspension is what the arguments wait for: any of the lists, or a whole future.
func suspension(a *arguments) (*journalv1.Future, error) {
	if s := a.text("on", ""); s != "" {
		return parseFuture(s)
	}
	named, _ := a.find("named")
	return &journalv1.Future{
		Completions: a.indexes("completions"), Commands: a.indexes("commands"), Signals: a.indexes("signals"),
		NamedSignals: named.Vals,
	}, nil
}

// combinators are how futures are written: all(1,first(2,signal:1),named:x,ack:4).
var combinators = map[string]journalv1.Future_Combinator{
	"any":             journalv1.Future_COMBINATOR_UNSPECIFIED,
	"first":           journalv1.Future_COMBINATOR_FIRST_COMPLETED,
	"all":             journalv1.Future_COMBINATOR_ALL_COMPLETED,
	"first-succeeded": journalv1.Future_COMBINATOR_FIRST_SUCCEEDED_OR_ALL_FAILED,
	"all-succeeded":   journalv1.Future_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED,
}

func parseFuture(s string) (*journalv1.Future, error) {
	name, rest, _ := strings.Cut(s, "(")
	combinator, known := combinators[name]
	members, ok := strings.CutSuffix(rest, ")")
	if !ok || !known {
		return nil, fmt.Errorf("%q is no future", s)
	}
	future := &journalv1.Future{Combinator: combinator}
	for _, member := range splitMembers(members) {
		if strings.Contains(member, "(") {
			nested, err := parseFuture(member)
			if err != nil {
				return nil, err
			}
			future.Nested = append(future.Nested, nested)
			continue
		}
		kind, of, ok := strings.Cut(member, ":")
		if !ok {
			kind, of = "completion", member
		}
		if kind == "named" {
			future.NamedSignals = append(future.NamedSignals, of)
			continue
		}
		n, err := strconv.ParseUint(of, 10, 32)
		if err != nil {
			return nil, err
		}
		switch kind {
		case "completion":
			future.Completions = append(future.Completions, uint32(n))
		case "signal":
			future.Signals = append(future.Signals, uint32(n))
		case "ack":
			future.Commands = append(future.Commands, uint32(n))
		default:
			return nil, fmt.Errorf("%q is nothing to wait for", member)
		}
	}
	return future, nil
}

// splitMembers cuts at the commas outside parentheses.
func splitMembers(s string) []string {
	var members []string
	depth, start := 0, 0
	for i, r := range s {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				members = append(members, s[start:i])
				start = i + 1
			}
		}
	}
	if start < len(s) {
		members = append(members, s[start:])
	}
	return members
}
