package manifests_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// With a cluster of NATS in place of the broker, all else stays as it is.
func TestDistributedWithNATS(t *testing.T) {
	objects := render(t, "k8s/distributed-nats")
	requireConnected(t, objects)
	set := get[*appsv1.StatefulSet](t, objects, "nats")
	pod := set.Spec.Template.Spec
	requireRestricted(t, pod)
	container := pod.Containers[0]
	service := get[*corev1.Service](t, objects, "nats")
	require.Equal(t, corev1.ClusterIPNone, service.Spec.ClusterIP)
	require.True(t, service.Spec.PublishNotReadyAddresses)
	policy := get[*networkingv1.NetworkPolicy](t, objects, "nats")
	require.True(t, selects(policy.Spec.PodSelector.MatchLabels, set.Spec.Template.Labels))

	// The server itself reads its configuration.
	text := get[*corev1.ConfigMap](t, objects, pod.Volumes[0].ConfigMap.Name).Data["nats.conf"]
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	t.Setenv("POD_NAME", "nats-0")
	options, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	require.Equal(t, "nats-0", options.ServerName)
	require.True(t, options.JetStream)
	require.True(t, options.SyncAlways)
	require.Equal(t, int32(8<<20), options.MaxPayload)
	require.Equal(t, options.StoreDir, container.VolumeMounts[0].MountPath)
	require.Equal(t, map[string]int32{
		"nats": int32(options.Port), "cluster": int32(options.Cluster.Port), "monitoring": int32(options.HTTPPort),
	}, ports(container))
	var routes, monitoring []string
	for replica := range *set.Spec.Replicas {
		routes = append(routes, fmt.Sprintf("nats://nats-%d.%s:%d", replica, set.Spec.ServiceName, options.Cluster.Port))
		monitoring = append(monitoring, fmt.Sprintf("http://nats-%d.%s:%d", replica, set.Spec.ServiceName, options.HTTPPort))
	}
	require.ElementsMatch(t, routes, strings.Fields(strings.Trim(fmt.Sprint(options.Routes), "[]")))

	plain := templates(render(t, "k8s/distributed"))
	delete(plain, "broker")
	found := templates(objects)
	require.Len(t, found, len(plain)+1)
	for name := range plain {
		for _, container := range found[name].Spec.Containers {
			config := configuration(t, objects, container)
			requireProbes(t, container, config)
			require.Equal(t, fmt.Sprintf("nats://nats:%d", options.Port), setting(config, "broker.url"))
			require.Equal(t, strings.Join(monitoring, ","), setting(config, "broker.monitoring_url"))
			require.Equal(t, fmt.Sprint(*set.Spec.Replicas), setting(config, "broker.replicas"))
			require.Equal(t, "true", setting(config, "broker.require_sync"))
		}
	}
	for _, object := range objects {
		require.NotEqual(t, "broker", object.GetName())
	}
}
