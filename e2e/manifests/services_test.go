package manifests_test

import (
	"strconv"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	dfpclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/restate-go/restate/e2e/manifests"
)

func TestServices(t *testing.T) {
	for folder, want := range map[string]struct {
		clusterIP string
		replicas  int32
	}{
		"k8s/services/local":    {"", 1},
		"k8s/services/headless": {corev1.ClusterIPNone, 3},
	} {
		objects := render(t, folder)
		requireConnected(t, objects)
		service := get[*corev1.Service](t, objects, "greeter")
		require.Equal(t, corev1.ServiceTypeClusterIP, service.Spec.Type)
		require.Equal(t, want.clusterIP, service.Spec.ClusterIP)
		deployment := get[*appsv1.Deployment](t, objects, "greeter")
		require.Equal(t, want.replicas, *deployment.Spec.Replicas)
		// Knative, Istio and others know by this name that it is HTTP/2 without TLS.
		require.Equal(t, "http2", service.Spec.Ports[0].Name)
	}
}

func TestKnative(t *testing.T) {
	const visibility = "networking.knative.dev/visibility"
	for folder, want := range map[string]string{"knative/service": "", "knative/cluster-local": "cluster-local"} {
		objects := render(t, folder)
		require.Len(t, objects, 1)
		service, ok := objects[0].(*servingv1.Service)
		require.True(t, ok)
		service.SetDefaults(t.Context())
		require.Nil(t, service.Validate(t.Context()).Filter(apis.ErrorLevel))
		require.Equal(t, want, service.Labels[visibility])
		container := service.Spec.Template.Spec.Containers[0]
		require.Equal(t, []corev1.ContainerPort{{Name: "h2c", ContainerPort: 9080}}, container.Ports)
	}
}

// unwrap returns the message in it.
func unwrap[T proto.Message](t *testing.T, wrapped *anypb.Any) T {
	t.Helper()
	inner, err := wrapped.UnmarshalNew()
	require.NoError(t, err)
	message, ok := inner.(T)
	require.True(t, ok, "it is a %T", inner)
	return message
}

func envoy(t *testing.T, text string) *bootstrapv3.Bootstrap {
	t.Helper()
	bootstrap, err := manifests.DecodeEnvoy([]byte(text))
	require.NoError(t, err)
	return bootstrap
}

func TestEnvoy(t *testing.T) {
	bootstrap := envoy(t, read(t, "deploy/envoy/envoy.yaml"))
	listeners := bootstrap.StaticResources.Listeners
	require.Len(t, listeners, 1)
	filters := listeners[0].FilterChains[0].Filters
	manager := unwrap[*hcmv3.HttpConnectionManager](t, filters[len(filters)-1].GetTypedConfig())
	require.Equal(t, hcmv3.HttpConnectionManager_AUTO, manager.CodecType, "HTTP/2 by prior knowledge")
	require.Zero(t, manager.StreamIdleTimeout.AsDuration())
	require.NotNil(t, manager.StreamIdleTimeout, "five minutes where nothing is said")
	route := manager.GetRouteConfig().VirtualHosts[0]
	require.Equal(t, []string{"*"}, route.Domains)
	action := route.Routes[0].GetRoute()
	require.NotNil(t, action.Timeout, "15 seconds where nothing is said")
	require.Zero(t, action.Timeout.AsDuration())
	// The authority stays that of the endpoint.
	require.Nil(t, action.HostRewriteSpecifier)

	require.Len(t, bootstrap.StaticResources.Clusters, 1)
	cluster := bootstrap.StaticResources.Clusters[0]
	require.Equal(t, action.GetCluster(), cluster.Name)
	balanced := unwrap[*dfpclusterv3.ClusterConfig](t, cluster.GetClusterType().TypedConfig).GetSubClustersConfig()
	require.Equal(t, clusterv3.Cluster_ROUND_ROBIN, balanced.LbPolicy)
	require.NoError(t, balanced.ValidateAll())
	upstream := unwrap[*httpv3.HttpProtocolOptions](t,
		cluster.TypedExtensionProtocolOptions["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"])
	require.NotNil(t, upstream.GetExplicitHttpConfig().GetHttp2ProtocolOptions())
}

