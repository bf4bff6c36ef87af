package schema

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	restate "github.com/restate-go/restate/proto/gen/dev/restate"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
)

// Discovered is what an endpoint serves. Its services have neither an endpoint nor a revision yet.
type Discovered struct {
	// Services in the order of discovery.
	Services []*Service
}

const (
	// maxFiles bounds how many files an endpoint may send; real ones send some ten.
	maxFiles = 10000
	// maxServiceName bounds the name of a service, in bytes.
	maxServiceName = 512
)

// Load reads the named services from a descriptor set as an SDK sends it. The set is not changed. The error is an
// *errcode.Error: DiscoveryFailed when the set is damaged beyond repair, otherwise the code of the rule that a service
// breaks.
func Load(set *descriptorpb.FileDescriptorSet, names []string) (*Discovered, error) {
	if len(set.GetFile()) > maxFiles {
		return nil, errcode.New(errcode.DiscoveryFailed, "the endpoint sends %d files, more than %d", len(set.GetFile()), maxFiles)
	}
	mended := repair(set)
	if !mended.annotations.extensions {
		return nil, errcode.New(errcode.DiscoveryFailed, "the descriptors lack %s", extensionsFile)
	}
	descriptors, err := newPool(mended)
	if err != nil {
		return nil, errcode.Wrap(errcode.DiscoveryFailed, err)
	}
	discovered := &Discovered{}
	loaded, seen := map[string]bool{}, map[protoreflect.FullName]bool{}
	keys := newKeyStructures()
	for _, name := range names {
		if loaded[name] {
			continue
		}
		loaded[name] = true
		if len(name) > maxServiceName {
			return nil, errcode.New(errcode.BadService, "the name of the service %.64s... has more than %d bytes", name, maxServiceName)
		}
		if Reserved(name) {
			return nil, errcode.New(errcode.BadService, "the name of the service %s is reserved for the runtime", name)
		}
		descriptor, ok := descriptors.services[name]
		if !ok {
			return nil, errcode.New(errcode.DiscoveryFailed, "the service %s is not declared in the descriptors", name)
		}
		for i := range descriptor.Methods().Len() {
			method := descriptor.Methods().Get(i)
			if err := errors.Join(complete(method.Input(), seen), complete(method.Output(), seen)); err != nil {
				return nil, errcode.Wrap(errcode.DiscoveryFailed, err)
			}
		}
		service, err := newService(name, descriptor, mended, keys)
		if err != nil {
			return nil, err
		}
		discovered.Services = append(discovered.Services, service)
	}
	return discovered, nil
}

// Reserved says whether the name belongs to the runtime's own services.
func Reserved(name string) bool {
	return strings.HasPrefix(name, "dev.restate.") || strings.HasPrefix(name, "grpc.")
}

func newService(name string, descriptor protoreflect.ServiceDescriptor, r *repaired, keys *keyStructures) (*Service, error) {
	kind, ok := r.annotations.kinds[name]
	if !ok {
		return nil, errcode.New(errcode.BadService, "the service %s has no service type", name)
	}
	service := &Service{Name: name, Kind: kind, Public: true, Descriptor: descriptor}
	keyed := kind == journalv1.ServiceKind_SERVICE_KIND_KEYED
	if keyed && descriptor.Methods().Len() == 0 {
		return nil, errcode.New(errcode.BadService, "the keyed service %s has no methods", name)
	}
	for i := range descriptor.Methods().Len() {
		declared := descriptor.Methods().Get(i)
		method := &Method{Name: string(declared.Name()), Input: declared.Input(), Output: declared.Output()}
		if given, ok := r.methods[name][declared.Name()]; ok {
			method.Name = given
		}
		if err := checkInput(declared.Input(), r.annotations); err != nil {
			return nil, err
		}
		if keyed {
			if err := method.setKey(service, r.annotations, keys); err != nil {
				return nil, err
			}
		}
		service.Methods = append(service.Methods, method)
	}
	return service, nil
}

