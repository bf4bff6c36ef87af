package ingress_test

import (
	"testing"

	"github.com/jhump/protoreflect/desc" //nolint:staticcheck // the client that grpcurl uses
	"github.com/jhump/protoreflect/grpcreflect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

func TestReflection(t *testing.T) {
	r := startWithHandlers(t) // those are not to be seen
	r.setPublic(t, "seedera.Composite", false)
	conn := dial(t, r)
	for version, client := range map[string]*grpcreflect.Client{
		"v1":      grpcreflect.NewClientV1(t.Context(), reflectionv1.NewServerReflectionClient(conn)),
		"v1alpha": grpcreflect.NewClientV1Alpha(t.Context(), reflectionv1alpha.NewServerReflectionClient(conn)),
	} {
		t.Run(version, func(t *testing.T) {
			defer client.Reset()
			// First of all: the client remembers what is declared beside what it asked for.
			for _, hidden := range []string{"seedera.Composite", "seedera.Nobody"} {
				_, err := client.FileContainingSymbol(hidden)
				require.True(t, grpcreflect.IsElementNotFoundError(err), hidden)
			}
			names, err := client.ListServices()
			require.NoError(t, err)
			require.Equal(t, []string{
				"dev.restate.Awakeables", "dev.restate.Ingress", "dev.restate.internal.RemoteContext", "grpc.health.v1.Health",
				"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
				"keyedSvc", "plainSvc", "seedera.Counter", "seedera.Events", "seedera.Greeter", "seedera.Single",
			}, names)
			for _, name := range names {
				service, err := client.ResolveService(name)
				require.NoError(t, err, name)
				require.NotEmpty(t, service.GetMethods(), name)
			}
			greeter, err := client.ResolveService("seedera.Greeter")
			require.NoError(t, err)
			require.Equal(t, "seedera.GreetRequest", greeter.FindMethodByName("Greet").GetInputType().GetFullyQualifiedName())
			message, err := client.ResolveMessage("seedera.GreetRequest")
			require.NoError(t, err)
			require.NotNil(t, message.FindFieldByName("tags"))
			_, err = client.ResolveEnum("seedera.Mood")
			require.NoError(t, err)
			_, err = client.ResolveMessage("google.protobuf.Value")
			require.NoError(t, err)
			numbers, err := client.AllExtensionNumbersForType("seedera.GreetRequest")
			require.NoError(t, err)
			require.Empty(t, numbers)
		})
	}
}

// Two endpoints may have different files of one name.
func TestReflectionNamesFilesByEndpoint(t *testing.T) {
	r := startWithServices(t)
	typed := "dHlwZWQ6OTA4MC8"
	lambda := r.register(t, "http://lambda/prefix", routerServices)
	client := grpcreflect.NewClientV1(t.Context(), reflectionv1.NewServerReflectionClient(dial(t, r)))
	defer client.Reset()
	home := func(symbol string) *desc.FileDescriptor {
		file, err := client.FileContainingSymbol(symbol)
		require.NoError(t, err)
		return file
	}
	require.Equal(t, typed+"/proto/dynrpc.proto", home("plainSvc").GetName())
	svc := home("my.pkg.Svc")
	require.Contains(t, svc.GetName(), lambda+"/")
	for _, dependency := range svc.GetDependencies() {
		require.Contains(t, dependency.GetName(), lambda+"/")
		byName, err := client.FileByFilename(dependency.GetName())
		require.NoError(t, err)
		require.Equal(t, dependency.GetName(), byName.GetName())
	}
	require.Contains(t, home("dev.restate.Ingress").GetName(), "self_ingress/")
	_, err := client.FileByFilename("proto/dynrpc.proto")
	require.Error(t, err)
}

func TestReflectionRefusesAnEmptyRequest(t *testing.T) {
	r := startWithServices(t)
	stream, err := reflectionv1.NewServerReflectionClient(dial(t, r)).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&reflectionv1.ServerReflectionRequest{}))
	_, err = stream.Recv()
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

// A service is described and callable as soon as the registration returns, and gone when it is removed.
func TestReflectionFollowsTheRegistry(t *testing.T) {
	r := startIngress(t, newCluster(t))
	client := grpcreflect.NewClientV1(t.Context(), reflectionv1.NewServerReflectionClient(dial(t, r)))
	defer client.Reset()
	_, err := client.FileContainingSymbol("seedera.Greeter")
	require.True(t, grpcreflect.IsElementNotFoundError(err))
	r.register(t, "http://typed:9080/", typedServices)
	_, err = client.FileContainingSymbol("seedera.Greeter")
	require.NoError(t, err)
}
