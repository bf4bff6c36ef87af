package storage

import (
	"encoding/binary"

	"github.com/restate-go/restate/pkg/ids"
)

// TimerKind tells apart the timers of one invocation that are due at the same time. Append only.
type TimerKind byte

// The kinds of timers.
const (
	TimerSleep TimerKind = 1
	TimerStart TimerKind = 2
	TimerDrop  TimerKind = 3

	TimerDropJournal TimerKind = 4
)

// TimerID is the key of a timer.
type TimerID struct {
	// FireAt is in milliseconds since the epoch.
	FireAt     uint64
	Invocation ids.InvocationID
	Kind       TimerKind
	// CompletionID is 0 unless the timer completes a sleep.
	CompletionID uint32
}

const timerKeySize = 1 + 8 + ids.InvocationIDSize + 1 + 4

// Key returns the table key; timers are ordered by time.
func (t TimerID) Key() []byte {
	dst := binary.BigEndian.AppendUint64(append(make([]byte, 0, timerKeySize), byte(TableTimer)), t.FireAt)
	dst = append(append(dst, t.Invocation[:]...), byte(t.Kind))
	return binary.BigEndian.AppendUint32(dst, t.CompletionID)
}

// ParseTimerKey is the inverse of TimerID.Key.
func ParseTimerKey(key []byte) (TimerID, error) {
	if len(key) != timerKeySize || Table(key[0]) != TableTimer {
		return TimerID{}, corruptKey("timer", key)
	}
	rest := key[9:]
	return TimerID{
		FireAt:       binary.BigEndian.Uint64(key[1:]),
		Invocation:   ids.InvocationID(rest[:ids.InvocationIDSize]),
		Kind:         TimerKind(rest[ids.InvocationIDSize]),
		CompletionID: binary.BigEndian.Uint32(rest[ids.InvocationIDSize+1:]),
	}, nil
}
