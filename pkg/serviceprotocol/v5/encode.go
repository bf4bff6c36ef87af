package v5

import (
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// StateEntry is one key of a service instance's state.
type StateEntry struct{ Key, Value []byte }

// Start is what an attempt begins with.
type Start struct {
	ID      ids.InvocationID
	Entries []*journalv1.Entry
	State   []StateEntry
	// PartialState says that the instance may have keys that State lacks.
	PartialState bool
	// Key of the object or workflow.
	Key string
	// RetryCount is how many attempts have failed since a command was stored, SinceLastEntry how long ago the last entry
	// was.
	RetryCount     uint32
	SinceLastEntry time.Duration
	RandomSeed     uint64
	// Scope, LimitKey and IdempotencyKey, which versions below 7 cannot say. The first two are empty for none.
	Scope, LimitKey string
	IdempotencyKey  *string
}

// AppendStart appends the start frame and the journal to dst. The completions are those of the journal's commands.
func (v Version) AppendStart(dst []byte, s Start) ([]byte, Completions, error) {
	start := &wire.Start{
		Id: s.ID[:], DebugId: s.ID.String(),
		KnownEntries:                   uint32(len(s.Entries)), //nolint:gosec // indexes are 32 bits
		PartialState:                   s.PartialState,
		Key:                            s.Key,
		RetryCountSinceLastStoredEntry: s.RetryCount,
		DurationSinceLastStoredEntry:   uint64(max(s.SinceLastEntry.Milliseconds(), 0)),
		RandomSeed:                     s.RandomSeed,
	}
	for _, entry := range s.State {
		start.StateMap = append(start.StateMap, &wire.Start_StateEntry{Key: entry.Key, Value: entry.Value})
	}
	if v >= V7 {
		start.Scope, start.LimitKey, start.IdempotencyKey = optional(s.Scope), optional(s.LimitKey), s.IdempotencyKey
	}
	dst, err := appendMessage(dst, TypeStart, start)
	if err != nil {
		return nil, nil, err
	}
	// Completions come after their commands as a rule, but nothing depends on it.
	completions := Completions{}
	for i, entry := range s.Entries {
		if err := completions.Add(entry.GetCommand()); err != nil {
			return nil, nil, fmt.Errorf("entry %d of %s: %w", i, s.ID, err)
		}
	}
	for i, entry := range s.Entries {
		if n := entry.GetNotification(); n != nil {
			dst, err = v.AppendNotification(dst, completions, n)
		} else {
			dst, err = v.AppendCommand(dst, entry.GetCommand())
		}
		if err != nil {
			return nil, nil, fmt.Errorf("entry %d of %s: %w", i, s.ID, err)
		}
	}
	return dst, completions, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// AppendNotification appends a completion or a signal. It fails for the completion of a command that the journal lacks.
func (v Version) AppendNotification(dst []byte, completions Completions, n *journalv1.Notification) ([]byte, error) {
	m := &wire.Notification{}
	t := TypeSignal
	switch id := n.GetId().(type) {
	case *journalv1.Notification_CompletionId:
		var known bool
		if t, known = completions[id.CompletionId]; !known {
			return nil, fmt.Errorf("no command has the completion id %d", id.CompletionId)
		}
		m.Id = &wire.Notification_CompletionId{CompletionId: id.CompletionId}
	case *journalv1.Notification_SignalIndex:
		m.Id = &wire.Notification_SignalId{SignalId: id.SignalIndex}
	case *journalv1.Notification_SignalName:
		m.Id = &wire.Notification_SignalName{SignalName: id.SignalName}
	default:
		return nil, fmt.Errorf("notification %T has no form in this protocol", n.GetId())
	}
	switch r := n.GetResult().GetResult().(type) {
	case *journalv1.Result_Void:
		m.Result = &wire.Notification_Void{Void: &wire.Void{}}
	case *journalv1.Result_Value:
		m.Result = &wire.Notification_Value{Value: valueToWire(r.Value)}
	case *journalv1.Result_Failure:
		m.Result = &wire.Notification_Failure{Failure: v.failureToWire(r.Failure)}
	case *journalv1.Result_InvocationId:
		m.Result = &wire.Notification_InvocationId{InvocationId: r.InvocationId}
	case *journalv1.Result_StateKeys:
		m.Result = &wire.Notification_StateKeys{StateKeys: &wire.StateKeys{Keys: r.StateKeys.GetKeys()}}
	default:
		return nil, fmt.Errorf("result %T has no form in this protocol", n.GetResult().GetResult())
	}
	return appendMessage(dst, t, m)
}

// AppendCommandAck appends the acknowledgement of the command with the index among the commands.
func AppendCommandAck(dst []byte, index uint32) ([]byte, error) {
	return appendMessage(dst, TypeCommandAck, &wire.CommandAck{CommandIndex: index})
}

// AppendRunAck appends the acknowledgement of a proposal, which takes the place of its completion where the endpoint has
// made the proposal in the same attempt. There is none below version 7.
func AppendRunAck(dst []byte, completionID uint32) ([]byte, error) {
	return appendMessage(dst, TypeProposeRunCompletionAck, &wire.ProposeRunCompletionAck{CompletionId: completionID})
}

// appendMessage appends a frame without flags.
func appendMessage(dst []byte, t frame.Type, m proto.Message) ([]byte, error) {
	start := len(dst)
	dst, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(frame.Append(dst, frame.Frame{Type: t}), m)
	if err != nil {
		return nil, fmt.Errorf("encode a frame of type %#04x: %w", uint16(t), err)
	}
	length := uint32(len(dst) - start - frame.HeaderSize) //nolint:gosec // payloads are bounded far below
	binary.BigEndian.PutUint32(dst[start+frame.HeaderSize-4:], length)
	return dst, nil
}
