package statemachine

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// Action is something the outside must do once the state it follows from is committed. Only the leader does it; a
// new leader derives what is still to be done from the state. The set is closed.
type Action interface{ isAction() }

// StartInvocation begins a run of an invocation. It replaces a run of the same invocation that is still under way.
type StartInvocation struct {
	ID  ids.InvocationID
	Run uint64
	// What the invoker needs of the record; not to be changed.
	Target      *journalv1.Target
	Pin         *logv1.PinnedEndpoint
	SpanContext *journalv1.SpanContext
	CreatedAt   uint64
	RandomSeed  uint64
	// IdempotencyKey is nil where the caller gave none.
	IdempotencyKey *string
	// ClientStream names the stream through which a client runs it; empty where the invoker does, at an endpoint.
	ClientStream string
	// Input is the whole journal when it holds nothing but the input, and nil otherwise.
	Input *journalv1.Entry
}

// AbortInvocation ends a run without waiting for the endpoint.
type AbortInvocation struct {
	ID  ids.InvocationID
	Run uint64
}

// RetryInvocation has the next attempt of a run begin now, if it waits for its time.
type RetryInvocation struct {
	ID  ids.InvocationID
	Run uint64
}

// NotifyInvocation hands a stored notification to the running attempt.
type NotifyInvocation struct {
	ID           ids.InvocationID
	Run          uint64
	JournalIndex uint32
	Notification *journalv1.Notification
}

// AckCommand tells the running attempt that a command is stored.
type AckCommand struct {
	ID           ids.InvocationID
	Run          uint64
	CommandIndex uint32
}

// SetTimer watches a timer that is in the timers table.
type SetTimer struct{ Timer storage.TimerID }

// SendOutbox ships a message that is in the outbox.
type SendOutbox struct {
	Sequence uint64
	Message  *storagev1.OutboxMessage
}

// LeaderChanged reports who leads from this record on.
type LeaderChanged struct {
	Epoch  uint64
	NodeID string
}

func (StartInvocation) isAction()  {}
func (AbortInvocation) isAction()  {}
func (RetryInvocation) isAction()  {}
func (NotifyInvocation) isAction() {}
func (AckCommand) isAction()       {}
func (SetTimer) isAction()         {}
func (SendOutbox) isAction()       {}
func (LeaderChanged) isAction()    {}
