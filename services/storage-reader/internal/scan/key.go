package scan

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"
)

// A key is compared in an encoded form: the fields in the order of their numbers, integers big endian, strings and bytes
// as their length (unsigned varint) and content. No key is the beginning of another one of its table.

func appendUint32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

func appendUint64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

func appendBytes[T string | []byte](dst []byte, v T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

func appendField(dst []byte, field protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch field.Kind() {
	case protoreflect.Uint32Kind:
		return appendUint32(dst, uint32(v.Uint())) //nolint:gosec // the field has 32 bits
	case protoreflect.Uint64Kind:
		return appendUint64(dst, v.Uint())
	case protoreflect.StringKind:
		return appendBytes(dst, v.String())
	default:
		return appendBytes(dst, v.Bytes())
	}
}

// cutField splits off what one field takes; ok is false when the key ends before.
func cutField(field protoreflect.FieldDescriptor, key []byte) (encoded, rest []byte, ok bool) {
	var n int
	switch field.Kind() {
	case protoreflect.Uint32Kind:
		n = 4
	case protoreflect.Uint64Kind:
		n = 8
	default:
		_, rest, ok = cutBytes(key)
		return key[:len(key)-len(rest)], rest, ok
	}
	if len(key) < n {
		return nil, nil, false
	}
	return key[:n], key[n:], true
}

// cutBytes splits off a string or bytes.
func cutBytes(key []byte) (content, rest []byte, ok bool) {
	length, n := binary.Uvarint(key)
	if n <= 0 || length > uint64(len(key)-n) { //nolint:gosec // n <= len(key)
		return nil, nil, false
	}
	end := n + int(length) //nolint:gosec // length <= len(key)
	return key[n:end], key[end:], true
}

// content returns the string or bytes in an encoded field.
func content(encoded []byte) []byte {
	_, prefix := binary.Uvarint(encoded)
	return encoded[prefix:]
}

var errKey = errors.New("not a key of the table")

// decodeKey makes a key of the table, which is a field of scanv1.Key, from its encoded form.
func decodeKey(table protoreflect.FieldDescriptor, encoded []byte) (*scanv1.Key, error) {
	key := &scanv1.Key{}
	m := key.ProtoReflect().Mutable(table).Message()
	fields := table.Message().Fields()
	rest := encoded
	for i := range fields.Len() {
		field := fields.Get(i)
		var part []byte
		var ok bool
		if part, rest, ok = cutField(field, rest); !ok {
			return nil, fmt.Errorf("%x: %w %s", encoded, errKey, table.Name())
		}
		m.Set(field, fieldValue(field, part))
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%x: %w %s", encoded, errKey, table.Name())
	}
	return key, nil
}

func fieldValue(field protoreflect.FieldDescriptor, encoded []byte) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(binary.BigEndian.Uint32(encoded))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(binary.BigEndian.Uint64(encoded))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(content(encoded)))
	default:
		return protoreflect.ValueOfBytes(content(encoded))
	}
}
