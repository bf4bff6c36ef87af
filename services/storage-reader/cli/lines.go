package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"
)

// lines prints each row as a line of JSON: the fields of the key, and the value. Bytes that are text are strings, others
// {"base64": "..."}; ids and times are strings in their usual forms.
type lines struct {
	encoder *json.Encoder
	table   protoreflect.FieldDescriptor
}

func newLines(out io.Writer, table protoreflect.FieldDescriptor) *lines {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return &lines{encoder: encoder, table: table}
}

func (l *lines) add(row *scanv1.Pair) error {
	line := object{{"table", string(l.table.Name())}}
	key := row.GetKey().ProtoReflect().Get(l.table).Message()
	line = append(line, members(key)...)
	if row.GetPrintableId() != "" {
		line = append(line, member{"printable_id", row.GetPrintableId()})
	}
	value, err := valueOf(row)
	if err != nil {
		return err
	}
	return l.encoder.Encode(append(line, member{"value", value}))
}

func (l *lines) close() error { return nil }

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := encoder.Encode(m.name); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := encoder.Encode(m.value); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// valueOf returns the value of a row in the form that JSON has for it.
func valueOf(row *scanv1.Pair) (any, error) {
	switch row.GetKey().GetKey().(type) {
	case *scanv1.Key_Deduplication, *scanv1.Key_PartitionStateMachine:
		if len(row.GetValue()) != 8 {
			return nil, fmt.Errorf("the value of %v is no number", row.GetKey())
		}
		return binary.BigEndian.Uint64(row.GetValue()), nil
	case *scanv1.Key_State:
		return text(row.GetValue()), nil
	case *scanv1.Key_Journal:
		m, err := decode[domainv1.JournalEntry](row)
		return entryObject(m), err
	case *scanv1.Key_Inbox:
		return messageIn(decode[domainv1.InboxEntry](row))
	case *scanv1.Key_Outbox:
		return messageIn(decode[domainv1.OutboxMessage](row))
	case *scanv1.Key_Status:
		return messageIn(decode[domainv1.InvocationStatus](row))
	default:
		return messageIn(decode[domainv1.Timer](row))
	}
}

func messageIn(m proto.Message, err error) (object, error) {
	return members(m.ProtoReflect()), err
}

// entryObject shows an entry of a journal, its payload decoded.
func entryObject(m *domainv1.JournalEntry) object {
	entry := m.GetEntry()
	payload := decodeEntry(entry)
	if command := commandOfToday(entry); command != nil {
		payload = command
	}
	if payload == nil {
		return members(m.ProtoReflect())
	}
	shown := object{{"header", members(entry.GetHeader().ProtoReflect())}, {"payload", members(payload.ProtoReflect())}}
	if entry.GetCompletion() != nil {
		shown = append(shown, member{"completion", members(entry.GetCompletion().ProtoReflect())})
	}
	return object{{"entry", shown}}
}

// members returns what is set of a message, and its numbers in any case.
func members(m protoreflect.Message) object {
	shown := object{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.HasPresence() && !m.Has(field) {
			continue
		}
		value := m.Get(field)
		if field.IsList() {
			list := make([]any, value.List().Len())
			for i := range list {
				list[i] = shownAs(field, value.List().Get(i))
			}
			shown = append(shown, member{string(field.Name()), list})
			continue
		}
		shown = append(shown, member{string(field.Name()), shownAs(field, value)})
		if field.Name() == "service_key" {
			shown = append(shown, member{"service_key_text", keyText(value.Bytes())})
		}
	}
	return shown
}

// shownAs returns the form of one value.
func shownAs(field protoreflect.FieldDescriptor, value protoreflect.Value) any {
	if field.Message() != nil {
		return members(value.Message())
	}
	switch field.Name() {
	case "timestamp", "creation_time", "modification_time", "wake_up_time", "invoke_time":
		return timeText(value.Uint())
	case "invocation_id":
		return uuidText(value.Bytes())
	case "trace_id":
		return hex.EncodeToString(value.Bytes())
	case "span_id":
		return fmt.Sprintf("%016x", value.Uint())
	}
	if field.Kind() == protoreflect.BytesKind {
		return text(value.Bytes())
	}
	return value.Interface()
}

// text returns bytes as a string if they are one.
func text(b []byte) any {
	if utf8.Valid(b) {
		return string(b)
	}
	return object{{"base64", base64.StdEncoding.EncodeToString(b)}}
}
