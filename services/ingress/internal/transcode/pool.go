package transcode

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Pool finds the messages of a file and of all that it imports. Each endpoint has messages of its own under what may be
// the same names, so a name means nothing outside the files of its service.
type Pool struct {
	File protoreflect.FileDescriptor
}

// FindMessageByURL implements protoregistry.MessageTypeResolver.
func (p Pool) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return p.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

// FindMessageByName implements protoregistry.MessageTypeResolver.
func (p Pool) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if message := find(p.File, name, make(map[string]bool)); message != nil {
		return dynamicpb.NewMessageType(message), nil
	}
	return nil, protoregistry.NotFound
}

// FindExtensionByName implements protoregistry.ExtensionTypeResolver.
func (Pool) FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

// FindExtensionByNumber implements protoregistry.ExtensionTypeResolver.
func (Pool) FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

// find looks through the file and its imports. Such look-ups are rare, and the files few.
func find(file protoreflect.FileDescriptor, name protoreflect.FullName, seen map[string]bool) protoreflect.MessageDescriptor {
	if seen[file.Path()] {
		return nil
	}
	seen[file.Path()] = true
	rest := string(name)
	if file.Package() != "" {
		rest = strings.TrimPrefix(rest, string(file.Package())+".")
	}
	if message := descend(file.Messages(), rest); message != nil && message.FullName() == name {
		return message
	}
	for i := range file.Imports().Len() {
		if message := find(file.Imports().Get(i).FileDescriptor, name, seen); message != nil {
			return message
		}
	}
	return nil
}

func descend(messages protoreflect.MessageDescriptors, path string) protoreflect.MessageDescriptor {
	first, rest, nested := strings.Cut(path, ".")
	message := messages.ByName(protoreflect.Name(first))
	if message == nil || !nested {
		return message
	}
	return descend(message.Messages(), rest)
}
