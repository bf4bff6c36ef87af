package schema

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ErrKey means that a request's key cannot be read.
var ErrKey = errors.New("the key of the request cannot be read")

// keyStructure is what a key looks like: a scalar (nil) or a message, by field number.
type keyStructure struct {
	fields map[protowire.Number]*keyStructure
}

// scalar is the structure of everything but messages.
var scalar = &keyStructure{} //nolint:gochecknoglobals // nothing writes it

const (
	// maxKeyDepth bounds how deep messages nest in a key.
	maxKeyDepth = 32
	// maxKeyFields bounds how many fields the keys of an endpoint have, those of nested messages counted wherever they
	// occur: a few messages that contain each other several times make a structure exponentially larger than they are.
	maxKeyFields = 1 << 16
)

// keyStructures makes the structures of the keys of one endpoint.
type keyStructures struct {
	made map[protoreflect.FullName]*keyStructure
	left int // of maxKeyFields
}

func newKeyStructures() *keyStructures {
	return &keyStructures{made: map[protoreflect.FullName]*keyStructure{}, left: maxKeyFields}
}

// of returns the structure of a key field. A message type that contains itself is refused.
func (s *keyStructures) of(field protoreflect.FieldDescriptor) (*keyStructure, error) {
	if field.Message() == nil {
		return scalar, nil
	}
	name := field.Message().FullName()
	if s.made[name] == nil {
		made, err := s.message(field.Message(), nil)
		if err != nil {
			return nil, err
		}
		s.made[name] = made
	}
	return s.made[name], nil
}

func (s *keyStructures) message(message protoreflect.MessageDescriptor, path []protoreflect.FullName) (*keyStructure, error) {
	switch {
	case slices.Contains(path, message.FullName()):
		return nil, fmt.Errorf("the key has the recursive type %s", message.FullName())
	case len(path) >= maxKeyDepth:
		return nil, fmt.Errorf("the key nests messages more than %d deep", maxKeyDepth)
	}
	path = append(path, message.FullName())
	structure := &keyStructure{fields: map[protowire.Number]*keyStructure{}}
	for i := range message.Fields().Len() {
		s.left--
		if s.left < 0 {
			return nil, fmt.Errorf("the keys have more than %d fields", maxKeyFields)
		}
		field := message.Fields().Get(i)
		inner := scalar
		if field.Message() != nil {
			var err error
			if inner, err = s.message(field.Message(), path); err != nil {
				return nil, err
			}
		}
		structure.fields[field.Number()] = inner
	}
	return structure, nil
}

func (k *keyStructure) equal(other *keyStructure) bool {
	if len(k.fields) != len(other.fields) || (k.fields == nil) != (other.fields == nil) {
		return false
	}
	for number, inner := range k.fields {
		if o, ok := other.fields[number]; !ok || !inner.equal(o) {
			return false
		}
	}
	return true
}

// extractKey returns the key in a serialized request: the value of the first field with the number, without its tag,
// and in canonical form if it is a message. A request without the field has the empty key. What follows the field is not
// looked at. These are the rules of the server of 2023.
func extractKey(request []byte, number protowire.Number, structure *keyStructure) ([]byte, error) {
	for len(request) > 0 {
		found, kind, n := protowire.ConsumeTag(request)
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrKey, protowire.ParseError(n))
		}
		length := protowire.ConsumeFieldValue(found, kind, request[n:])
		if length < 0 {
			return nil, fmt.Errorf("%w: %w", ErrKey, protowire.ParseError(length))
		}
		if found == number {
			return appendKey(nil, found, kind, request[n:n+length], structure)
		}
		request = request[n+length:]
	}
	return nil, nil
}

// appendKey appends the canonical form of one field value.
func appendKey(dst []byte, number protowire.Number, kind protowire.Type, value []byte, structure *keyStructure) ([]byte, error) {
	content := value
	switch kind {
	case protowire.VarintType, protowire.Fixed32Type, protowire.Fixed64Type:
		return append(dst, value...), nil
	case protowire.BytesType:
		var n int
		if content, n = protowire.ConsumeBytes(value); n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrKey, protowire.ParseError(n))
		}
	case protowire.StartGroupType:
		var n int
		if content, n = protowire.ConsumeGroup(number, value); n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrKey, protowire.ParseError(n))
		}
	case protowire.EndGroupType:
		return nil, fmt.Errorf("%w: stray end of a group", ErrKey)
	}
	if structure.fields == nil {
		return protowire.AppendBytes(dst, content), nil
	}
	canonical, err := canonicalMessage(content, structure)
	if err != nil {
		return nil, err
	}
	return protowire.AppendBytes(dst, canonical), nil
}

// canonicalMessage drops unknown fields and sorts the known ones by number, keeping the order within a number.
func canonicalMessage(message []byte, structure *keyStructure) ([]byte, error) {
	type field struct {
		number  protowire.Number
		encoded []byte
	}
	var fields []field
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrKey, protowire.ParseError(n))
		}
		length := protowire.ConsumeFieldValue(number, kind, message[n:])
		if length < 0 {
			return nil, fmt.Errorf("%w: %w", ErrKey, protowire.ParseError(length))
		}
		if inner, ok := structure.fields[number]; ok {
			written := kind
			if kind == protowire.StartGroupType {
				written = protowire.BytesType
			}
			encoded, err := appendKey(protowire.AppendTag(nil, number, written), number, kind, message[n:n+length], inner)
			if err != nil {
				return nil, err
			}
			fields = append(fields, field{number, encoded})
		}
		message = message[n+length:]
	}
	slices.SortStableFunc(fields, func(a, b field) int { return int(a.number) - int(b.number) })
	var canonical []byte
	for _, f := range fields {
		canonical = append(canonical, f.encoded...)
	}
	return canonical, nil
}
