package light

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"
)

// contentType is of the version that restate-server chooses where it can.
const contentType = "application/vnd.restate.invocation.v6"

// manifestType is that of the manifest.
const manifestType = "application/vnd.restate.endpointmanifest.v2+json"

// manifest is what discovery answers to those who ask for handlers of today.
const manifest = `{"protocolMode": "BIDI_STREAM", "minProtocolVersion": 6, "maxProtocolVersion": 6, "services": [
  {"name": "Greeter", "ty": "SERVICE", "handlers": [{"name": "hello"}, {"name": "steps"}]},
  {"name": "Relay", "ty": "VIRTUAL_OBJECT", "handlers": [{"name": "chain", "ty": "EXCLUSIVE"}]},
  {"name": "Host", "ty": "VIRTUAL_OBJECT", "handlers": [{"name": "hello", "ty": "EXCLUSIVE"}]},
  {"name": "Counter", "ty": "VIRTUAL_OBJECT", "handlers": [{"name": "add", "ty": "EXCLUSIVE"}, {"name": "get", "ty": "EXCLUSIVE"}]}
]}`

// todays are the handlers with today's protocol, by service and handler. They do what those of the protobuf services do,
// but that an object calls another in chain. Values are JSON as it came.
var todays = map[string]func(*stream) (string, error){
	"Greeter/hello": (*stream).hello, "Greeter/steps": (*stream).steps, "Relay/chain": (*stream).chain,
	"Host/hello": (*stream).hello, "Counter/add": (*stream).add, "Counter/get": (*stream).get,
}

// stream is one attempt of a handler with today's protocol.
type stream struct {
	in  *frame.Reader
	out http.ResponseWriter
	// pending is what has been written and not yet sent.
	pending []byte

	key      string
	value    string
	state    map[string][]byte
	partial  bool
	commands []frame.Frame
	// notifications are the results in the journal and those that came, by completion id.
	notifications map[uint32]*wire.Notification
	next          int
	completions   uint32
}

