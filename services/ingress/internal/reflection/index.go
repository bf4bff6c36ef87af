package reflection

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/restate-go/restate/pkg/schema"
)

// index finds files and symbols of one snapshot.
type index struct {
	snapshot *schema.Snapshot
	files    map[string]protoreflect.FileDescriptor
	symbols  map[protoreflect.FullName]protoreflect.Descriptor
}

func newIndex(snapshot *schema.Snapshot, builtins []protoreflect.ServiceDescriptor) *index {
	i := &index{
		snapshot: snapshot,
		files:    make(map[string]protoreflect.FileDescriptor),
		symbols:  make(map[protoreflect.FullName]protoreflect.Descriptor),
	}
	for _, service := range builtins {
		i.addService(builtinPrefix, service)
	}
	for _, service := range snapshot.Services() {
		if service.Public && service.Descriptor != nil {
			i.addService(service.EndpointID, service.Descriptor)
		}
	}
	return i
}

// addService adds the service and the messages of its files, but no other services of them: they may be private, or
// belong to another endpoint by now.
func (i *index) addService(prefix string, service protoreflect.ServiceDescriptor) {
	home := file{service.ParentFile(), prefix}
	i.addFile(home)
	i.symbols[service.FullName()] = symbol{service, home}
	for n := range service.Methods().Len() {
		method := service.Methods().Get(n)
		i.symbols[method.FullName()] = symbol{method, home}
	}
}

func (i *index) addFile(f file) {
	if _, ok := i.files[f.Path()]; ok {
		return
	}
	i.files[f.Path()] = f
	i.addTypes(f, f)
	for n := range f.Imports().Len() {
		imported := f.FileDescriptor.Imports().Get(n)
		if !imported.IsPlaceholder() {
			i.addFile(file{imported.FileDescriptor, f.prefix})
		}
	}
}

// container is what messages and enums are declared in: a file or a message.
type container interface {
	Messages() protoreflect.MessageDescriptors
	Enums() protoreflect.EnumDescriptors
}

func (i *index) addTypes(home file, in container) {
	for n := range in.Messages().Len() {
		message := in.Messages().Get(n)
		i.symbols[message.FullName()] = symbol{message, home}
		i.addTypes(home, message)
	}
	for n := range in.Enums().Len() {
		enum := in.Enums().Get(n)
		i.symbols[enum.FullName()] = symbol{enum, home}
	}
}

// file is a file under the name that clients see.
type file struct {
	protoreflect.FileDescriptor
	prefix string
}

// Path implements protoreflect.FileDescriptor.
func (f file) Path() string { return f.prefix + "/" + f.FileDescriptor.Path() }

// Imports implements protoreflect.FileDescriptor.
func (f file) Imports() protoreflect.FileImports {
	return imports{f.FileDescriptor.Imports(), f.prefix}
}

type imports struct {
	protoreflect.FileImports
	prefix string
}

// Get implements protoreflect.FileImports.
func (i imports) Get(n int) protoreflect.FileImport {
	imported := i.FileImports.Get(n)
	imported.FileDescriptor = file{imported.FileDescriptor, i.prefix}
	return imported
}

// symbol is a declaration in a file under the name that clients see.
type symbol struct {
	protoreflect.Descriptor
	home file
}

// ParentFile implements protoreflect.Descriptor.
func (s symbol) ParentFile() protoreflect.FileDescriptor { return s.home }
