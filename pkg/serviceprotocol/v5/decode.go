package v5

import (
	"fmt"
	"math"
	"time"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

// Suspension is a handler that waits.
type Suspension struct{ Future *journalv1.Future }

// AwaitingOn tells what a handler waits for while it runs. Nothing has to be done about it.
type AwaitingOn struct{ Future *journalv1.Future }

// RunProposal is the result of a step that the handler ran: value or failure.
type RunProposal struct {
	CompletionID uint32
	Result       *journalv1.Result
	AckRequested bool
}

// End is the end of a handler that has given its output.
type End struct{}

// Behavior is what the endpoint wants to become of an invocation whose attempt failed.
type Behavior int

// The behaviors.
const (
	// BehaviorRetry leaves it to the retry policy.
	BehaviorRetry Behavior = iota
	BehaviorPause
	// BehaviorFail ends the invocation with the error.
	BehaviorFail
)

// CodeJournalMismatch is the EndpointError code of a handler that did not do what its journal says.
const CodeJournalMismatch = 570

// EndpointError is an attempt that the endpoint reports as failed.
type EndpointError struct {
	Code                uint32
	Message, Stacktrace string
	// RelatedIndex is the index among the commands of the one that the error is about; nil where the endpoint does not
	// tell. RelatedName is its label and RelatedType as CommandName has it; both may be empty.
	RelatedIndex             *uint32
	RelatedName, RelatedType string
	// RetryDelay is when the next attempt is to be made, whatever the retry policy says; nil leaves it to that.
	RetryDelay *time.Duration
	Behavior   Behavior
}

func (e *EndpointError) Error() string {
	return fmt.Sprintf("the service reports: %s (code %d)", e.Message, e.Code)
}

// Decode reads a frame that an endpoint sent. It returns one of *journalv1.Command, RunProposal, Suspension, AwaitingOn,
// *EndpointError and End. Of the target of a call it tells what is on the wire: service, handler, key, scope and limit
// key; of a reference to an invocation it knows the id only if that is what the handler gave. The error wraps
// frame.ErrViolation, ErrRefused, ErrScope or ErrTooDeep.
func (v Version) Decode(f frame.Frame) (any, error) {
	switch f.Type {
	case TypeSuspension:
		return v.decodeSuspension(f)
	case TypeError:
		return decodeError(f)
	case TypeEnd:
		return End{}, unmarshal(f, &wire.End{})
	case TypeProposeRunCompletion:
		return v.decodeProposal(f)
	case TypeAwaitingOn:
		if v < V7 {
			break
		}
		m := &wire.AwaitingOn{}
		err := unmarshal(f, m)
		return AwaitingOn{Future: futureFromWire(m.GetAwaitingOn())}, err
	default:
		return v.decodeCommand(f)
	}
	return nil, unexpected(f)
}

func unexpected(f frame.Frame) error {
	return fmt.Errorf("%w: an endpoint may not send a frame of type %#04x here", frame.ErrViolation, uint16(f.Type))
}

func (v Version) decodeProposal(f frame.Frame) (RunProposal, error) {
	m := &wire.ProposeRunCompletion{}
	if err := unmarshal(f, m); err != nil {
		return RunProposal{}, err
	}
	proposal := RunProposal{CompletionID: m.GetResultCompletionId(), AckRequested: f.Flags&FlagAckRequested != 0}
	switch r := m.GetResult().(type) {
	case *wire.ProposeRunCompletion_Value:
		proposal.Result = &journalv1.Result{Result: &journalv1.Result_Value{Value: r.Value}}
	case *wire.ProposeRunCompletion_Failure:
		proposal.Result = v.failureFromWire(r.Failure)
	default:
		return RunProposal{}, fmt.Errorf("%w: completion of a run with neither value nor failure", frame.ErrViolation)
	}
	return proposal, nil
}

func decodeError(f frame.Frame) (*EndpointError, error) {
	m := &wire.Error{}
	if err := unmarshal(f, m); err != nil {
		return nil, err
	}
	e := &EndpointError{
		Code: m.GetCode(), Message: frame.Shorten(m.GetMessage()), Stacktrace: frame.Shorten(m.GetStacktrace()),
		RelatedIndex: m.RelatedCommandIndex, // nil differs from 0
		RelatedName:  frame.Shorten(m.GetRelatedCommandName()),
	}
	if t := m.GetRelatedCommandType(); t <= math.MaxUint16 {
		e.RelatedType = CommandName(frame.Type(t))
	}
	if m.NextRetryDelay != nil {
		delay := milliseconds(m.GetNextRetryDelay())
		e.RetryDelay = &delay
	}
	switch m.GetBehavior() {
	case wire.Behavior_BEHAVIOR_PAUSE:
		e.Behavior = BehaviorPause
	case wire.Behavior_BEHAVIOR_FAIL:
		e.Behavior = BehaviorFail
	case wire.Behavior_BEHAVIOR_UNSPECIFIED:
	default: // what this release does not know is left to the retry policy
	}
	return e, nil
}

// milliseconds returns the duration, or the longest there is.
func milliseconds(ms uint64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}