// serveToday runs one attempt.
func serveToday(w http.ResponseWriter, r *http.Request) {
	run, found := todays[strings.TrimPrefix(r.URL.Path, "/invoke/")]
	if !found {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header()["Content-Type"] = []string{contentType}
	s := &stream{in: frame.NewReader(r.Body, messageLimit), out: w, notifications: map[uint32]*wire.Notification{}}
	if err := s.begin(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	value, err := run(s)
	switch {
	case errors.Is(err, errSuspended):
	case err != nil:
		s.append(v5.TypeError, &wire.Error{Code: http.StatusInternalServerError, Message: err.Error()})
	default:
		_, _ = s.command(v5.TypeOutput, &wire.OutputCommand{
			Result: &wire.OutputCommand_Value{Value: &wire.Value{Content: []byte(value)}},
		})
		s.append(v5.TypeEnd, &wire.End{})
	}
	_, _ = w.Write(s.pending) // the runtime tries again if this does not arrive
}

// begin reads the start of the stream and the journal.
func (s *stream) begin() error {
	f, err := s.in.Next()
	if err != nil {
		return err
	}
	var start wire.Start
	if err := proto.Unmarshal(f.Payload, &start); err != nil {
		return err
	}
	s.key, s.partial, s.state = start.GetKey(), start.GetPartialState(), make(map[string][]byte, len(start.GetStateMap()))
	for _, entry := range start.GetStateMap() {
		s.state[string(entry.GetKey())] = entry.GetValue()
	}
	for range start.GetKnownEntries() {
		if f, err = s.in.Next(); err != nil {
			return err
		}
		if f.Type&notificationBit == 0 {
			s.commands = append(s.commands, f)
		} else if err := s.notify(f); err != nil {
			return err
		}
	}
	var input wire.InputCommand
	if _, err := s.replay(v5.TypeInput, &input); err != nil {
		return err
	}
	s.value = string(input.GetValue().GetContent())
	return nil
}

// notificationBit is set in the types of all notifications.
const notificationBit = 0x8000

func (s *stream) notify(f frame.Frame) error {
	n := &wire.Notification{}
	if err := proto.Unmarshal(f.Payload, n); err != nil {
		return err
	}
	s.notifications[n.GetCompletionId()] = n
	return nil
}

func (s *stream) append(kind frame.Type, message proto.Message) {
	payload, _ := proto.Marshal(message) // strings of ours are valid
	s.pending = frame.Append(s.pending, frame.Frame{Type: kind, Payload: payload})
}

// replay decodes the next command of the journal; false when there is none.
func (s *stream) replay(kind frame.Type, into proto.Message) (bool, error) {
	if s.next >= len(s.commands) {
		return false, nil
	}
	f := s.commands[s.next]
	s.next++
	if f.Type != kind {
		return false, fmt.Errorf("command %d is of type %#04x, not %#04x", s.next-1, uint16(f.Type), uint16(kind))
	}
	return true, proto.Unmarshal(f.Payload, into)
}

// command makes the next command, or takes it from the journal, in which case it is what the message holds afterwards.
// It returns whether it was there.
func (s *stream) command(kind frame.Type, message proto.Message) (bool, error) {
	replayed, err := s.replay(kind, message)
	if !replayed && err == nil {
		s.append(kind, message)
	}
	return replayed, err
}

// completionID returns the id of the next completion.
func (s *stream) completionID() uint32 {
	s.completions++
	return s.completions
}

// await returns the value with which the completion came. A failure is an error: no handler here expects one.
func (s *stream) await(id uint32) ([]byte, error) {
	if n := s.notifications[id]; n == nil && len(s.pending) > 0 {
		if _, err := s.out.Write(s.pending); err != nil {
			return nil, err
		}
		s.pending = s.pending[:0]
		if err := http.NewResponseController(s.out).Flush(); err != nil {
			return nil, err
		}
	}
	for s.notifications[id] == nil {
		f, err := s.in.Next()
		if errors.Is(err, io.EOF) {
			s.append(v5.TypeSuspension, &wire.Suspension{WaitingCompletions: []uint32{id}})
			return nil, errSuspended
		}
		if err != nil {
			return nil, err
		}
		if f.Type&notificationBit == 0 {
			continue // an acknowledgement
		}
		if err := s.notify(f); err != nil {
			return nil, err
		}
	}
	n := s.notifications[id]
	if f := n.GetFailure(); f != nil {
		return nil, errors.New(f.GetMessage())
	}
	return n.GetValue().GetContent(), nil
}

func (s *stream) hello() (string, error) { return greeting(s.value) }

// greeting returns JSON for a JSON string.
func greeting(value string) (string, error) {
	text, quoted := strings.CutPrefix(value, `"`)
	if !quoted {
		return "", fmt.Errorf("%q is no string", value)
	}
	return `"Hello ` + text, nil
}

func (s *stream) steps() (string, error) {
	var done []byte
	for i := range StepCount {
		id := s.completionID()
		run := &wire.RunCommand{ResultCompletionId: id}
		if _, err := s.command(v5.TypeRun, run); err != nil {
			return "", err
		}
		if s.notifications[id] == nil {
			s.append(v5.TypeProposeRunCompletion, &wire.ProposeRunCompletion{
				ResultCompletionId: id, Result: &wire.ProposeRunCompletion_Value{Value: []byte(strconv.Itoa(i))},
			})
		}
		step, err := s.await(id)
		if err != nil {
			return "", err
		}
		done = append(done, step...)
	}
	return `"` + string(done) + `"`, nil
}

func (s *stream) chain() (string, error) {
	call := &wire.CallCommand{
		ServiceName: "Host", HandlerName: "hello", Key: s.key, Parameter: []byte(s.value),
		InvocationIdNotificationIdx: s.completionID(), ResultCompletionId: s.completionID(),
	}
	if _, err := s.command(v5.TypeCall, call); err != nil {
		return "", err
	}
	answer, err := s.await(call.GetResultCompletionId())
	return string(answer), err
}

func (s *stream) add() (string, error) {
	text, err := s.get()
	if err != nil {
		return "", err
	}
	count, err := strconv.Atoi(strings.Trim(text, `"`))
	if err != nil {
		return "", err
	}
	text = `"` + strconv.Itoa(count+1) + `"`
	_, err = s.command(v5.TypeSetState, &wire.SetStateCommand{Key: []byte(stateCount), Value: &wire.Value{Content: []byte(text)}})
	return text, err
}

func (s *stream) get() (string, error) {
	value, known := s.state[stateCount]
	if known || !s.partial {
		eager := &wire.GetEagerStateCommand{Key: []byte(stateCount), Result: &wire.GetEagerStateCommand_Void{Void: &wire.Void{}}}
		if known {
			eager.Result = &wire.GetEagerStateCommand_Value{Value: &wire.Value{Content: value}}
		}
		if _, err := s.command(v5.TypeGetEagerState, eager); err != nil {
			return "", err
		}
		value = eager.GetValue().GetContent()
	} else {
		lazy := &wire.GetLazyStateCommand{Key: []byte(stateCount), ResultCompletionId: s.completionID()}
		_, err := s.command(v5.TypeGetLazyState, lazy)
		if err != nil {
			return "", err
		}
		if value, err = s.await(lazy.GetResultCompletionId()); err != nil {
			return "", err
		}
	}
	if len(value) == 0 {
		return `"0"`, nil
	}
	return string(value), nil
}
