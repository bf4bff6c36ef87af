package schema

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	restate "github.com/restate-go/restate/proto/gen/dev/restate"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

// annotations are what the descriptors of an endpoint say beyond plain protobuf.
type annotations struct {
	// kinds of the services, by the full name that the endpoint gave.
	kinds map[string]journalv1.ServiceKind
	// fields by message, then by what the annotation says.
	fields map[protoreflect.FullName]map[restate.FieldType][]protoreflect.FieldNumber
	// extensions says whether dev/restate/ext.proto is in the set.
	extensions bool
}

func newAnnotations() annotations {
	return annotations{
		kinds:  map[string]journalv1.ServiceKind{},
		fields: map[protoreflect.FullName]map[restate.FieldType][]protoreflect.FieldNumber{},
	}
}

func qualified(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "." + name
}

// collect reads the annotations of a file, and brings them into their proper form.
func (a *annotations) collect(file *descriptorpb.FileDescriptorProto) {
	if file.GetName() == extensionsFile {
		a.extensions = true
	}
	for _, service := range file.GetService() {
		interpret(service.GetOptions(), serviceTypeOption)
		value, ok := annotation(service.GetOptions())
		if kind, known := kinds[restate.ServiceType(value)]; ok && known {
			a.kinds[qualified(file.GetPackage(), service.GetName())] = kind
		}
	}
	for _, message := range file.GetMessageType() {
		a.collectMessage(file.GetPackage(), message)
	}
}

func (a *annotations) collectMessage(scope string, message *descriptorpb.DescriptorProto) {
	name := qualified(scope, message.GetName())
	for _, field := range message.GetField() {
		interpret(field.GetOptions(), fieldOption)
		value, ok := annotation(field.GetOptions())
		if !ok {
			continue
		}
		of := a.fields[protoreflect.FullName(name)]
		if of == nil {
			of = map[restate.FieldType][]protoreflect.FieldNumber{}
			a.fields[protoreflect.FullName(name)] = of
		}
		role := restate.FieldType(value)
		of[role] = append(of[role], protoreflect.FieldNumber(field.GetNumber()))
	}
	for _, inner := range message.GetNestedType() {
		a.collectMessage(name, inner)
	}
}

var kinds = map[restate.ServiceType]journalv1.ServiceKind{
	restate.ServiceType_UNKEYED:   journalv1.ServiceKind_SERVICE_KIND_UNKEYED,
	restate.ServiceType_KEYED:     journalv1.ServiceKind_SERVICE_KIND_KEYED,
	restate.ServiceType_SINGLETON: journalv1.ServiceKind_SERVICE_KIND_SINGLETON,
}

const (
	// annotationNumber is the extension number of both annotations in dev/restate/ext.proto.
	annotationNumber = 51234

	serviceTypeOption = "dev.restate.ext.service_type"
	fieldOption       = "dev.restate.ext.field"
)

// options are ServiceOptions or FieldOptions.
type options interface {
	proto.Message
	GetUninterpretedOption() []*descriptorpb.UninterpretedOption
}

// interpret gives an annotation its proper form, where it has the one that the descriptor library of the SDKs leaves
// it in: the text of the source.
func interpret(in options, name string) {
	for _, option := range in.GetUninterpretedOption() {
		if len(option.GetName()) != 1 || option.GetName()[0].GetNamePart() != name {
			continue
		}
		text := option.GetIdentifierValue()
		if name == serviceTypeOption {
			if value, ok := restate.ServiceType_value[text]; ok {
				proto.SetExtension(in, restate.E_ServiceType, restate.ServiceType(value))
			}
		} else if value, ok := restate.FieldType_value[text]; ok {
			proto.SetExtension(in, restate.E_Field, restate.FieldType(value))
		}
	}
}

// annotation returns the value of an annotation in its proper form. It is looked for among the unknown fields too:
// whether the decoder knew the extension depends on what else is linked into the binary.
func annotation(in options) (value int32, ok bool) {
	reflected := in.ProtoReflect()
	if !reflected.IsValid() {
		return 0, false
	}
	reflected.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if field.IsExtension() && field.Number() == annotationNumber && field.Kind() == protoreflect.EnumKind && !field.IsList() {
			value, ok = int32(v.Enum()), true
		}
		return !ok
	})
	if ok {
		return value, true
	}
	for unknown := reflected.GetUnknown(); len(unknown) > 0; {
		number, kind, n := protowire.ConsumeTag(unknown)
		if n < 0 {
			return 0, false
		}
		if number == annotationNumber && kind == protowire.VarintType {
			v, length := protowire.ConsumeVarint(unknown[n:])
			return int32(v), length > 0 //nolint:gosec // an enum has 32 bits on the wire; unknown values are none of ours
		}
		length := protowire.ConsumeFieldValue(number, kind, unknown[n:])
		if length < 0 {
			return 0, false
		}
		unknown = unknown[n+length:]
	}
	return 0, false
}
