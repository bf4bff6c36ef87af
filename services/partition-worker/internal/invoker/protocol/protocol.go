// Package protocol is what the invoker needs to know of a service protocol. Each SDK generation has a codec in a
// package below this one.
package protocol

import (
	"errors"
	"io"
	"time"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/ids"
)

var (
	// ErrViolation means that the endpoint does not keep to the protocol.
	ErrViolation = errors.New("protocol violation")
	// ErrTooLarge means that the endpoint sent a message over the limit.
	ErrTooLarge = errors.New("message is too large")
)

// MaxWaits bounds for how many results a handler may wait at a time: with each that arrives, the partition looks at all.
const MaxWaits = 1 << 16

// ServiceError is an attempt that the service itself reports as failed.
type ServiceError struct {
	Code    uint32
	Message string
	// Stacktrace may be empty.
	Stacktrace string
	// Mismatch says that the handler did not do what its journal says.
	Mismatch bool
	// RetryDelay is when the service wants the next attempt, whatever the retry policy says; nil leaves it to that.
	RetryDelay *time.Duration
	Behavior   Behavior
	// Related is the command that the error is about; nil where the service does not tell.
	Related *RelatedCommand
}

func (e *ServiceError) Error() string {
	if e.Message == "" {
		return "the service reports a failure without a message"
	}
	return "the service reports: " + e.Message
}

// Behavior is what a service wants to become of an invocation whose attempt failed.
type Behavior int

// The behaviors.
const (
	// BehaviorRetry leaves it to the retry policy.
	BehaviorRetry Behavior = iota
	// BehaviorPause lets it rest until somebody resumes it.
	BehaviorPause
	// BehaviorFail ends the invocation with the error.
	BehaviorFail
)

// RelatedCommand names a command, which need not be in the journal.
type RelatedCommand struct {
	// Index among the commands, nil where it is not known.
	Index *uint32
	// Name is the user's label, Type what kind of command it is; both may be empty.
	Name, Type string
}

// StateEntry is one key of a service instance's state.
type StateEntry struct{ Key, Value []byte }

// Start is what an attempt begins with.
type Start struct {
	ID     ids.InvocationID
	Target *journalv1.Target
	// IdempotencyKey is nil where the caller gave none.
	IdempotencyKey *string
	// RandomSeed is what the handler draws its random numbers from.
	RandomSeed uint64
	Entries    []*journalv1.Entry
	// CommandCount is how many of the entries are commands.
	CommandCount uint32
	State        []StateEntry
	// PartialState says that the instance may have keys that State lacks.
	PartialState bool
	// RetryCount is how many attempts have failed since a command was stored, for which a handler began.
	RetryCount uint32
	// SinceLastEntry is how long ago an entry was stored.
	SinceLastEntry time.Duration
}

// Codec speaks one version of a protocol.
type Codec interface {
	// Version is what an invocation is pinned to.
	Version() uint32
	// ContentType is that of request and response.
	ContentType() string
	// Forgetful says that an endpoint passes over a result that comes before its handler has got to the command again
	// which the result is of.
	Forgetful() bool
	// Begin appends the first frames of an attempt to dst. The attempt keeps nothing of the start but its target.
	Begin(dst []byte, start Start) ([]byte, Attempt, error)
}

// Attempt is what both directions of one attempt have to know of each other. Messages may be appended while others are
// decoded, but by one goroutine at a time.
type Attempt interface {
	// AppendNotification appends a result that has been stored; nothing where the protocol has no word for it. The
	// endpoint's own results are acknowledged instead, where the protocol knows that.
	AppendNotification(dst []byte, n *journalv1.Notification) ([]byte, error)
	// AppendAck appends the acknowledgement of a command.
	AppendAck(dst []byte, commandIndex uint32) ([]byte, error)
	// NewDecoder reads what the endpoint sends. It is called once. Messages over the limit, in bytes, are refused.
	NewDecoder(r io.Reader, limit uint32) Decoder
}

// Decoder reads the messages of one attempt.
type Decoder interface {
	// Next returns the next message. Errors wrap ErrViolation or ErrTooLarge, are a *ServiceError, have a published code
	// where the service asks for what it may not, or come from the stream; io.ErrUnexpectedEOF when the endpoint ended it
	// too early. Nothing follows an error, a suspension or the end.
	Next() (Message, error)
}

// Message is one of: a command with its index among the commands, the result of a run, what the handler waits for while
// it runs (which is for show only), a suspension, the end. The last two end the attempt.
type Message struct {
	Command       *journalv1.Command
	CommandIndex  uint32
	RunCompletion *logv1.RunCompletion
	AwaitingOn    *journalv1.Future
	Suspended     *journalv1.Future
	Ended         bool
	// Size is how many bytes it had on the wire.
	Size int
}
