package light

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
)

// messageLimit is the largest payload of a frame, in bytes.
const messageLimit = 8 << 20

// typeSideEffect is the custom entry of a step that the handler did itself.
const typeSideEffect = v0.TypeCustom + 1

// errSuspended ends an attempt whose result so far is a suspension.
var errSuspended = errors.New("suspended")

// attempt is one run of a handler: the journal that came with it, and the stream on which it goes on.
type attempt struct {
	in  *frame.Reader
	out http.ResponseWriter
	// pending is what has been written and not yet sent.
	pending []byte

	key, value string
	state      map[string][]byte
	partial    bool
	// replayed are the entries after the input that are in the journal already; next is the index of the next entry.
	replayed []frame.Frame
	next     uint32
}

// begin reads the start of the stream and the journal.
func begin(w http.ResponseWriter, r *http.Request) (*attempt, error) {
	a := &attempt{in: frame.NewReader(r.Body, messageLimit), out: w, next: 1}
	frame, err := a.in.Next()
	if err != nil {
		return nil, err
	}
	if frame.Type != v0.TypeStart {
		return nil, fmt.Errorf("the stream begins with a frame of type %#04x", uint16(frame.Type))
	}
	var start protocol.StartMessage
	if err := proto.Unmarshal(frame.Payload, &start); err != nil {
		return nil, err
	}
	a.partial, a.state = start.GetPartialState(), make(map[string][]byte, len(start.GetStateMap()))
	for _, entry := range start.GetStateMap() {
		a.state[string(entry.GetKey())] = entry.GetValue()
	}
	input, err := a.in.Next()
	if err != nil {
		return nil, err
	}
	if a.key, a.value, err = request(input.Payload); err != nil {
		return nil, err
	}
	for range int(start.GetKnownEntries()) - 1 {
		frame, err := a.in.Next()
		if err != nil {
			return nil, err
		}
		a.replayed = append(a.replayed, frame)
	}
	return a, nil
}

// request decodes the scripted.Request in an input entry.
func request(payload []byte) (key, value string, err error) {
	message, _, err := result(payload)
	for len(message) > 0 && err == nil {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 || kind != protowire.BytesType {
			return "", "", errors.New("the input is no scripted.Request")
		}
		field, m := protowire.ConsumeBytes(message[n:])
		if m < 0 {
			return "", "", protowire.ParseError(m)
		}
		switch number {
		case 1:
			key = string(field)
		case 2:
			value = string(field)
		default: // a field that nobody needs
		}
		message = message[n+m:]
	}
	return key, value, err
}

// The fields in which every entry, and every completion, has its result.
const (
	fieldEmpty   protowire.Number = 13
	fieldValue   protowire.Number = 14
	fieldFailure protowire.Number = 15
)

// result returns the value that an entry or a completion holds, and whether it holds a result at all. A failure is an
// error: no handler here expects one.
func result(payload []byte) (value []byte, found bool, err error) {
	for len(payload) > 0 {
		number, kind, n := protowire.ConsumeField(payload)
		if n < 0 {
			return nil, false, protowire.ParseError(n)
		}
		switch {
		case number == fieldFailure:
			return nil, false, fmt.Errorf("the result is a failure: %q", payload[:n])
		case number == fieldEmpty:
			found = true
		case number == fieldValue && kind == protowire.BytesType:
			_, _, tag := protowire.ConsumeTag(payload)
			value, _ = protowire.ConsumeBytes(payload[tag:])
			found = true
		}
		payload = payload[n:]
	}
	return value, found, nil
}

// append adds a frame to what will be sent.
func (a *attempt) append(kind frame.Type, flags uint16, payload []byte) {
	a.pending = frame.Append(a.pending, frame.Frame{Type: kind, Flags: flags, Payload: payload})
}

// send writes what is pending, and sends it at once.
func (a *attempt) send() error {
	if _, err := a.out.Write(a.pending); err != nil {
		return err
	}
	a.pending = a.pending[:0]
	return http.NewResponseController(a.out).Flush()
}

// entry makes the next entry of the journal, or takes it from there, and returns what is in it then and its index.
func (a *attempt) entry(kind frame.Type, flags uint16, message proto.Message) (payload []byte, index uint32, err error) {
	index = a.next
	a.next++
	if position := int(index) - 1; position < len(a.replayed) {
		frame := a.replayed[position]
		if frame.Type != kind {
			return nil, index, fmt.Errorf("entry %d is of type %#04x, not %#04x", index, uint16(frame.Type), uint16(kind))
		}
		return frame.Payload, index, nil
	}
	payload, err = proto.Marshal(message)
	if err != nil {
		return nil, index, err
	}
	a.append(kind, flags, payload)
	return payload, index, nil
}

// await returns the result of the entry: the one that it holds, or the one that arrives.
func (a *attempt) await(payload []byte, index uint32) ([]byte, error) {
	if value, found, err := result(payload); found || err != nil {
		return value, err
	}
	return a.completion(index)
}

// completion sends what is pending and waits for the completion of the entry. Without one the attempt is suspended.
func (a *attempt) completion(index uint32) ([]byte, error) {
	if err := a.send(); err != nil {
		return nil, err
	}
	for {
		frame, err := a.in.Next()
		if errors.Is(err, io.EOF) {
			payload, err := proto.Marshal(&protocol.SuspensionMessage{EntryIndexes: []uint32{index}})
			if err != nil {
				return nil, err
			}
			a.append(v0.TypeSuspension, 0, payload)
			return nil, errSuspended
		}
		if err != nil {
			return nil, err
		}
		if frame.Type != v0.TypeCompletion {
			return nil, fmt.Errorf("a frame of type %#04x is no completion", uint16(frame.Type))
		}
		var completion protocol.CompletionMessage
		if err := proto.Unmarshal(frame.Payload, &completion); err != nil {
			return nil, err
		}
		if completion.GetEntryIndex() == index {
			value, _, err := result(frame.Payload)
			return value, err
		}
	}
}

// output ends the handler with a scripted.Response.
func (a *attempt) output(value string) error {
	message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), value)
	_, _, err := a.entry(v0.TypeOutputStream, 0, &protocol.OutputStreamEntryMessage{
		Result: &protocol.OutputStreamEntryMessage_Value{Value: message},
	})
	return err
}
