package v5_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
	"github.com/restate-go/restate/pkg/serviceprotocol/v5/recorded"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// payloads are the messages of the type codes. The notifications share theirs.
var payloads = map[frame.Type]proto.Message{
	v5.TypeStart: &wire.Start{}, v5.TypeSuspension: &wire.Suspension{}, v5.TypeError: &wire.Error{}, v5.TypeEnd: &wire.End{},
	v5.TypeCommandAck: &wire.CommandAck{}, v5.TypeProposeRunCompletion: &wire.ProposeRunCompletion{},
	v5.TypeAwaitingOn: &wire.AwaitingOn{}, v5.TypeProposeRunCompletionAck: &wire.ProposeRunCompletionAck{},
	v5.TypeInput: &wire.InputCommand{}, v5.TypeOutput: &wire.OutputCommand{},
	v5.TypeGetLazyState: &wire.GetLazyStateCommand{}, v5.TypeSetState: &wire.SetStateCommand{},
	v5.TypeClearState: &wire.ClearStateCommand{}, v5.TypeClearAllState: &wire.ClearAllStateCommand{},
	v5.TypeGetLazyStateKeys: &wire.GetLazyStateKeysCommand{}, v5.TypeGetEagerState: &wire.GetEagerStateCommand{},
	v5.TypeGetEagerStateKeys: &wire.GetEagerStateKeysCommand{}, v5.TypeGetPromise: &wire.GetPromiseCommand{},
	v5.TypePeekPromise: &wire.PeekPromiseCommand{}, v5.TypeCompletePromise: &wire.CompletePromiseCommand{},
	v5.TypeSleep: &wire.SleepCommand{}, v5.TypeCall: &wire.CallCommand{}, v5.TypeOneWayCall: &wire.OneWayCallCommand{},
	v5.TypeSendSignal: &wire.SendSignalCommand{}, v5.TypeRun: &wire.RunCommand{},
	v5.TypeAttachInvocation: &wire.AttachInvocationCommand{}, v5.TypeGetInvocationOutput: &wire.AttachInvocationCommand{},
	v5.TypeCompleteAwakeable: &wire.CompleteAwakeableCommand{},
}

func payloadOf(t frame.Type) proto.Message {
	if m, ok := payloads[t]; ok {
		return m.ProtoReflect().New().Interface()
	}
	return &wire.Notification{}
}

// The messages have the fields that the recordings were decoded with.
func TestRecordedPayloads(t *testing.T) {
	for _, e := range recorded.Exchanges(t) {
		for i, r := range e.Frames {
			f := r.Frame(t)
			got, want := payloadOf(f.Type), payloadOf(f.Type)
			require.NoError(t, proto.Unmarshal(f.Payload, got))
			require.Empty(t, got.ProtoReflect().GetUnknown())
			fill(t, want.ProtoReflect(), r.Decoded)
			require.True(t, proto.Equal(want, got), "exchange %d, frame %d (%s): %v instead of %v", e.N, i, r.Name, got, want)
			if name := v5.CommandName(f.Type); name != "" {
				require.Equal(t, r.Name, name+"Command")
			}
		}
	}
}

// fieldNames are those of the recordings that differ from ours.
var fieldNames = map[protoreflect.FullName]protoreflect.Name{
	"restate.serviceprotocol.v5.Notification.idx":  "signal_id",
	"restate.serviceprotocol.v5.Notification.name": "signal_name",
}

func fill(t *testing.T, m protoreflect.Message, decoded map[string]any) {
	for name, value := range decoded {
		own := protoreflect.Name(name)
		if renamed, ok := fieldNames[m.Descriptor().FullName().Append(own)]; ok {
			own = renamed
		}
		field := m.Descriptor().Fields().ByName(own)
		require.NotNil(t, field, "%s has no field %s", m.Descriptor().FullName(), own)
		if values, ok := value.([]any); ok {
			list := m.Mutable(field).List()
			for _, value := range values {
				list.Append(scalar(t, field, list.NewElement(), value))
			}
			continue
		}
		m.Set(field, scalar(t, field, m.NewField(field), value))
	}
}

func scalar(t *testing.T, field protoreflect.FieldDescriptor, empty protoreflect.Value, value any) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.MessageKind:
		fill(t, empty.Message(), value.(map[string]any))
		return empty
	case protoreflect.BytesKind:
		text, isBinary := strings.CutPrefix(value.(string), "hex:")
		if !isBinary {
			return protoreflect.ValueOfBytes([]byte(text))
		}
		raw, err := hex.DecodeString(text)
		require.NoError(t, err)
		return protoreflect.ValueOfBytes(raw)
	case protoreflect.EnumKind:
		for i := range field.Enum().Values().Len() {
			if v := field.Enum().Values().Get(i); strings.HasSuffix(string(v.Name()), "_"+value.(string)) {
				return protoreflect.ValueOfEnum(v.Number())
			}
		}
		require.Fail(t, "unknown value", "%s of %s", value, field.FullName())
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(value.(string))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(value.(bool))
	default:
		number, err := strconv.ParseUint(value.(json.Number).String(), 10, 64)
		require.NoError(t, err)
		if field.Kind() == protoreflect.Uint32Kind {
			return protoreflect.ValueOfUint32(uint32(number))
		}
		return protoreflect.ValueOfUint64(number)
	}
	return protoreflect.Value{}
}

