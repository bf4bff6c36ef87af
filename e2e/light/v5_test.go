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
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"
)

// runToday runs an attempt of the handler with the input "v" and the key k. The runtime sends the frames, of which the first
// ones, known of them, are in the journal, and says nothing more.
func runToday(t *testing.T, handler string, state map[string]string, known int, frames ...frame.Frame) []frame.Frame {
	t.Helper()
	start := &wire.Start{KnownEntries: uint32(known + 1), PartialState: state == nil, Key: "k"}
	for key, value := range state {
		start.StateMap = append(start.StateMap, &wire.Start_StateEntry{Key: []byte(key), Value: []byte(value)})
	}
	var body []byte
	for _, f := range append([]frame.Frame{
		frameOf(t, v5.TypeStart, start), frameOf(t, v5.TypeInput, &wire.InputCommand{Value: content(`"v"`)}),
	}, frames...) {
		body = frame.Append(body, f)
	}
	recorder := httptest.NewRecorder()
	serveToday(recorder, httptest.NewRequest(http.MethodPost, "/invoke/"+handler, bytes.NewReader(body)))
	require.Equal(t, http.StatusOK, recorder.Code)
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

func content(text string) *wire.Value { return &wire.Value{Content: []byte(text)} }

// ended is how a handler ends that returns the value.
func ended(t *testing.T, value string) []frame.Frame {
	t.Helper()
	end := frameOf(t, v5.TypeEnd, &wire.End{})
	end.Payload = []byte{}
	return []frame.Frame{frameOf(t, v5.TypeOutput, &wire.OutputCommand{Result: &wire.OutputCommand_Value{Value: content(value)}}), end}
}

func suspendedOn(t *testing.T, id uint32) frame.Frame {
	t.Helper()
	return frameOf(t, v5.TypeSuspension, &wire.Suspension{WaitingCompletions: []uint32{id}})
}

func notification(t *testing.T, kind frame.Type, id uint32, value string) frame.Frame {
	t.Helper()
	return frameOf(t, kind, &wire.Notification{
		Id: &wire.Notification_CompletionId{CompletionId: id}, Result: &wire.Notification_Value{Value: content(value)},
	})
}

func TestHandlerAnswersAtOnce(t *testing.T) {
	require.Equal(t, ended(t, `"Hello v"`), runToday(t, "Greeter/hello", nil, 0))
	require.Equal(t, ended(t, `"Hello v"`), runToday(t, "Host/hello", map[string]string{}, 0))
}

func TestHandlerRunsSteps(t *testing.T) {
	command := func(id uint32) frame.Frame {
		return frameOf(t, v5.TypeRun, &wire.RunCommand{ResultCompletionId: id})
	}
	proposal := func(id uint32, value string) frame.Frame {
		return frameOf(t, v5.TypeProposeRunCompletion, &wire.ProposeRunCompletion{
			ResultCompletionId: id, Result: &wire.ProposeRunCompletion_Value{Value: []byte(value)},
		})
	}
	completed := func(id uint32, value string) frame.Frame { return notification(t, v5.TypeRunCompletion, id, value) }
	require.Equal(t, []frame.Frame{command(1), proposal(1, "0"), suspendedOn(t, 1)}, runToday(t, "Greeter/steps", nil, 0))
	require.Equal(t, append([]frame.Frame{proposal(2, "1"), command(3), proposal(3, "2")}, ended(t, `"012"`)...),
		runToday(t, "Greeter/steps", nil, 3, command(1), completed(1, "0"), command(2), completed(2, "1"), completed(3, "2")),
		"a step without a result is done again")
}

func TestHandlerCallsTheHostOfItsKey(t *testing.T) {
	call := frameOf(t, v5.TypeCall, &wire.CallCommand{
		ServiceName: "Host", HandlerName: "hello", Key: "k", Parameter: []byte(`"v"`), InvocationIdNotificationIdx: 1, ResultCompletionId: 2,
	})
	require.Equal(t, []frame.Frame{call, suspendedOn(t, 2)}, runToday(t, "Relay/chain", map[string]string{}, 0))
	require.Equal(t, ended(t, `"Hello v"`), runToday(t, "Relay/chain", map[string]string{}, 2, call,
		notification(t, v5.TypeCallCompletion, 2, `"Hello v"`)))
}

func TestHandlerCounts(t *testing.T) {
	sets := func(value string) frame.Frame {
		return frameOf(t, v5.TypeSetState, &wire.SetStateCommand{Key: []byte(stateCount), Value: content(value)})
	}
	sent := runToday(t, "Counter/add", map[string]string{stateCount: `"7"`}, 0)
	require.Equal(t, v5.TypeGetEagerState, sent[0].Type)
	require.Equal(t, append([]frame.Frame{sets(`"8"`)}, ended(t, `"8"`)...), sent[1:])
	require.Equal(t, ended(t, `"0"`), runToday(t, "Counter/get", map[string]string{}, 0)[1:])

	lazy := frameOf(t, v5.TypeGetLazyState, &wire.GetLazyStateCommand{Key: []byte(stateCount), ResultCompletionId: 1})
	require.Equal(t, []frame.Frame{lazy, suspendedOn(t, 1)}, runToday(t, "Counter/add", nil, 0))
	require.Equal(t, append([]frame.Frame{sets(`"8"`)}, ended(t, `"8"`)...),
		runToday(t, "Counter/add", nil, 2, lazy, notification(t, v5.TypeGetLazyStateCompletion, 1, `"7"`)))
}

func TestHandlerThatIsAnotherThanBefore(t *testing.T) {
	sent := runToday(t, "Greeter/steps", nil, 1, frameOf(t, v5.TypeSleep, &wire.SleepCommand{WakeUpTime: 1}))
	require.Len(t, sent, 1)
	require.Equal(t, v5.TypeError, sent[0].Type)
	var failure wire.Error
	require.NoError(t, proto.Unmarshal(sent[0].Payload, &failure))
	require.Contains(t, failure.GetMessage(), "command 1 is of type 0x040c, not 0x0411")
}
