// Package v0 ties the service protocol of the 2023 SDKs to attempts.
package v0

import (
	"errors"
	"fmt"
	"io"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// Codec implements protocol.Codec.
type Codec struct{}

// Version implements protocol.Codec: this protocol has none on the wire.
func (Codec) Version() uint32 { return 0 }

// ContentType implements protocol.Codec.
func (Codec) ContentType() string { return "application/restate" }

// Forgetful implements protocol.Codec. SDKs of this protocol drop such results, and suspend on them when they are asked to.
func (Codec) Forgetful() bool { return true }

// Begin implements protocol.Codec.
func (Codec) Begin(dst []byte, start protocol.Start) ([]byte, protocol.Attempt, error) {
	state := make([]wire.StateEntry, len(start.State))
	for i, entry := range start.State {
		state[i] = wire.StateEntry(entry)
	}
	dst, err := wire.AppendStart(dst, wire.Start{
		ID: start.ID, Entries: start.Entries, State: state, PartialState: start.PartialState,
	})
	if err != nil {
		return nil, nil, err
	}
	d := &decoder{next: start.CommandCount, completable: map[uint32]bool{}}
	index := uint32(0)
	for _, entry := range start.Entries {
		command := entry.GetCommand()
		if command == nil {
			continue
		}
		d.note(index, command)
		index++
	}
	return dst, attempt{d}, nil
}

// attempt encodes without knowing what is decoded.
type attempt struct{ decoder *decoder }

// AppendNotification implements protocol.Attempt. This protocol has no signals.
func (attempt) AppendNotification(dst []byte, n *journalv1.Notification) ([]byte, error) {
	if _, completion := n.GetId().(*journalv1.Notification_CompletionId); !completion {
		return dst, nil
	}
	return wire.AppendCompletion(dst, n.GetCompletionId(), n.GetResult())
}

// AppendAck implements protocol.Attempt.
func (attempt) AppendAck(dst []byte, commandIndex uint32) ([]byte, error) {
	return wire.AppendAck(dst, commandIndex)
}

// NewDecoder implements protocol.Attempt.
func (a attempt) NewDecoder(r io.Reader, limit uint32) protocol.Decoder {
	a.decoder.frames = frame.NewReader(r, limit)
	return a.decoder
}

// decoder gives entries their indexes, which are implicit on the wire.
type decoder struct {
	frames *frame.Reader
	// next is the index of the next entry.
	next uint32
	// completable says which of the entries are completed by somebody; others count as done once they are stored.
	completable map[uint32]bool
	output      bool
}

// note remembers what matters about an entry later.
func (d *decoder) note(index uint32, command *journalv1.Command) {
	switch command.GetCommand().(type) {
	case *journalv1.Command_Output:
		d.output = true
	case *journalv1.Command_GetState, *journalv1.Command_Sleep, *journalv1.Command_Call, *journalv1.Command_Awakeable:
		d.completable[index] = true
	}
}

// Next implements protocol.Decoder.
func (d *decoder) Next() (protocol.Message, error) {
	f, err := d.frames.Next()
	switch {
	case errors.Is(err, io.EOF) && d.output:
		return protocol.Message{Ended: true}, nil
	case errors.Is(err, io.EOF):
		return protocol.Message{}, io.ErrUnexpectedEOF
	case errors.Is(err, frame.ErrTooLarge):
		return protocol.Message{}, fmt.Errorf("%w: %w", protocol.ErrTooLarge, err)
	case err != nil:
		return protocol.Message{}, err
	}
	size := frame.HeaderSize + len(f.Payload)
	message, err := wire.Decode(f, d.next)
	if err != nil {
		return protocol.Message{}, fmt.Errorf("%w: %w", protocol.ErrViolation, err)
	}
	switch m := message.(type) {
	case *journalv1.Command:
		if d.output {
			return protocol.Message{}, fmt.Errorf("%w: an entry follows the output", protocol.ErrViolation)
		}
		index := d.next
		d.next++
		d.note(index, m)
		return protocol.Message{Command: m, CommandIndex: index, Size: size}, nil
	case wire.Suspension:
		future, err := d.future(m)
		return protocol.Message{Suspended: future, Size: size}, err
	case *wire.EndpointError:
		return protocol.Message{}, &protocol.ServiceError{
			Code: m.Code, Message: m.Message, Mismatch: m.Code == wire.CodeJournalMismatch,
		}
	default:
		return protocol.Message{}, fmt.Errorf("%w: message %T", protocol.ErrViolation, message)
	}
}

func (d *decoder) future(suspension wire.Suspension) (*journalv1.Future, error) {
	if d.output {
		return nil, fmt.Errorf("%w: a suspension follows the output", protocol.ErrViolation)
	}
	if len(suspension.Indexes) > protocol.MaxWaits {
		return nil, fmt.Errorf("%w: suspension on more than %d entries", protocol.ErrViolation, protocol.MaxWaits)
	}
	future := &journalv1.Future{}
	for _, index := range suspension.Indexes {
		switch {
		case index >= d.next:
			return nil, fmt.Errorf("%w: suspension on entry %d of %d", protocol.ErrViolation, index, d.next)
		case d.completable[index]:
			future.Completions = append(future.Completions, index)
		default:
			future.Commands = append(future.Commands, index)
		}
	}
	return future, nil
}
