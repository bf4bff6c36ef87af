// Package recorded gives tests the exchanges between SDKs and a runtime that were recorded.
package recorded

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

//go:embed frames.json
var recording []byte

// Exchange is one attempt.
type Exchange struct {
	N       int        `json:"n"`
	Version v5.Version `json:"protocol_version"`
	Request string     `json:"request"`
	Frames  []Frame    `json:"frames"`
}

// Frame is one frame, as it was written down. Integers in what it was decoded to are of type json.Number.
type Frame struct {
	Direction string         `json:"direction"`
	Type      string         `json:"type"`
	Name      string         `json:"name"`
	Flags     string         `json:"flags"`
	Payload   string         `json:"payload_hex"`
	Decoded   map[string]any `json:"decoded"`
}

// Exchanges returns all that were recorded.
func Exchanges(t testing.TB) []Exchange {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(recording))
	decoder.UseNumber() // integers have 64 bits
	var exchanges []Exchange
	require.NoError(t, decoder.Decode(&exchanges))
	require.Len(t, exchanges, 60)
	return exchanges
}

// FromRuntime says that the runtime sent the frame.
func (f Frame) FromRuntime() bool { return f.Direction == "runtime->sdk" }

// Frame returns the frame as it was on the wire.
func (f Frame) Frame(t testing.TB) frame.Frame {
	t.Helper()
	kind, err := strconv.ParseUint(f.Type, 0, 16)
	require.NoError(t, err)
	flags, err := strconv.ParseUint(f.Flags, 0, 16)
	require.NoError(t, err)
	payload, err := hex.DecodeString(f.Payload)
	require.NoError(t, err)
	return frame.Frame{Type: frame.Type(kind), Flags: uint16(flags), Payload: payload}
}

// Start reads the frames that the exchange begins with, and returns those that follow.
func (e Exchange) Start(t testing.TB) (v5.Start, []Frame) {
	t.Helper()
	m := &wire.Start{}
	require.NoError(t, proto.Unmarshal(e.Frames[0].Frame(t).Payload, m))
	start := v5.Start{
		ID: ids.InvocationID(m.GetId()), PartialState: m.GetPartialState(), Key: m.GetKey(),
		RetryCount: m.GetRetryCountSinceLastStoredEntry(), RandomSeed: m.GetRandomSeed(),
		SinceLastEntry: time.Duration(m.GetDurationSinceLastStoredEntry()) * time.Millisecond, //nolint:gosec // some seconds
		Scope:          m.GetScope(), LimitKey: m.GetLimitKey(), IdempotencyKey: m.IdempotencyKey,
	}
	for _, entry := range m.GetStateMap() {
		start.State = append(start.State, v5.StateEntry{Key: entry.GetKey(), Value: entry.GetValue()})
	}
	require.Equal(t, start.ID.String(), m.GetDebugId())
	rest := e.Frames[1:]
	for range m.GetKnownEntries() {
		start.Entries = append(start.Entries, e.entry(t, rest[0].Frame(t)))
		rest = rest[1:]
	}
	return start, rest
}

func (e Exchange) entry(t testing.TB, f frame.Frame) *journalv1.Entry {
	t.Helper()
	switch {
	case f.Type >= 0x8000:
		return &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: Notification(t, f)}}
	case f.Type == v5.TypeInput:
		m := &wire.InputCommand{}
		require.NoError(t, proto.Unmarshal(f.Payload, m))
		input := &journalv1.Input{Value: m.GetValue().GetContent()}
		for _, h := range m.GetHeaders() {
			input.Headers = append(input.Headers, &journalv1.Header{Key: h.GetKey(), Value: h.GetValue()})
		}
		return &journalv1.Entry{Entry: &journalv1.Entry_Command{
			Command: &journalv1.Command{Name: m.GetName(), Command: &journalv1.Command_Input{Input: input}},
		}}
	default:
		message, err := e.Version.Decode(f)
		require.NoError(t, err)
		command, ok := message.(*journalv1.Command)
		require.True(t, ok)
		return &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: command}}
	}
}

// Notification reads a completion or a signal.
func Notification(t testing.TB, f frame.Frame) *journalv1.Notification {
	t.Helper()
	m := &wire.Notification{}
	require.NoError(t, proto.Unmarshal(f.Payload, m))
	n := &journalv1.Notification{Result: &journalv1.Result{}}
	switch id := m.GetId().(type) {
	case *wire.Notification_CompletionId:
		n.Id = &journalv1.Notification_CompletionId{CompletionId: id.CompletionId}
	case *wire.Notification_SignalId:
		n.Id = &journalv1.Notification_SignalIndex{SignalIndex: id.SignalId}
	case *wire.Notification_SignalName:
		n.Id = &journalv1.Notification_SignalName{SignalName: id.SignalName}
	}
	switch r := m.GetResult().(type) {
	case *wire.Notification_Void:
		n.Result.Result = &journalv1.Result_Void{Void: &journalv1.Void{}}
	case *wire.Notification_Value:
		n.Result.Result = &journalv1.Result_Value{Value: r.Value.GetContent()}
	case *wire.Notification_Failure:
		failure := &journalv1.Failure{Code: r.Failure.GetCode(), Message: r.Failure.GetMessage()}
		for _, m := range r.Failure.GetMetadata() {
			failure.Metadata = append(failure.Metadata, &journalv1.FailureMetadata{Key: m.GetKey(), Value: m.GetValue()})
		}
		n.Result.Result = &journalv1.Result_Failure{Failure: failure}
	case *wire.Notification_InvocationId:
		n.Result.Result = &journalv1.Result_InvocationId{InvocationId: r.InvocationId}
	case *wire.Notification_StateKeys:
		n.Result.Result = &journalv1.Result_StateKeys{StateKeys: &journalv1.StateKeys{Keys: r.StateKeys.GetKeys()}}
	}
	return n
}