// What a runtime sent is encoded to the same bytes; what an SDK sent is decoded, and commands encoded as they came.
func TestRecordedExchanges(t *testing.T) {
	var decoded strings.Builder
	for _, e := range recorded.Exchanges(t) {
		t.Run(strconv.Itoa(e.N), func(t *testing.T) {
			version := e.Version
			start, rest := e.Start(t)
			got, completions, err := version.AppendStart(nil, start)
			require.NoError(t, err)
			var want []byte
			for _, r := range e.Frames[:len(e.Frames)-len(rest)] {
				want = frame.Append(want, r.Frame(t))
			}
			require.Equal(t, hex.EncodeToString(want), hex.EncodeToString(got))
			for i, r := range rest {
				f := r.Frame(t)
				if r.FromRuntime() {
					require.Equal(t, frame.Append(nil, f), answer(t, version, completions, f), "frame %d of the exchange", i)
					continue
				}
				message, err := version.Decode(f)
				require.NoError(t, err)
				fmt.Fprintf(&decoded, "%d V%d %s\n", e.N, version, render(t, message))
				if command, ok := message.(*journalv1.Command); ok {
					require.NoError(t, completions.Add(command))
					require.Equal(t, f.Flags == v5.FlagAckRequested, command.GetAckRequested())
					again, err := version.AppendCommand(nil, command)
					require.NoError(t, err)
					f.Flags = 0 // as in a replay
					requireSame(t, frame.Append(nil, f), again)
				}
			}
		})
	}
	const golden = "testdata/decoded.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(decoded.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), decoded.String())
}

// requireSame compares frames. They may differ in the order of their fields: of the encoders in use, only that of Go puts
// the members of a oneof last.
func requireSame(t *testing.T, want, got []byte) {
	require.Len(t, got, len(want))
	require.Equal(t, want[:frame.HeaderSize], got[:frame.HeaderSize])
	kind := frame.Type(binary.BigEndian.Uint16(want))
	wanted, gotten := payloadOf(kind), payloadOf(kind)
	require.NoError(t, proto.Unmarshal(want[frame.HeaderSize:], wanted))
	require.NoError(t, proto.Unmarshal(got[frame.HeaderSize:], gotten))
	require.True(t, proto.Equal(wanted, gotten), "%v instead of %v", gotten, wanted)
}

// answer encodes what a recorded frame of the runtime says.
func answer(t *testing.T, version v5.Version, completions v5.Completions, f frame.Frame) []byte {
	var out []byte
	var err error
	switch f.Type {
	case v5.TypeCommandAck:
		m := &wire.CommandAck{}
		require.NoError(t, proto.Unmarshal(f.Payload, m))
		out, err = v5.AppendCommandAck(nil, m.GetCommandIndex())
	case v5.TypeProposeRunCompletionAck:
		m := &wire.ProposeRunCompletionAck{}
		require.NoError(t, proto.Unmarshal(f.Payload, m))
		out, err = v5.AppendRunAck(nil, m.GetCompletionId())
	default:
		out, err = version.AppendNotification(nil, completions, recorded.Notification(t, f))
	}
	require.NoError(t, err)
	return out
}

// render writes a decoded message on one line.
func render(t *testing.T, message any) string {
	text := func(m proto.Message) string {
		encoded, err := protojson.Marshal(m)
		require.NoError(t, err)
		var out bytes.Buffer
		require.NoError(t, json.Compact(&out, encoded)) // protojson puts spaces at random
		return out.String()
	}
	switch m := message.(type) {
	case *journalv1.Command:
		return "command " + text(m)
	case v5.RunProposal:
		return fmt.Sprintf("proposal %d ack=%t %s", m.CompletionID, m.AckRequested, text(m.Result))
	case v5.Suspension:
		return "suspension " + text(m.Future)
	case v5.AwaitingOn:
		return "awaiting " + text(m.Future)
	case v5.End:
		return "end"
	case *v5.EndpointError:
		encoded, err := json.Marshal(m)
		require.NoError(t, err)
		return "error " + string(encoded)
	}
	require.Fail(t, "unknown message", "%T", message)
	return ""
}
