package manifests

import (
	"errors"
	"fmt"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	// The types that the configuration names in typed_config.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// DecodeEnvoy reads a configuration of Envoy into its own types. Fields that these do not know, and values outside of
// their rules, are errors, also within what typed_config holds.
func DecodeEnvoy(text []byte) (*bootstrapv3.Bootstrap, error) {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	bootstrap := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(asJSON, bootstrap); err != nil {
		return nil, err
	}
	return bootstrap, validate(bootstrap)
}

// validate checks the message by its rules, and whatever messages it wraps by theirs.
func validate(message proto.Message) error {
	var failures []error
	if checked, ok := message.(interface{ ValidateAll() error }); ok {
		if err := checked.ValidateAll(); err != nil {
			failures = append(failures, fmt.Errorf("%T: %w", message, err))
		}
	}
	failures = append(failures, validateWrapped(message.ProtoReflect()))
	return errors.Join(failures...)
}

// validateWrapped looks for wrapped messages in the fields of the message, and in those of the messages below it.
func validateWrapped(message protoreflect.Message) error {
	if wrapped, ok := message.Interface().(*anypb.Any); ok {
		inner, err := wrapped.UnmarshalNew()
		if err != nil {
			return err
		}
		return validate(inner)
	}
	var failures []error
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			if field.MapValue().Message() == nil {
				return true
			}
			value.Map().Range(func(_ protoreflect.MapKey, value protoreflect.Value) bool {
				failures = append(failures, validateWrapped(value.Message()))
				return true
			})
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				failures = append(failures, validateWrapped(value.List().Get(i).Message()))
			}
		default:
			failures = append(failures, validateWrapped(value.Message()))
		}
		return true
	})
	return errors.Join(failures...)
}
