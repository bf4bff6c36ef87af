package v5

import (
	"errors"
	"fmt"
	"io"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

type decoder struct {
	*attempt
	frames *frame.Reader
}

// Next implements protocol.Decoder.
func (d *decoder) Next() (protocol.Message, error) {
	f, err := d.frames.Next()
	switch {
	case errors.Is(err, io.EOF):
		return protocol.Message{}, io.ErrUnexpectedEOF
	case errors.Is(err, frame.ErrTooLarge):
		return protocol.Message{}, fmt.Errorf("%w: %w", protocol.ErrTooLarge, err)
	case err != nil:
		return protocol.Message{}, err
	}
	message, err := d.version.Decode(f)
	if err == nil {
		var out protocol.Message
		if out, err = d.take(message); err == nil {
			out.Size = frame.HeaderSize + len(f.Payload)
			return out, nil
		}
	}
	return protocol.Message{}, classify(err)
}

// classify gives errors of the wire form the meaning that they have for an attempt.
func classify(err error) error {
	switch {
	case errors.Is(err, frame.ErrViolation):
		return fmt.Errorf("%w: %w", protocol.ErrViolation, err)
	case errors.Is(err, wire.ErrRefused):
		return errcode.Wrap(errcode.CommandRefused, err)
	case errors.Is(err, wire.ErrScope):
		return errcode.Wrap(errcode.ScopeRefused, err)
	case errors.Is(err, wire.ErrTooDeep):
		return errcode.Wrap(errcode.FutureTooDeep, err)
	default:
		return err
	}
}

// take checks a message against the attempt, and notes what matters about it later.
func (d *decoder) take(message any) (protocol.Message, error) {
	switch m := message.(type) {
	case *journalv1.Command:
		return d.command(m)
	case wire.RunProposal:
		return d.proposal(m)
	case wire.AwaitingOn:
		return protocol.Message{AwaitingOn: m.Future}, nil
	case wire.Suspension:
		return protocol.Message{Suspended: m.Future}, d.answerable(m.Future)
	case wire.End:
		if !d.output {
			return protocol.Message{}, fmt.Errorf("%w: the handler ended without an output", frame.ErrViolation)
		}
		return protocol.Message{Ended: true}, nil
	case *wire.EndpointError:
		return protocol.Message{}, serviceError(m)
	default:
		return protocol.Message{}, fmt.Errorf("%w: message %T", frame.ErrViolation, message)
	}
}

func (d *decoder) command(command *journalv1.Command) (protocol.Message, error) {
	if err := permit(d.target, command); err != nil {
		return protocol.Message{}, err
	}
	d.mu.Lock()
	err := d.completions.Add(command)
	d.mu.Unlock()
	if err != nil {
		return protocol.Message{}, err
	}
	if _, output := command.GetCommand().(*journalv1.Command_Output); output {
		d.output = true
	}
	index := d.commands
	d.commands++
	return protocol.Message{Command: command, CommandIndex: index}, nil
}

// proposal takes the result of a run, which is asked for once only.
func (d *decoder) proposal(p wire.RunProposal) (protocol.Message, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.completions[p.CompletionID] != wire.TypeRunCompletion {
		return protocol.Message{}, fmt.Errorf("%w: result of a run that was not begun, completion id %d", frame.ErrViolation, p.CompletionID)
	}
	if _, done := d.completed[p.CompletionID]; done {
		return protocol.Message{}, fmt.Errorf("%w: second result of a run, completion id %d", frame.ErrViolation, p.CompletionID)
	}
	d.completed[p.CompletionID] = struct{}{}
	if p.AckRequested && d.version >= wire.V7 {
		d.proposed[p.CompletionID] = p.Result
	}
	return protocol.Message{RunCompletion: &logv1.RunCompletion{CompletionId: p.CompletionID, Result: p.Result}}, nil
}

// answerable refuses a future with a completion that no command asks for: it might never wake the handler again.
func (d *decoder) answerable(future *journalv1.Future) error {
	if n := leaves(future); n > protocol.MaxWaits {
		return fmt.Errorf("%w: the handler waits for %d results at a time, and may for %d", wire.ErrRefused, n, protocol.MaxWaits)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known(future)
}

// leaves is how many results and signals are in the tree.
func leaves(future *journalv1.Future) int {
	n := len(future.GetCompletions()) + len(future.GetSignals()) + len(future.GetNamedSignals())
	for _, nested := range future.GetNested() {
		n += leaves(nested)
	}
	return n
}

func (d *decoder) known(future *journalv1.Future) error {
	for _, id := range future.GetCompletions() {
		if _, ok := d.completions[id]; !ok {
			return fmt.Errorf("%w: suspension on the completion id %d, which no command has", frame.ErrViolation, id)
		}
	}
	for _, nested := range future.GetNested() {
		if err := d.known(nested); err != nil {
			return err
		}
	}
	return nil
}

func serviceError(e *wire.EndpointError) *protocol.ServiceError {
	service := &protocol.ServiceError{
		Code: e.Code, Message: e.Message, Stacktrace: e.Stacktrace, Mismatch: e.Code == wire.CodeJournalMismatch,
		RetryDelay: e.RetryDelay, Behavior: behaviors[e.Behavior],
	}
	if e.RelatedIndex != nil || e.RelatedName != "" || e.RelatedType != "" {
		service.Related = &protocol.RelatedCommand{Index: e.RelatedIndex, Name: e.RelatedName, Type: e.RelatedType}
	}
	return service
}

var behaviors = map[wire.Behavior]protocol.Behavior{
	wire.BehaviorRetry: protocol.BehaviorRetry,
	wire.BehaviorPause: protocol.BehaviorPause,
	wire.BehaviorFail:  protocol.BehaviorFail,
}