// checkInput applies the rules for annotations that hold whatever the kind of the service.
func checkInput(input protoreflect.MessageDescriptor, a annotations) error {
	of := a.fields[input.FullName()]
	for _, role := range []restate.FieldType{restate.FieldType_KEY, restate.FieldType_EVENT_PAYLOAD, restate.FieldType_EVENT_METADATA} {
		if len(of[role]) == 0 {
			continue
		}
		if len(of[role]) > 1 {
			return errcode.New(errcode.RepeatedAnnotation, "%s has %d fields annotated with %s", input.FullName(), len(of[role]), role)
		}
		field := input.Fields().ByNumber(of[role][0])
		if field == nil {
			continue
		}
		switch role {
		case restate.FieldType_EVENT_PAYLOAD:
			if field.IsList() || field.Kind() != protoreflect.StringKind && field.Kind() != protoreflect.BytesKind {
				return errcode.New(errcode.BadEventField, "%s cannot hold an event's payload", field.FullName())
			}
		case restate.FieldType_EVENT_METADATA:
			if !field.IsMap() || field.MapKey().Kind() != protoreflect.StringKind ||
				field.MapValue().Kind() != protoreflect.StringKind {
				return errcode.New(errcode.BadEventField, "%s cannot hold an event's metadata", field.FullName())
			}
		case restate.FieldType_KEY: // checked where there has to be one
		}
	}
	return nil
}

// setKey finds the key field of a method, which has to be alike in all methods of the service.
func (m *Method) setKey(service *Service, a annotations, keys *keyStructures) error {
	numbers := a.fields[m.Input.FullName()][restate.FieldType_KEY]
	if len(numbers) == 0 {
		return errcode.New(errcode.BadKey, "the input %s of %s/%s has no key field", m.Input.FullName(), service.Name, m.Name)
	}
	field := m.Input.Fields().ByNumber(numbers[0])
	switch {
	case field == nil:
		return errcode.New(errcode.BadKey, "%s has no field %d", m.Input.FullName(), numbers[0])
	case field.IsList() || field.IsMap():
		return errcode.New(errcode.BadKey, "the key field %s is repeated", field.FullName())
	}
	structure, err := keys.of(field)
	if err != nil {
		return errcode.Wrap(errcode.BadKey, fmt.Errorf("%s/%s: %w", service.Name, m.Name, err))
	}
	m.KeyField, m.structure, m.keyKind = field.Number(), structure, field.Kind().String()
	if field.Message() != nil {
		m.keyKind = string(field.Message().FullName())
	}
	if len(service.Methods) > 0 && service.Methods[0].keyKind != m.keyKind {
		return errcode.New(errcode.BadKey, "the key of %s/%s is a %s, that of %s/%s a %s",
			service.Name, m.Name, m.keyKind, service.Name, service.Methods[0].Name, service.Methods[0].keyKind)
	}
	return nil
}

// CheckCompatible says whether a service may become the next revision of the other: its kind and the keys of the
// methods that both have must be the same, and a handler of bytes must stay. The error is an *errcode.Error.
func CheckCompatible(before, after *Service) error {
	switch {
	case before.Kind != after.Kind:
		return errcode.New(errcode.Incompatible, "the service %s was %s and would become %s",
			before.Name, KindName(before.Kind), KindName(after.Kind))
	case (before.Descriptor == nil) != (after.Descriptor == nil):
		return errcode.New(errcode.Incompatible, "the service %s has protobuf messages in one revision, and none in the other", before.Name)
	}
	methods := make(map[string]*Method, len(after.Methods))
	for _, method := range after.Methods {
		methods[method.Name] = method
	}
	for _, old := range before.Methods {
		method := methods[old.Name]
		if method == nil && old.Bytes != nil {
			return errcode.New(errcode.Incompatible, "the handler %s/%s would be gone", before.Name, old.Name)
		}
		if method == nil || old.KeyField == 0 {
			continue
		}
		if old.KeyField != method.KeyField || !old.structure.equal(method.structure) {
			return errcode.New(errcode.Incompatible, "the key of %s/%s would change", before.Name, old.Name)
		}
	}
	return nil
}

// KindName is how a service kind is shown.
func KindName(kind journalv1.ServiceKind) string {
	switch kind {
	case journalv1.ServiceKind_SERVICE_KIND_KEYED:
		return "Keyed"
	case journalv1.ServiceKind_SERVICE_KIND_SINGLETON:
		return "Singleton"
	case journalv1.ServiceKind_SERVICE_KIND_UNKEYED:
		return "Unkeyed"
	case journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
		return "Workflow"
	case journalv1.ServiceKind_SERVICE_KIND_UNSPECIFIED:
	}
	return "Unknown"
}

// DescriptorsOf returns the files that declare the service and everything it needs, each after what it depends on.
func DescriptorsOf(service *Service) []*descriptorpb.FileDescriptorProto {
	var files []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		if !file.IsPlaceholder() {
			files = append(files, protodesc.ToFileDescriptorProto(file))
		}
	}
	add(service.Descriptor.ParentFile())
	return files
}
