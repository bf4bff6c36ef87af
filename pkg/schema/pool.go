package schema

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	// The well-known types that replace the damaged copies SDKs send.
	_ "google.golang.org/protobuf/types/known/anypb"
	_ "google.golang.org/protobuf/types/known/apipb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/sourcecontextpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/typepb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// wellKnown returns the runtime's own copy of a google/protobuf file; nil when it has none.
func wellKnown(path string) protoreflect.FileDescriptor {
	if !strings.HasPrefix(path, wellKnownPrefix) {
		return nil
	}
	file, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return nil
	}
	return file
}

// pool holds the descriptors of one endpoint. Each has its own: endpoints declare the same names differently.
type pool struct {
	files    *protoregistry.Files
	services map[string]protoreflect.ServiceDescriptor // by the name that the endpoint gave
}

// newPool loads a repaired set.
func newPool(r *repaired) (*pool, error) {
	p := &pool{files: &protoregistry.Files{}, services: map[string]protoreflect.ServiceDescriptor{}}
	pending := map[string]*descriptorpb.FileDescriptorProto{}
	for _, file := range r.files {
		pending[file.GetName()] = file
	}
	for _, file := range r.files {
		if err := p.add(file, pending); err != nil {
			return nil, err
		}
	}
	for _, router := range r.routers {
		file, err := p.build(router.file)
		if err != nil {
			return nil, err
		}
		if p.services[router.name] != nil {
			return nil, fmt.Errorf("the service %s is declared twice", router.name)
		}
		p.services[router.name] = file.Services().Get(0)
	}
	return p, nil
}

// add loads a file after the files that it depends on. Files come in any order.
func (p *pool) add(file *descriptorpb.FileDescriptorProto, pending map[string]*descriptorpb.FileDescriptorProto) error {
	if pending[file.GetName()] == nil {
		return nil
	}
	// Files that depend on each other find each other missing, and are refused for that where it matters.
	delete(pending, file.GetName())
	for _, path := range file.GetDependency() {
		if dependency := pending[path]; dependency != nil {
			if err := p.add(dependency, pending); err != nil {
				return err
			}
		}
	}
	loaded, err := p.build(file)
	if err != nil {
		return err
	}
	if err := p.files.RegisterFile(loaded); err != nil {
		return fmt.Errorf("the descriptors do not fit together: %w", err)
	}
	for i := range loaded.Services().Len() {
		service := loaded.Services().Get(i)
		p.services[string(service.FullName())] = service
	}
	return nil
}

// build loads a file. What it refers to may be missing, as it does no harm where it is not used: see complete.
func (p *pool) build(file *descriptorpb.FileDescriptorProto) (protoreflect.FileDescriptor, error) {
	loaded, err := protodesc.FileOptions{AllowUnresolvable: true}.New(file, p)
	if err != nil {
		return nil, fmt.Errorf("the descriptors do not fit together: %w", err)
	}
	return loaded, nil
}

// FindFileByPath implements protodesc.Resolver.
func (p *pool) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if file := wellKnown(path); file != nil {
		return file, nil
	}
	return p.files.FindFileByPath(path)
}

// FindDescriptorByName implements protodesc.Resolver.
func (p *pool) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	descriptor, err := p.files.FindDescriptorByName(name)
	if !errors.Is(err, protoregistry.NotFound) {
		return descriptor, err
	}
	descriptor, err = protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil || wellKnown(descriptor.ParentFile().Path()) == nil {
		return nil, protoregistry.NotFound
	}
	return descriptor, nil
}

// complete returns an error when something is missing of a message: a type that is declared nowhere.
func complete(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) error {
	waiting := []protoreflect.MessageDescriptor{message}
	for len(waiting) > 0 {
		last := len(waiting) - 1
		message, waiting = waiting[last], waiting[:last]
		if message.IsPlaceholder() {
			return fmt.Errorf("the descriptors lack the message %s", message.FullName())
		}
		if seen[message.FullName()] {
			continue
		}
		seen[message.FullName()] = true
		for i := range message.Fields().Len() {
			field := message.Fields().Get(i)
			if enum := field.Enum(); enum != nil && enum.IsPlaceholder() {
				return fmt.Errorf("the descriptors lack the type %s of the field %s", enum.FullName(), field.FullName())
			}
			if inner := field.Message(); inner != nil {
				waiting = append(waiting, inner)
			}
		}
	}
	return nil
}
