package schema

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
)

// Whatever an endpoint answers to discovery is refused, or gives services that every part of the runtime can use.
func FuzzLoad(f *testing.F) {
	for _, response := range captured(f) {
		body, err := proto.Marshal(response)
		require.NoError(f, err)
		f.Add(body)
	}
	for _, text := range []string{
		keyedFile(`message_type { name: "A" `+key("k", 1, "type: TYPE_STRING")+` }`, "A"),
		keyedFile(deep(3)+`message_type { name: "A" `+key("k", 1, `type: TYPE_MESSAGE type_name: ".test.D0"`)+`}`, "A"),
		`file { name: "e" package: "test" syntax: "editions" edition: EDITION_2023 ` +
			`message_type { name: "A" field { name: "f" number: 1 type: TYPE_STRING } } service { name: "S" ` + keyedText + ` } }`,
	} {
		body, err := proto.Marshal(&protocol.ServiceDiscoveryResponse{Files: set(f, text), Services: []string{"test.S"}})
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		response, err := ParseDiscovery(body)
		if err != nil {
			return
		}
		before := proto.CloneOf(response)
		discovered, err := Load(response.GetFiles(), response.GetServices())
		require.True(t, proto.Equal(before, response), "the set was changed")
		stored, encoding := encode(response.GetFiles(), response.GetServices())
		if err != nil {
			return
		}
		require.NoError(t, encoding)
		again, err := decode(stored)
		require.NoError(t, err, "what was accepted cannot be read back")
		require.Equal(t, describe(discovered.Services), describe(again.Services))
		for _, service := range discovered.Services {
			_, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(&descriptorpb.FileDescriptorSet{File: DescriptorsOf(service)})
			require.NoError(t, err, "clients cannot load the descriptors")
			for _, method := range service.Methods {
				_, err := service.Resolve(Call{Method: method.Name, Payload: body})
				if err != nil {
					require.ErrorIs(t, err, ErrKey)
				}
				require.NotNil(t, dynamicpb.NewMessage(method.Input))
				require.NotNil(t, dynamicpb.NewMessage(method.Output))
			}
		}
	})
}
