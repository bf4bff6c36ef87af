package schema

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

const (
	wellKnownPrefix = "google/protobuf/"
	extensionsFile  = "dev/restate/ext.proto"
)

// repaired is a discovered descriptor set in a form that a strict loader takes.
type repaired struct {
	// files that declare messages, and services with proper names.
	files []*descriptorpb.FileDescriptorProto
	// routers are files with one service each, which may have names that protobuf does not allow.
	routers []router
	// methods holds the names that the endpoint gave, by service and the names they got.
	methods     map[string]map[protoreflect.Name]string
	annotations annotations
}

// router is a service whose name has dots, is otherwise no name of a service in protobuf, or is the package of such a
// one: "a" and "a.b" may both be routers. It is declared in a file of its own that nothing else refers to, so that names
// of services and packages do not collide.
type router struct {
	name string // as the endpoint gave it
	file *descriptorpb.FileDescriptorProto
}

// repair mends what SDKs leave out of the descriptors they send: SDK 0.4.1 drops proto2 fields that have the default.
func repair(set *descriptorpb.FileDescriptorSet) *repaired {
	r := &repaired{methods: map[string]map[protoreflect.Name]string{}, annotations: newAnnotations()}
	known := map[string]bool{}
	for _, file := range set.GetFile() {
		if known[file.GetName()] || wellKnown(file.GetName()) != nil {
			continue
		}
		known[file.GetName()] = true
		mended := proto.CloneOf(file)
		mended.SourceCodeInfo = nil
		r.annotations.collect(mended)
		clean(mended.GetOptions())
		for _, message := range mended.GetMessageType() {
			repairMessage(message)
		}
		for _, enum := range mended.GetEnumType() {
			repairEnum(enum)
		}
		for _, extension := range mended.GetExtension() {
			repairField(extension)
		}
		for _, service := range mended.GetService() {
			r.repairService(mended, service)
		}
		r.separateRouters(mended)
		r.files = append(r.files, mended)
	}
	return r
}

// clean removes the options that are still the text of the source.
func clean(in options) {
	if reflected := in.ProtoReflect(); reflected.IsValid() {
		reflected.Clear(reflected.Descriptor().Fields().ByName("uninterpreted_option"))
	}
}

func repairMessage(message *descriptorpb.DescriptorProto) {
	clean(message.GetOptions())
	for _, field := range message.GetField() {
		repairField(field)
	}
	repairOneofs(message)
	for _, oneof := range message.GetOneofDecl() {
		clean(oneof.GetOptions())
	}
	for _, extension := range message.GetExtension() {
		repairField(extension)
	}
	for _, inner := range message.GetNestedType() {
		repairMessage(inner)
	}
	for _, enum := range message.GetEnumType() {
		repairEnum(enum)
	}
}

func repairField(field *descriptorpb.FieldDescriptorProto) {
	clean(field.GetOptions())
	if field.Label == nil {
		field.Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
	}
	if field.Type == nil && field.GetTypeName() == "" {
		field.Type = descriptorpb.FieldDescriptorProto_TYPE_DOUBLE.Enum()
	}
	// An extension is in no oneof, optional or not.
	if field.GetProto3Optional() && field.OneofIndex == nil && field.GetExtendee() == "" {
		field.OneofIndex = proto.Int32(0)
	}
}

// repairOneofs drops a first oneof whose members have lost their membership, which cannot be recovered.
func repairOneofs(message *descriptorpb.DescriptorProto) {
	if len(message.GetOneofDecl()) == 0 {
		return
	}
	for _, field := range message.GetField() {
		if field.OneofIndex != nil && field.GetOneofIndex() == 0 {
			return
		}
	}
	message.OneofDecl = message.OneofDecl[1:]
	for _, field := range message.GetField() {
		if field.OneofIndex != nil {
			field.OneofIndex = proto.Int32(field.GetOneofIndex() - 1)
		}
	}
}

func repairEnum(enum *descriptorpb.EnumDescriptorProto) {
	clean(enum.GetOptions())
	for _, value := range enum.GetValue() {
		clean(value.GetOptions())
		if value.Number == nil {
			value.Number = proto.Int32(0)
		}
	}
}

// repairService gives methods whose names protobuf does not allow others.
func (r *repaired) repairService(file *descriptorpb.FileDescriptorProto, service *descriptorpb.ServiceDescriptorProto) {
	clean(service.GetOptions())
	taken := map[string]bool{}
	for _, method := range service.GetMethod() {
		clean(method.GetOptions())
		taken[method.GetName()] = true
	}
	given := map[protoreflect.Name]string{}
	for i, method := range service.GetMethod() {
		if protoreflect.Name(method.GetName()).IsValid() {
			continue
		}
		possible := identifier(method.GetName())
		if taken[possible] {
			possible += "_" + strconv.Itoa(i)
		}
		for taken[possible] {
			possible += "_"
		}
		taken[possible] = true
		given[protoreflect.Name(possible)] = method.GetName()
		method.Name = proto.String(possible)
	}
	if len(given) > 0 {
		r.methods[qualified(file.GetPackage(), service.GetName())] = given
	}
}

// separateRouters moves the routers of a file into files of their own.
func (r *repaired) separateRouters(file *descriptorpb.FileDescriptorProto) {
	packages := map[string]bool{}
	for _, service := range file.GetService() {
		if len(service.GetName()) > maxServiceName {
			continue
		}
		for i, c := range service.GetName() {
			if c == '.' {
				packages[service.GetName()[:i]] = true
			}
		}
	}
	var kept []*descriptorpb.ServiceDescriptorProto
	for _, service := range file.GetService() {
		if protoreflect.Name(service.GetName()).IsValid() && !packages[service.GetName()] {
			kept = append(kept, service)
			continue
		}
		name := qualified(file.GetPackage(), service.GetName())
		parts := strings.Split(name, ".")
		for i, part := range parts {
			parts[i] = identifier(part)
		}
		last := len(parts) - 1
		service.Name = proto.String(parts[last])
		separate := &descriptorpb.FileDescriptorProto{
			Name:       proto.String(name + ".proto"),
			Dependency: append([]string{file.GetName()}, file.GetDependency()...),
			Service:    []*descriptorpb.ServiceDescriptorProto{service},
			Syntax:     file.Syntax,
			Edition:    file.Edition,
		}
		if last > 0 {
			separate.Package = proto.String(strings.Join(parts[:last], "."))
		}
		r.routers = append(r.routers, router{name: name, file: separate})
	}
	file.Service = kept
}

// identifier turns a name into one that protobuf allows; one that it allows stays as it is.
func identifier(name string) string {
	mapped := strings.Map(func(c rune) rune {
		if c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return '_'
	}, name)
	if mapped == "" || mapped[0] >= '0' && mapped[0] <= '9' {
		return "_" + mapped
	}
	return mapped
}
