package process

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Method returns the descriptor of a method, service/method, as meta hands it out.
func (r *Runtime) Method(t testing.TB, method string) protoreflect.MethodDescriptor {
	t.Helper()
	service, name, _ := strings.Cut(method, "/")
	answer := r.MetaGet("/services/" + service + "/descriptors")
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	var set descriptorpb.FileDescriptorSet
	require.NoError(t, proto.Unmarshal([]byte(answer.Body), &set))
	files, err := protodesc.NewFiles(&set)
	require.NoError(t, err)
	found, err := files.FindDescriptorByName(protoreflect.FullName(service))
	require.NoError(t, err)
	declared, ok := found.(protoreflect.ServiceDescriptor)
	require.True(t, ok, service)
	descriptor := declared.Methods().ByName(protoreflect.Name(name))
	require.NotNil(t, descriptor, method)
	return descriptor
}

// request makes a request of the method from JSON.
func request(t testing.TB, method protoreflect.MethodDescriptor, json string) *dynamicpb.Message {
	t.Helper()
	message := dynamicpb.NewMessage(method.Input())
	require.NoError(t, protojson.Unmarshal([]byte(json), message))
	return message
}

// Dial returns a gRPC connection to the address, which is closed when the test ends.
func Dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// CallGRPC calls a method with gRPC and returns the response as JSON. Errors have a gRPC status.
func (r *Runtime) CallGRPC(t testing.TB, method, json string) (string, error) {
	t.Helper()
	descriptor := r.Method(t, method)
	response := dynamicpb.NewMessage(descriptor.Output())
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	if err := Dial(t, r.Ingress).Invoke(ctx, "/"+method, request(t, descriptor, json), response); err != nil {
		return "", err
	}
	return protojson.Format(response), nil
}

// CallConnect calls a method with a Connect client, which by the options speaks any of its protocols, and returns the
// response as JSON. Errors are *connect.Error.
func (r *Runtime) CallConnect(t testing.TB, method, json string, options ...connect.ClientOption) (string, error) {
	t.Helper()
	descriptor := r.Method(t, method)
	options = append(options, connect.WithSchema(descriptor), connect.WithResponseInitializer(func(_ connect.Spec, into any) error {
		if message, ok := into.(*dynamicpb.Message); ok {
			*message = *dynamicpb.NewMessage(descriptor.Output())
		}
		return nil
	}))
	client := connect.NewClient[dynamicpb.Message, dynamicpb.Message](
		http.DefaultClient, "http://"+r.Ingress+"/"+method, options...)
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	response, err := client.CallUnary(ctx, connect.NewRequest(request(t, descriptor, json)))
	if err != nil {
		return "", err
	}
	return protojson.Format(response.Msg), nil
}

// Grpcurl runs grpcurl against the ingress.
func (r *Runtime) Grpcurl(t testing.TB, options []string, arguments ...string) (string, error) {
	t.Helper()
	return Grpcurl(t, r.Ingress, options, arguments...)
}

// Grpcurl runs grpcurl against a server, which it asks by reflection for what it needs to know, and returns what it prints.
func Grpcurl(t testing.TB, address string, options []string, arguments ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	args := append([]string{"-plaintext"}, options...)
	args = append(append(args, address), arguments...)
	cmd := exec.CommandContext(ctx, filepath.Join(Root(t), ".tools", "bin", "grpcurl"), args...) //nolint:gosec // the test says which arguments
	output, err := cmd.CombinedOutput()
	return string(output), err
}
