package kv

import (
	"bytes"

	"github.com/tidwall/btree"
)

// Tx reads a space as it will be once the changes made through it are committed. One at a time; not safe for
// concurrent use. Changes of others to the space must not happen meanwhile.
type Tx struct {
	space   Space
	batch   *Batch
	changes btree.Map[string, change]
	// dropped has the ranges that were deleted, from lower to upper bound. They do not overlap. What is in changes came
	// after them.
	dropped btree.Map[string, string]
}

type change struct {
	value   []byte
	deleted bool
}

// NewTx returns an empty transaction.
func NewTx(space Space) *Tx {
	var family uint32
	if f, ok := space.(interface{ Family() uint32 }); ok {
		family = f.Family()
	}
	return &Tx{space: space, batch: NewBatch(family)}
}

// Get implements Reader.
func (t *Tx) Get(key []byte) (value []byte, ok bool, err error) {
	if c, ok := t.changes.Get(string(key)); ok {
		if c.deleted {
			return nil, false, nil
		}
		return bytes.Clone(c.value), true, nil
	}
	if _, ok := t.droppedUntil(key); ok {
		return nil, false, nil
	}
	return t.space.Get(key)
}

// droppedUntil returns the end of the deleted range that has the key in it; ok is false when there is none.
func (t *Tx) droppedUntil(key []byte) (upper string, ok bool) {
	if t.dropped.Len() == 0 {
		return "", false
	}
	t.dropped.Descend(string(key), func(_, end string) bool {
		upper, ok = end, string(key) < end
		return false
	})
	return upper, ok
}

// Put sets the value of the key. The value is kept: it must not be changed afterwards.
func (t *Tx) Put(key, value []byte) { t.changes.Set(string(key), change{value: value}) }

// Delete drops the key.
func (t *Tx) Delete(key []byte) { t.changes.Set(string(key), change{deleted: true}) }

// DeleteRange drops the keys in [lower, upper). It costs the same however many of them are committed.
func (t *Tx) DeleteRange(lower, upper []byte) {
	from, to := string(lower), string(upper)
	if from >= to {
		return
	}
	var changed []string
	t.changes.Ascend(from, func(key string, _ change) bool {
		if key >= to {
			return false
		}
		changed = append(changed, key)
		return true
	})
	for _, key := range changed {
		t.changes.Delete(key)
	}
	// Ranges that it overlaps become one with it.
	var within []string
	t.dropped.Descend(to, func(begin, end string) bool {
		if end < from {
			return false
		}
		within = append(within, begin)
		from, to = min(from, begin), max(to, end)
		return true
	})
	for _, begin := range within {
		t.dropped.Delete(begin)
	}
	t.dropped.Set(from, to)
}

// Commit writes all changes at once and empties the transaction. After an error nothing is written and the
// transaction is as it was.
func (t *Tx) Commit() error {
	t.batch.Reset()
	t.dropped.Scan(func(lower, upper string) bool {
		t.batch.DeleteRange([]byte(lower), []byte(upper))
		return true
	})
	t.changes.Scan(func(key string, c change) bool {
		if c.deleted {
			t.batch.Delete([]byte(key))
		} else {
			t.batch.Put([]byte(key), c.value)
		}
		return true
	})
	if t.batch.Len() > 0 {
		if err := t.space.Write(t.batch); err != nil {
			return err
		}
	}
	t.Reset()
	return nil
}

// Reset forgets all changes.
func (t *Tx) Reset() {
	t.changes.Clear()
	t.dropped.Clear()
}

// Scan implements Reader. The transaction must not be changed while the iterator is open.
func (t *Tx) Scan(lower, upper []byte) Iterator {
	m := &merged{tx: t, below: t.space.Scan(lower, upper), above: t.changes.Iter(), upper: string(upper), bounded: upper != nil}
	m.aboveOK = m.above.Seek(string(lower)) && m.inBounds()
	m.nextBelow()
	return m
}

// merged walks over committed rows and changes at once; where both have a key, the change counts.
type merged struct {
	tx               *Tx
	below            Iterator
	above            btree.MapIter[string, change]
	upper            string
	bounded          bool
	belowOK, aboveOK bool
	key, value       []byte
}

func (m *merged) inBounds() bool { return !m.bounded || m.above.Key() < m.upper }

func (m *merged) nextAbove() { m.aboveOK = m.above.Next() && m.inBounds() }

// nextBelow moves on among the committed rows, past ranges that were deleted. It does not step over what is in them.
func (m *merged) nextBelow() {
	for m.belowOK = m.below.Next(); m.belowOK; m.belowOK = m.below.Next() {
		end, ok := m.tx.droppedUntil(m.below.Key())
		if !ok {
			return
		}
		if m.bounded && end >= m.upper {
			m.belowOK = false
			return
		}
		m.below.Close()
		var upper []byte
		if m.bounded {
			upper = []byte(m.upper)
		}
		m.below = m.tx.space.Scan([]byte(end), upper)
	}
}

// Next implements Iterator.
func (m *merged) Next() bool {
	for m.belowOK || m.aboveOK {
		var order int
		switch {
		case !m.aboveOK:
			order = -1
		case !m.belowOK:
			order = 1
		default:
			order = bytes.Compare(m.below.Key(), []byte(m.above.Key()))
		}
		if order < 0 {
			m.key = append(m.key[:0], m.below.Key()...)
			m.value = append(m.value[:0], m.below.Value()...)
			m.nextBelow()
			return true
		}
		c := m.above.Value()
		m.key = append(m.key[:0], m.above.Key()...)
		m.value = append(m.value[:0], c.value...)
		if order == 0 {
			m.nextBelow()
		}
		m.nextAbove()
		if !c.deleted {
			return true
		}
	}
	return false
}

// Key implements Iterator.
func (m *merged) Key() []byte { return m.key }

// Value implements Iterator.
func (m *merged) Value() []byte { return m.value }

// Err implements Iterator.
func (m *merged) Err() error { return m.below.Err() }

// Close implements Iterator.
func (m *merged) Close() { m.below.Close() }
