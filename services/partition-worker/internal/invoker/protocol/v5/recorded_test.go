package v5_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wirev5 "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"
	"github.com/restate-go/restate/pkg/serviceprotocol/v5/recorded"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
	v5 "github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol/v5"
)

// The services of the recordings that are not plain ones.
var kinds = map[string]journalv1.ServiceKind{
	"Counter": journalv1.ServiceKind_SERVICE_KIND_KEYED, "GLazy": journalv1.ServiceKind_SERVICE_KIND_KEYED,
	"Wf": journalv1.ServiceKind_SERVICE_KIND_WORKFLOW, "GWf": journalv1.ServiceKind_SERVICE_KIND_WORKFLOW,
}

func startOf(t *testing.T, e recorded.Exchange) (protocol.Start, []recorded.Frame) {
	recordedStart, rest := e.Start(t)
	service, handler, ok := strings.Cut(strings.TrimPrefix(e.Request, "POST /invoke/"), "/")
	require.True(t, ok)
	kind, ok := kinds[service]
	if !ok {
		kind = journalv1.ServiceKind_SERVICE_KIND_UNKEYED
	}
	start := protocol.Start{
		ID: recordedStart.ID,
		Target: &journalv1.Target{
			Service: service, Handler: handler, Kind: kind, Key: []byte(recordedStart.Key),
			Shared: kind == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW && handler != "Run",
			Scope:  recordedStart.Scope, LimitKey: recordedStart.LimitKey,
		},
		IdempotencyKey: recordedStart.IdempotencyKey, RandomSeed: recordedStart.RandomSeed, Entries: recordedStart.Entries,
		PartialState: recordedStart.PartialState, RetryCount: recordedStart.RetryCount, SinceLastEntry: recordedStart.SinceLastEntry,
	}
	for _, entry := range recordedStart.Entries {
		if entry.GetCommand() != nil {
			start.CommandCount++
		}
	}
	for _, entry := range recordedStart.State {
		start.State = append(start.State, protocol.StateEntry(entry))
	}
	return start, rest
}

// Whole attempts are played in the order in which their frames were recorded: what the SDK sends is read, what the
// runtime sent is encoded to the same bytes.
func TestRecordedAttempts(t *testing.T) {
	for _, e := range recorded.Exchanges(t) {
		t.Run(strconv.Itoa(e.N), func(t *testing.T) {
			codec, ok := v5.New(uint32(e.Version))
			if e.Version < wire.MinVersion { // which the SDK refuses too
				require.False(t, ok)
				return
			}
			require.True(t, ok)
			start, rest := startOf(t, e)
			got, attempt, err := codec.Begin(nil, start)
			require.NoError(t, err)
			requireStart(t, e.Frames[:len(e.Frames)-len(rest)], got)
			play(t, attempt, start.CommandCount, rest)
		})
	}
}

// requireStart compares the first frames of an attempt. That the state of a plain service is not known is said by the
// runtime of the recordings only when it is not a scripted one.
func requireStart(t *testing.T, want []recorded.Frame, got []byte) {
	frames := frame.NewReader(bytes.NewReader(got), 1<<20)
	first, err := frames.Next()
	require.NoError(t, err)
	var start, wanted wirev5.Start
	require.NoError(t, proto.Unmarshal(first.Payload, &start))
	require.NoError(t, proto.Unmarshal(want[0].Frame(t).Payload, &wanted))
	wanted.PartialState = wanted.GetPartialState() || wanted.GetKey() == ""
	require.True(t, proto.Equal(&wanted, &start), "%v instead of %v", &start, &wanted)
	for _, r := range want[1:] {
		f, err := frames.Next()
		require.NoError(t, err)
		require.Equal(t, r.Frame(t), f)
	}
	_, err = frames.Next()
	require.Equal(t, io.EOF, err)
}

func play(t *testing.T, attempt protocol.Attempt, commands uint32, frames []recorded.Frame) {
	var sent []byte
	for _, r := range frames {
		if !r.FromRuntime() {
			sent = frame.Append(sent, r.Frame(t))
		}
	}
	decoder := attempt.NewDecoder(bytes.NewReader(sent), 1<<20)
	proposals := map[uint32]*journalv1.Result{}
	over := false
	for i, r := range frames {
		f := r.Frame(t)
		if r.FromRuntime() {
			requireAnswer(t, attempt, f, proposals)
			continue
		}
		message, err := decoder.Next()
		require.False(t, over, "frame %d follows the end", i)
		if r.Name == "Error" {
			var service *protocol.ServiceError
			require.ErrorAs(t, err, &service)
			over = true
			continue
		}
		require.NoError(t, err)
		require.Equal(t, frame.HeaderSize+len(f.Payload), message.Size)
		switch r.Name {
		case "Suspension":
			require.NotNil(t, message.Suspended)
			over = true
		case "End":
			require.True(t, message.Ended)
			over = true
		case "AwaitingOn":
			require.NotNil(t, message.AwaitingOn)
		case "ProposeRunCompletion":
			proposals[message.RunCompletion.GetCompletionId()] = message.RunCompletion.GetResult()
		default:
			require.NotNil(t, message.Command)
			require.Equal(t, commands, message.CommandIndex)
			commands++
		}
	}
	_, err := decoder.Next()
	require.Equal(t, io.ErrUnexpectedEOF, err)
}

// requireAnswer has the attempt say what a frame of the runtime says.
func requireAnswer(t *testing.T, attempt protocol.Attempt, f frame.Frame, proposals map[uint32]*journalv1.Result) {
	var got []byte
	var err error
	switch f.Type {
	case wire.TypeCommandAck:
		m := &wirev5.CommandAck{}
		require.NoError(t, proto.Unmarshal(f.Payload, m))
		got, err = attempt.AppendAck(nil, m.GetCommandIndex())
	case wire.TypeProposeRunCompletionAck:
		m := &wirev5.ProposeRunCompletionAck{}
		require.NoError(t, proto.Unmarshal(f.Payload, m))
		got, err = attempt.AppendNotification(nil, completion(m.GetCompletionId(), proposals[m.GetCompletionId()]))
		if strings.HasSuffix(t.Name(), "/55") { // the acknowledgement that was recorded is a mistake in its version
			require.NoError(t, err)
			require.Equal(t, uint16(wire.TypeRunCompletion), binary.BigEndian.Uint16(got))
			return
		}
	default:
		got, err = attempt.AppendNotification(nil, recorded.Notification(t, f))
	}
	require.NoError(t, err)
	require.Equal(t, frame.Append(nil, f), got)
}

func completion(id uint32, result *journalv1.Result) *journalv1.Notification {
	return &journalv1.Notification{Id: &journalv1.Notification_CompletionId{CompletionId: id}, Result: result}
}
