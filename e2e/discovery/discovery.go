// Package discovery makes what endpoints that are no SDK answer to discovery.
package discovery

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/restate-go/restate/proto/gen/dev/restate"
	"github.com/restate-go/restate/proto/gen/dev/restate/service"
)

// Service is a service of an endpoint that is no SDK. Its methods take scripted.Request {string key = 1 [KEY], string value
// = 2} and return scripted.Response {string value = 1}.
type Service struct {
	// Name is the simple name; the package is scripted.
	Name    string
	Kind    restate.ServiceType
	Methods []string
}

// Response is what an endpoint with the services answers to discovery.
func Response(services ...Service) *service.ServiceDiscoveryResponse {
	const text = descriptorpb.FieldDescriptorProto_TYPE_STRING
	field := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Type: text.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	key := field("key", 1)
	key.Options = &descriptorpb.FieldOptions{}
	proto.SetExtension(key.GetOptions(), restate.E_Field, restate.FieldType_KEY)
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("scripted.proto"), Package: proto.String("scripted"), Syntax: proto.String("proto3"),
		Dependency: []string{restate.File_dev_restate_ext_proto.Path()},
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Request"), Field: []*descriptorpb.FieldDescriptorProto{key, field("value", 2)}},
			{Name: proto.String("Response"), Field: []*descriptorpb.FieldDescriptorProto{field("value", 1)}},
		},
	}
	response := &service.ServiceDiscoveryResponse{}
	for _, declared := range services {
		descriptor := &descriptorpb.ServiceDescriptorProto{Name: &declared.Name, Options: &descriptorpb.ServiceOptions{}}
		proto.SetExtension(descriptor.GetOptions(), restate.E_ServiceType, declared.Kind)
		for _, method := range declared.Methods {
			descriptor.Method = append(descriptor.Method, &descriptorpb.MethodDescriptorProto{
				Name: &method, InputType: proto.String(".scripted.Request"), OutputType: proto.String(".scripted.Response"),
			})
		}
		file.Service = append(file.Service, descriptor)
		response.Services = append(response.Services, "scripted."+declared.Name)
	}
	response.Files = &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(restate.File_dev_restate_ext_proto.Imports().Get(0).FileDescriptor),
		protodesc.ToFileDescriptorProto(restate.File_dev_restate_ext_proto),
		file,
	}}
	return response
}
