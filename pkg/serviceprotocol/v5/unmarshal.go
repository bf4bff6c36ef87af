package v5

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
)

const (
	// maxFields bounds the fields of a payload with those of the messages in it: a field of two bytes on the wire can
	// take more than a hundred in memory.
	maxFields = 1 << 17
	// maxDepth bounds how deeply messages are nested. Only futures can be nested in each other.
	maxDepth = 1000
)

// unmarshal reads the payload of a frame. The error wraps frame.ErrViolation or ErrTooDeep.
func unmarshal(f frame.Frame, m proto.Message) error {
	fields := 0
	if err := measure(f.Payload, m.ProtoReflect().Descriptor(), 0, &fields); err != nil {
		return fmt.Errorf("payload of a frame of type %#04x: %w", uint16(f.Type), err)
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(f.Payload, m); err != nil {
		return fmt.Errorf("%w: payload of a frame of type %#04x: %w", frame.ErrViolation, uint16(f.Type), err)
	}
	return nil
}

// measure checks that a message is within the bounds, before anything is allocated for it.
func measure(payload []byte, m protoreflect.MessageDescriptor, depth int, fields *int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: more than %d", ErrTooDeep, maxDepth)
	}
	for len(payload) > 0 {
		*fields++
		if *fields > maxFields {
			return fmt.Errorf("%w: more than %d fields", frame.ErrViolation, maxFields)
		}
		number, kind, n := protowire.ConsumeTag(payload)
		if n < 0 {
			return fmt.Errorf("%w: %w", frame.ErrViolation, protowire.ParseError(n))
		}
		payload = payload[n:]
		if n = protowire.ConsumeFieldValue(number, kind, payload); n < 0 {
			return fmt.Errorf("%w: %w", frame.ErrViolation, protowire.ParseError(n))
		}
		if field := m.Fields().ByNumber(number); kind == protowire.BytesType && field != nil && field.Message() != nil {
			nested, _ := protowire.ConsumeBytes(payload)
			if err := measure(nested, field.Message(), depth+1, fields); err != nil {
				return err
			}
		}
		payload = payload[n:]
	}
	return nil
}
