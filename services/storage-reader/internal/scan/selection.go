package scan

import (
	"bytes"
	"slices"
)

// unit is what is put in order: a row, or the rows of a journal.
type unit struct {
	// key is the encoded key of the row, or the beginning that the keys of all rows have.
	key []byte
	// partition and stored say where the row comes from.
	partition uint32
	stored    []byte
}

func (u unit) size() int { return unitOverhead + len(u.key) + len(u.stored) }

// unitOverhead is about what a unit takes beside its keys, in bytes.
const unitOverhead = 64

// selection finds the units with the lowest keys, as many as fit into its budget, among any number in any order.
type selection struct {
	// budget is in bytes. Twice as much is in use for some time. One unit is kept in any case.
	budget int
	// sorted is how many bytes at the beginning of a key never decrease from one unit to the next.
	sorted int
	units  []unit
	size   int
	// limit is the highest key that is still taken; nil while there was room for all.
	limit []byte
}

// add takes a copy of the unit if it is among the lowest. false means that none of those to come will be.
func (s *selection) add(u unit) bool {
	if s.limit != nil && bytes.Compare(u.key, s.limit) > 0 {
		n := min(s.sorted, len(u.key), len(s.limit))
		return bytes.Compare(u.key[:n], s.limit[:n]) <= 0
	}
	u.key, u.stored = bytes.Clone(u.key), bytes.Clone(u.stored)
	s.units = append(s.units, u)
	if s.size += u.size(); s.size > 2*s.budget {
		s.shrink()
	}
	return true
}

// shrink keeps what fits into the budget.
func (s *selection) shrink() {
	s.sort()
	s.size = 0
	kept := 0
	for _, u := range s.units {
		if kept > 0 && s.size+u.size() > s.budget {
			break
		}
		s.size += u.size()
		kept++
	}
	if kept == len(s.units) {
		return
	}
	clear(s.units[kept:])
	s.units = s.units[:kept]
	s.limit = s.units[kept-1].key
}

func (s *selection) sort() {
	slices.SortFunc(s.units, func(a, b unit) int { return bytes.Compare(a.key, b.key) })
}
