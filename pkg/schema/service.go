package schema

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

// ProtocolMode is how the runtime and an endpoint exchange messages.
type ProtocolMode string

// The protocol modes, as they are shown.
const (
	// ModeBidiStream lets both sides send at any time during an attempt.
	ModeBidiStream ProtocolMode = "BidiStream"
	// ModeRequestResponse has the endpoint answer once it has the whole request.
	ModeRequestResponse ProtocolMode = "RequestResponse"
)

// Endpoint is a process, or a group of them, that serves handlers. It does not change once it is registered.
type Endpoint struct {
	ID string `json:"id"`
	// URI is where it is served; of a function on AWS Lambda, its ARN.
	URI string `json:"uri"`
	// ProtocolMode is what discovery announced.
	ProtocolMode ProtocolMode `json:"protocol_mode"`
	// AdditionalHeaders go with every request to the endpoint.
	AdditionalHeaders map[string]string `json:"additional_headers,omitempty"`
	// Services in the order of discovery.
	Services []ServiceRef `json:"services"`
	// MinProtocolVersion and MaxProtocolVersion are the service protocols that it speaks; both 0 is that of 2023.
	MinProtocolVersion uint32 `json:"min_protocol_version,omitempty"`
	MaxProtocolVersion uint32 `json:"max_protocol_version,omitempty"`
	// HTTP1 has it called over HTTP/1.1.
	HTTP1 bool `json:"http1,omitempty"`
	// AssumeRole is the ARN of the role that a function is invoked as; empty for that of the runtime.
	AssumeRole string `json:"assume_role_arn,omitempty"`
	// Compression is what a function said that it can decompress; empty for nothing.
	Compression string `json:"compression,omitempty"`
	// SDK is what the endpoint calls itself.
	SDK string `json:"sdk,omitempty"`
	// CreatedAt is when it was registered, in milliseconds since the epoch.
	CreatedAt uint64 `json:"created_at,omitempty"`
	// Metadata is the operator's.
	Metadata map[string]string `json:"metadata,omitempty"`
	// DescriptorsHash names the stored descriptors, or manifest, of the services.
	DescriptorsHash string `json:"descriptors_hash"`
}

// HasManifest says whether the endpoint was discovered by a manifest, as today's SDKs send it.
func (e *Endpoint) HasManifest() bool { return e.MaxProtocolVersion != 0 }

// IsFunction says whether the endpoint is a function on AWS Lambda.
func (e *Endpoint) IsFunction() bool { return strings.HasPrefix(e.URI, "arn:") }

// ServiceRef is a revision of a service that an endpoint serves.
type ServiceRef struct {
	Name     string `json:"name"`
	Revision uint32 `json:"revision"`
}

// Service is the latest revision of a service.
type Service struct {
	Name       string
	Kind       journalv1.ServiceKind
	EndpointID string
	Revision   uint32
	// Mode is that of its endpoint.
	Mode ProtocolMode
	// Public says whether requests from outside may call it.
	Public bool
	// Methods in the order of declaration.
	Methods []*Method
	// Descriptor declares the service; nil for one that a manifest describes.
	Descriptor protoreflect.ServiceDescriptor
	// Documentation and Metadata are the author's.
	Documentation string
	Metadata      map[string]string
	// Options of methods that have none of their own.
	Options Options
}

// Method is a handler of a service.
type Method struct {
	Name string
	// Input and Output are nil for a handler of bytes.
	Input  protoreflect.MessageDescriptor
	Output protoreflect.MessageDescriptor
	// Bytes says what a handler of bytes takes and gives; nil for one with messages.
	Bytes *ByteHandler
	// Shared says that it runs beside whoever holds the service instance.
	Shared bool
	// Private says that requests from outside may not call it, even if the service is public.
	Private       bool
	Documentation string
	Metadata      map[string]string
	Options       Options
	// KeyField is the field of the input that holds the key; 0 unless the service is keyed.
	KeyField protoreflect.FieldNumber

	structure *keyStructure
	keyKind   string
}

// Method returns the method with the name.
func (s *Service) Method(name string) (*Method, bool) {
	for _, m := range s.Methods {
		if m.Name == name {
			return m, true
		}
	}
	return nil, false
}

// Key returns the service key in a serialized request: empty unless the service is keyed. The error wraps ErrKey.
func (m *Method) Key(request []byte) ([]byte, error) {
	if m.KeyField == 0 {
		return nil, nil
	}
	return extractKey(request, m.KeyField, m.structure)
}
