package transcode

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth is how deep messages may nest. A google.protobuf.Value takes up to three levels for each level of JSON.
const maxDepth = 1000

// Check reports whether data is a well-formed message of the type. It allocates nothing when it is. Without it an
// undecodable request would be accepted and then fail in the service at every attempt, for ever. Fields of a wire type
// that does not fit their declaration count as unknown, as in every protobuf implementation.
func Check(message protoreflect.MessageDescriptor, data []byte) error {
	if err := check(message, data, maxDepth); err != nil {
		return fmt.Errorf("%w: not a %s: %w", ErrInput, message.FullName(), err)
	}
	return nil
}

func check(message protoreflect.MessageDescriptor, data []byte, depth int) error {
	if depth == 0 {
		return fmt.Errorf("messages nested deeper than %d", maxDepth)
	}
	fields := message.Fields()
	for len(data) > 0 {
		number, wireType, tagLen := protowire.ConsumeTag(data)
		if tagLen < 0 {
			return protowire.ParseError(tagLen)
		}
		if number > protowire.MaxValidNumber {
			return fmt.Errorf("field number %d is out of range", number)
		}
		data = data[tagLen:]
		valueLen := protowire.ConsumeFieldValue(number, wireType, data)
		if valueLen < 0 {
			return fmt.Errorf("field %d: %w", number, protowire.ParseError(valueLen))
		}
		value := data[:valueLen]
		data = data[valueLen:]
		field := fields.ByNumber(number)
		if field == nil {
			continue
		}
		if err := checkField(field, wireType, value, depth); err != nil {
			return fmt.Errorf("field %d: %w", number, err)
		}
	}
	return nil
}

// checkField looks into values that have a structure of their own. Groups are not entered: their outer form is known
// to be right, and nested ones would be read once for each level.
func checkField(field protoreflect.FieldDescriptor, wireType protowire.Type, value []byte, depth int) error {
	if wireType != protowire.BytesType {
		return nil
	}
	content, _ := protowire.ConsumeBytes(value)
	if field.Kind() == protoreflect.MessageKind {
		return check(field.Message(), content, depth-1)
	}
	if field.IsList() {
		return checkPacked(field.Kind(), content)
	}
	return nil
}

// checkPacked checks the elements of a packed list; strings, bytes and messages are never packed.
func checkPacked(kind protoreflect.Kind, content []byte) error {
	for len(content) > 0 {
		var n int
		switch kind {
		case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
			_, n = protowire.ConsumeFixed32(content)
		case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
			_, n = protowire.ConsumeFixed64(content)
		case protoreflect.BoolKind, protoreflect.EnumKind, protoreflect.Int32Kind, protoreflect.Sint32Kind,
			protoreflect.Uint32Kind, protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Uint64Kind:
			_, n = protowire.ConsumeVarint(content)
		case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind, protoreflect.GroupKind:
			return nil
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		content = content[n:]
	}
	return nil
}