// A misspelt field is an error, on the surface and within a typed_config, and so is a value out of its range.
func TestEnvoyIsReadStrictly(t *testing.T) {
	text := read(t, "deploy/envoy/envoy.yaml")
	for _, change := range []struct{ from, to, want string }{
		{"connect_timeout:", "conect_timeout:", "conect_timeout"},
		{"stream_idle_timeout:", "stream_idle:", "stream_idle"},
		{"stat_prefix: services", `stat_prefix: ""`, "StatPrefix"},
		{"interval: 40s", "interval: 0s", "Interval"},
	} {
		require.Contains(t, text, change.from)
		_, err := manifests.DecodeEnvoy([]byte(strings.ReplaceAll(text, change.from, change.to)))
		require.ErrorContains(t, err, change.want)
	}
}

// With the component, the runtime sends through the proxy in its pod, and all else is as it was.
func TestSingleWithEnvoy(t *testing.T) {
	objects := render(t, "k8s/single-envoy")
	requirePods(t, objects)
	requireConnected(t, objects)
	spec := get[*appsv1.StatefulSet](t, objects, "restate").Spec.Template.Spec
	require.Len(t, spec.Containers, 2)
	runtime, sidecar := spec.Containers[0], spec.Containers[1]
	require.Equal(t, "restate", runtime.Name)
	proxy := corev1.EnvVar{Name: "HTTP_PROXY", Value: "127.0.0.1:10001"}
	require.Contains(t, runtime.Env, proxy)
	config := configuration(t, objects, runtime)
	for _, daemon := range []string{"worker", "meta"} {
		section, ok := config[daemon].(map[string]any)
		require.True(t, ok)
		require.Equal(t, proxy.Value, setting(section, "endpoint.http_proxy"))
	}

	require.Equal(t, "envoy", sidecar.Name)
	require.Equal(t, "envoy-config", spec.Volumes[0].Name)
	mount := corev1.VolumeMount{Name: "envoy-config", ReadOnly: true, MountPath: "/etc/envoy"}
	require.Equal(t, []corev1.VolumeMount{mount}, sidecar.VolumeMounts)
	require.Contains(t, sidecar.Args, "/etc/envoy/envoy.yaml")
	text := get[*corev1.ConfigMap](t, objects, spec.Volumes[0].ConfigMap.Name).Data["envoy.yaml"]
	address := envoy(t, text).StaticResources.Listeners[0].Address.GetSocketAddress()
	require.Equal(t, proxy.Value, address.Address+":"+strconv.Itoa(int(address.GetPortValue())))

	// But for what the component adds, it is the pod of deploy/k8s/single.
	spec.Containers, spec.Volumes = spec.Containers[:1], nil
	spec.Containers[0].Env = nil
	plain := get[*appsv1.StatefulSet](t, render(t, "k8s/single"), "restate").Spec.Template.Spec
	plain.Containers[0].Env = nil
	require.Equal(t, plain, spec)
}

// What the API does not know is an error.
func TestManifestsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"apiVersion: v1\nkind: Service\nspec: {clusterip: None}":      `unknown field "spec.clusterip"`,
		"apiVersion: v1\nkind: Service\nspec: {type: A, type: B}":     `key "type" already set`,
		"apiVersion: v1\nkind: Pod\nspec: {}":                         "do not know this kind",
		"apiVersion: v1\nkind: Service\nspec: {ports: [{port: web}]}": "cannot unmarshal",
	} {
		objects, err := manifests.Decode([]byte(text))
		require.ErrorContains(t, err, want)
		require.Empty(t, objects)
	}
	var none []metav1.Object
	objects, err := manifests.Decode(nil)
	require.NoError(t, err)
	require.Equal(t, none, objects)
}
