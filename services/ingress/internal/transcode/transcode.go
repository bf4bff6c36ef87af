// Package transcode converts between the JSON mapping of protobuf messages and their wire form, with descriptors known
// only at run time.
package transcode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Types finds the messages and extensions that a google.protobuf.Any or an extension member names.
type Types interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// ErrInput is wrapped by errors that the sender of the JSON text or of the message can put right.
var ErrInput = errors.New("invalid message")

// ToWire returns the wire form of a JSON text. Members that the message does not have are refused, names are accepted
// in both spellings, and so is nothing after the value.
func ToWire(message protoreflect.MessageDescriptor, types Types, text []byte) ([]byte, error) {
	parsed := dynamicpb.NewMessage(message)
	if err := (protojson.UnmarshalOptions{Resolver: types}).Unmarshal(text, parsed); err != nil {
		return nil, fmt.Errorf("%w: JSON does not fit %s: %s", ErrInput, message.FullName(), reason(err))
	}
	// The same text always gives the same bytes, which makes repeated requests comparable.
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(parsed)
	if err != nil {
		return nil, fmt.Errorf("%w: encode %s: %s", ErrInput, message.FullName(), reason(err))
	}
	return data, nil
}

// ToJSON appends the compact JSON text of a message to dst. Fields without presence appear with their default, as the
// 2023 releases printed them.
func ToJSON(dst *bytes.Buffer, message protoreflect.MessageDescriptor, types Types, data []byte) (err error) {
	// With descriptors known only at run time, the protobuf library panics at an entry of a map that has its key twice, the
	// second time as a field of another type (v1.36.12).
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("decode %s: %v", message.FullName(), cause)
		}
	}()
	parsed := dynamicpb.NewMessage(message)
	if err := (proto.UnmarshalOptions{AllowPartial: true, Resolver: types}).Unmarshal(data, parsed); err != nil {
		return fmt.Errorf("decode %s: %s", message.FullName(), reason(err))
	}
	text, err := protojson.MarshalOptions{AllowPartial: true, EmitDefaultValues: true, Resolver: types}.Marshal(parsed)
	if err != nil {
		return fmt.Errorf("print %s as JSON: %s", message.FullName(), reason(err))
	}
	// protojson varies its white space on purpose.
	if err := json.Compact(dst, text); err != nil {
		return fmt.Errorf("print %s as JSON: %w", message.FullName(), err)
	}
	return nil
}

// reason returns the text of a protobuf error without its prefix, whose white space differs from build to build.
func reason(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return strings.TrimPrefix(text, "proto: ")
}
