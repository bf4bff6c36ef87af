// Package v5 ties the service protocol of today's SDKs, versions 5 to 7, to attempts.
package v5

import (
	"io"
	"sync"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// Codec implements protocol.Codec.
type Codec struct{ version wire.Version }

// New returns the codec of a version; false for one that the runtime does not speak.
func New(version uint32) (Codec, bool) {
	v := wire.Version(version)
	return Codec{v}, v >= wire.MinVersion && v <= wire.MaxVersion
}

// Version implements protocol.Codec.
func (c Codec) Version() uint32 { return uint32(c.version) }

// ContentType implements protocol.Codec.
func (c Codec) ContentType() string { return c.version.ContentType() }

// Forgetful implements protocol.Codec: SDKs keep results until the handler asks for them.
func (c Codec) Forgetful() bool { return false }

// Begin implements protocol.Codec.
func (c Codec) Begin(dst []byte, start protocol.Start) ([]byte, protocol.Attempt, error) {
	state := make([]wire.StateEntry, len(start.State))
	for i, entry := range start.State {
		state[i] = wire.StateEntry(entry)
	}
	dst, completions, err := c.version.AppendStart(dst, wire.Start{
		ID: start.ID, Entries: start.Entries, State: state,
		// A service without keys has no state that could be known.
		PartialState:   start.PartialState || start.Target.GetKind() == journalv1.ServiceKind_SERVICE_KIND_UNKEYED,
		Key:            string(start.Target.GetKey()),
		RetryCount:     start.RetryCount,
		SinceLastEntry: start.SinceLastEntry,
		RandomSeed:     start.RandomSeed,
		Scope:          start.Target.GetScope(),
		LimitKey:       start.Target.GetLimitKey(),
		IdempotencyKey: start.IdempotencyKey,
	})
	if err != nil {
		return nil, nil, err
	}
	a := &attempt{
		version: c.version, target: start.Target, completions: completions, commands: start.CommandCount,
		completed: map[uint32]struct{}{}, proposed: map[uint32]*journalv1.Result{},
	}
	for _, entry := range start.Entries {
		if _, output := entry.GetCommand().GetCommand().(*journalv1.Command_Output); output {
			a.output = true
		}
		if id := entry.GetNotification().GetCompletionId(); completions[id] == wire.TypeRunCompletion {
			a.completed[id] = struct{}{}
		}
	}
	return dst, a, nil
}

// attempt implements protocol.Attempt. What is below the lock is used by both directions; what is above it, once the
// attempt has begun, by the decoder alone.
type attempt struct {
	version wire.Version
	target  *journalv1.Target
	// commands is how many there are.
	commands uint32
	// output says that one of them is an output.
	output bool
	// completed are the runs that have a result, for all that the endpoint knows.
	completed map[uint32]struct{}

	mu          sync.Mutex
	completions wire.Completions
	// proposed are the results of runs that the endpoint has proposed in this attempt, and wants acknowledged.
	proposed map[uint32]*journalv1.Result
}

// AppendNotification implements protocol.Attempt.
func (a *attempt) AppendNotification(dst []byte, n *journalv1.Notification) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if proposed, ok := a.proposed[n.GetCompletionId()]; ok {
		delete(a.proposed, n.GetCompletionId())
		// The proposal of an attempt before may have been stored first; then its result counts, and has to be told.
		if proto.Equal(proposed, n.GetResult()) {
			return wire.AppendRunAck(dst, n.GetCompletionId())
		}
	}
	return a.version.AppendNotification(dst, a.completions, n)
}

// AppendAck implements protocol.Attempt.
func (a *attempt) AppendAck(dst []byte, commandIndex uint32) ([]byte, error) {
	return wire.AppendCommandAck(dst, commandIndex)
}

// NewDecoder implements protocol.Attempt.
func (a *attempt) NewDecoder(r io.Reader, limit uint32) protocol.Decoder {
	return &decoder{attempt: a, frames: frame.NewReader(r, limit)}
}
