package light

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
)

// frame encodes a message as a frame of the type.
func frameOf(t *testing.T, kind frame.Type, message proto.Message) frame.Frame {
	t.Helper()
	payload, err := proto.Marshal(message)
	require.NoError(t, err)
	return frame.Frame{Type: kind, Payload: payload}
}

// run runs an attempt of the method with a request {key: "k", value: "v"}. The runtime sends the frames, of which the first
// ones, known of them, are in the journal, and says nothing more.
func run(t *testing.T, method string, state map[string]string, known int, frames ...frame.Frame) []frame.Frame {
	t.Helper()
	start := &protocol.StartMessage{KnownEntries: uint32(known + 1), PartialState: state == nil}
	for key, value := range state {
		start.StateMap = append(start.StateMap, &protocol.StartMessage_StateEntry{Key: []byte(key), Value: []byte(value)})
	}
	var body []byte
	for _, f := range append([]frame.Frame{
		frameOf(t, v0.TypeStart, start),
		frameOf(t, v0.TypePollInputStream, &protocol.PollInputStreamEntryMessage{Value: []byte("\x0a\x01k\x12\x01v")}),
	}, frames...) {
		body = frame.Append(body, f)
	}
	recorder := httptest.NewRecorder()
	serve(recorder, httptest.NewRequest(http.MethodPost, "/invoke/"+method, bytes.NewReader(body)))
	require.Equal(t, 200, recorder.Code)
	var sent []frame.Frame
	for in := frame.NewReader(recorder.Body, messageLimit); ; {
		f, err := in.Next()
		if errors.Is(err, io.EOF) {
			return sent
		}
		require.NoError(t, err)
		sent = append(sent, f)
	}
}

// output is the frame of a scripted.Response.
func output(t *testing.T, value string) frame.Frame {
	t.Helper()
	return frameOf(t, v0.TypeOutputStream, &protocol.OutputStreamEntryMessage{
		Result: &protocol.OutputStreamEntryMessage_Value{Value: append([]byte{0x0a, byte(len(value))}, value...)},
	})
}

func suspension(t *testing.T, index uint32) frame.Frame {
	t.Helper()
	return frameOf(t, v0.TypeSuspension, &protocol.SuspensionMessage{EntryIndexes: []uint32{index}})
}

func step(t *testing.T, value string) frame.Frame {
	t.Helper()
	f := frameOf(t, typeSideEffect, &protocol.OutputStreamEntryMessage{
		Result: &protocol.OutputStreamEntryMessage_Value{Value: []byte(value)},
	})
	f.Flags = v0.FlagRequiresAck
	return f
}

func completion(t *testing.T, index uint32, value string) frame.Frame {
	t.Helper()
	return frameOf(t, v0.TypeCompletion, &protocol.CompletionMessage{
		EntryIndex: index, Result: &protocol.CompletionMessage_Value{Value: []byte(value)},
	})
}

func TestHelloAnswersAtOnce(t *testing.T) {
	require.Equal(t, []frame.Frame{output(t, "Hello v")}, run(t, Hello, nil, 0))
}

func TestStepsWaitForTheirAcknowledgement(t *testing.T) {
	require.Equal(t, []frame.Frame{step(t, "0"), suspension(t, 1)}, run(t, Steps, nil, 0))
	require.Equal(t, []frame.Frame{step(t, "1"), step(t, "2"), output(t, "012")},
		run(t, Steps, nil, 1, step(t, "0"), completion(t, 2, ""), completion(t, 3, "")))
}

func TestChainWaitsForTheOtherService(t *testing.T) {
	call := &protocol.InvokeEntryMessage{ServiceName: "scripted.Greeter", MethodName: "Hello", Parameter: []byte("\x12\x01v")}
	asked := frameOf(t, v0.TypeInvoke, call)
	require.Equal(t, []frame.Frame{asked, suspension(t, 1)}, run(t, Chain, nil, 0))
	require.Equal(t, []frame.Frame{suspension(t, 1)}, run(t, Chain, nil, 1, asked))
	require.Equal(t, []frame.Frame{output(t, "hi")}, run(t, Chain, nil, 1, asked, completion(t, 1, "\x0a\x02hi")))
	call.Result = &protocol.InvokeEntryMessage_Value{Value: []byte("\x0a\x02hi")}
	require.Equal(t, []frame.Frame{output(t, "hi")}, run(t, Chain, nil, 1, frameOf(t, v0.TypeInvoke, call)))
}

func TestAddUsesTheStateThatItGets(t *testing.T) {
	set := frameOf(t, v0.TypeSetState, &protocol.SetStateEntryMessage{Key: []byte("count"), Value: []byte("8")})
	got := &protocol.GetStateEntryMessage{Key: []byte("count")}
	asked := frameOf(t, v0.TypeGetState, got)
	require.Equal(t, []frame.Frame{asked, set, output(t, "8")}, run(t, Add, nil, 0, completion(t, 1, "7")))
	got.Result = &protocol.GetStateEntryMessage_Value{Value: []byte("7")}
	require.Equal(t, []frame.Frame{frameOf(t, v0.TypeGetState, got), set, output(t, "8")},
		run(t, Add, map[string]string{"count": "7"}, 0))
	require.Equal(t, output(t, "1"), run(t, Add, map[string]string{}, 0)[2])
}

func TestAJournalOfAnotherHandlerFails(t *testing.T) {
	sent := run(t, Chain, nil, 1, step(t, "0"))
	require.Len(t, sent, 1)
	require.Equal(t, v0.TypeError, sent[0].Type)
}
