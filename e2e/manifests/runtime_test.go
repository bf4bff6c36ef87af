package manifests_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/restate-go/restate/e2e/manifests"
)

const (
	root = "../.."
	// podAddress and podName stand for the address and the name that a pod gets.
	podAddress = "192.0.2.1"
	podName    = "name-of-the-pod"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(content)
}

func render(t *testing.T, folder string) []metav1.Object {
	t.Helper()
	objects, err := manifests.Render(filepath.Join(root, "deploy", folder))
	require.NoError(t, err)
	return objects
}

// get returns the object of the type with the name.
func get[T metav1.Object](t *testing.T, objects []metav1.Object, name string) T {
	t.Helper()
	for _, object := range objects {
		if found, ok := object.(T); ok && object.GetName() == name {
			return found
		}
	}
	var none T
	t.Fatalf("there is no %T with the name %s", none, name)
	return none
}

// templates returns the pods of the workloads, by the names of those.
func templates(objects []metav1.Object) map[string]corev1.PodTemplateSpec {
	found := map[string]corev1.PodTemplateSpec{}
	for _, object := range objects {
		switch workload := object.(type) {
		case *appsv1.StatefulSet:
			found[workload.Name] = workload.Spec.Template
		case *appsv1.Deployment:
			found[workload.Name] = workload.Spec.Template
		}
	}
	return found
}

// ours tells whether the container runs our image.
func ours(container corev1.Container) bool { return container.Image == "restate:latest" }

// ports returns the ports of the container by their names.
func ports(container corev1.Container) map[string]int32 {
	found := map[string]int32{}
	for _, port := range container.Ports {
		found[port.Name] = port.ContainerPort
	}
	return found
}

// image is what the last stage of the Dockerfile says about the image.
type image struct {
	user    string
	exposed []string
	env     map[string]string
}

func readImage(t *testing.T) image {
	t.Helper()
	_, stage, found := strings.Cut(read(t, "deploy/Dockerfile"), "\nFROM scratch\n")
	require.True(t, found)
	result := image{env: map[string]string{}}
	for line := range strings.Lines(stage) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "USER":
			result.user = rest
		case "EXPOSE":
			result.exposed = strings.Fields(rest)
		case "ENV":
			name, value, _ := strings.Cut(rest, "=")
			result.env[name] = value
		}
	}
	return result
}

// environment returns the variables that a container of our image has.
func environment(t *testing.T, objects []metav1.Object, container corev1.Container) map[string]string {
	t.Helper()
	variables := readImage(t).env
	for _, from := range container.EnvFrom {
		maps.Copy(variables, get[*corev1.ConfigMap](t, objects, from.ConfigMapRef.Name).Data)
	}
	for _, variable := range container.Env {
		variables[variable.Name] = variable.Value
		if variable.ValueFrom != nil {
			field := variable.ValueFrom.FieldRef.FieldPath
			variables[variable.Name] = map[string]string{"status.podIP": podAddress, "metadata.name": podName}[field]
			require.NotEmpty(t, variables[variable.Name], field)
		}
	}
	return variables
}

// configuration returns what the runtime makes of the container's variables and arguments, of which it knows all.
func configuration(t *testing.T, objects []metav1.Object, container corev1.Container) map[string]any {
	t.Helper()
	binary, err := filepath.Abs(filepath.Join(root, "bin", "restate"))
	require.NoError(t, err)
	cmd := exec.Command(binary, append(slices.Clone(container.Args), "config")...)
	cmd.Dir = t.TempDir()
	for name, value := range environment(t, objects, container) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var warnings strings.Builder
	cmd.Stderr = &warnings
	printed, err := cmd.Output()
	require.NoError(t, err, "run `make build` first; %s", &warnings)
	require.Empty(t, warnings.String(), container.Name)
	var config map[string]any
	require.NoError(t, yaml.Unmarshal(printed, &config))
	return config
}

// setting returns the value of a key of the configuration.
func setting(config map[string]any, key string) string {
	section, name, _ := strings.Cut(key, ".")
	inner, _ := config[section].(map[string]any)
	return fmt.Sprint(inner[name])
}

// listens checks that the container's port is the one that the daemon listens on, on every address.
func listens(t *testing.T, config map[string]any, key string, port int32) {
	t.Helper()
	require.Equal(t, net.JoinHostPort("0.0.0.0", strconv.Itoa(int(port))), setting(config, key), key)
}

// Pods pass the profile "restricted" of the standards for pods, as the namespace demands.
func requireRestricted(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	require.False(t, pod.HostNetwork || pod.HostPID || pod.HostIPC)
	require.True(t, *pod.SecurityContext.RunAsNonRoot)
	user := fmt.Sprintf("%d:%d", *pod.SecurityContext.RunAsUser, *pod.SecurityContext.RunAsGroup)
	require.Equal(t, readImage(t).user, user)
	require.Equal(t, *pod.SecurityContext.RunAsGroup, *pod.SecurityContext.FSGroup, "volumes have to be writable")
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	require.False(t, *pod.AutomountServiceAccountToken)
	for _, volume := range pod.Volumes {
		require.True(t, volume.EmptyDir != nil || volume.ConfigMap != nil, volume.Name)
	}
	for _, container := range pod.Containers {
		require.False(t, *container.SecurityContext.AllowPrivilegeEscalation, container.Name)
		require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem, container.Name)
		require.Equal(t, []corev1.Capability{"ALL"}, container.SecurityContext.Capabilities.Drop, container.Name)
		require.Empty(t, container.SecurityContext.Capabilities.Add, container.Name)
	}
}

// requireProbes checks that the probes ask for paths that there are, where the runtime serves them.
func requireProbes(t *testing.T, container corev1.Container, config map[string]any) {
	t.Helper()
	for path, probe := range map[string]*corev1.Probe{
		"/health": container.LivenessProbe, "/ready": container.ReadinessProbe,
	} {
		require.Equal(t, path, probe.HTTPGet.Path)
		listens(t, config, "health.bind_address", ports(container)[probe.HTTPGet.Port.StrVal])
		require.GreaterOrEqual(t, probe.TimeoutSeconds, int32(3), "the checks take up to two seconds")
	}
	require.Equal(t, container.LivenessProbe.HTTPGet, container.StartupProbe.HTTPGet)
}

// requirePods checks what holds for all pods of the runtime.
func requirePods(t *testing.T, objects []metav1.Object) {
	t.Helper()
	for name, template := range templates(objects) {
		requireRestricted(t, template.Spec)
		require.False(t, *template.Spec.EnableServiceLinks, name)
		taken := map[int32]string{}
		for _, container := range template.Spec.Containers {
			for _, port := range container.Ports {
				require.Empty(t, taken[port.ContainerPort], "%s: two containers listen on port %d", name, port.ContainerPort)
				taken[port.ContainerPort] = container.Name
			}
			if !ours(container) {
				continue
			}
			require.Equal(t, corev1.PullIfNotPresent, container.ImagePullPolicy)
			require.NotContains(t, container.Resources.Limits, corev1.ResourceCPU)
			require.Equal(t, "/target", container.VolumeMounts[0].MountPath)
			config := configuration(t, objects, container)
			requireProbes(t, container, config)
			require.Equal(t, "target", config["base_dir"])
			require.Equal(t, "1m", config["shutdown_grace_period"])
			require.Greater(t, *template.Spec.TerminationGracePeriodSeconds, int64(60))
			log, _ := config["observability"].(map[string]any)
			require.Equal(t, "Json", setting(log, "log.format"))
		}
	}
}

// requireService checks that the Service leads to the port of the same name, of a pod that there is.
func requireService(t *testing.T, objects []metav1.Object, service *corev1.Service) {
	t.Helper()
	var selected []string
	for name, template := range templates(objects) {
		if !selects(service.Spec.Selector, template.Labels) {
			continue
		}
		selected = append(selected, name)
		offered := map[string]int32{}
		for _, container := range template.Spec.Containers {
			maps.Copy(offered, ports(container))
		}
		for _, port := range service.Spec.Ports {
			require.Equal(t, intstr.FromString(port.Name), port.TargetPort, service.Name)
			require.Equal(t, port.Port, offered[port.Name], "%s, port %s", service.Name, port.Name)
		}
	}
	require.Len(t, selected, 1, "what the Service %s selects", service.Name)
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return len(selector) > 0
}

// requireConnected checks what holds for the objects of one folder together.
func requireConnected(t *testing.T, objects []metav1.Object) {
	t.Helper()
	for _, object := range objects {
		switch object := object.(type) {
		case *corev1.Service:
			requireService(t, objects, object)
		case *appsv1.StatefulSet:
			require.True(t, selects(object.Spec.Selector.MatchLabels, object.Spec.Template.Labels), object.Name)
			get[*corev1.Service](t, objects, object.Spec.ServiceName)
		case *appsv1.Deployment:
			require.True(t, selects(object.Spec.Selector.MatchLabels, object.Spec.Template.Labels), object.Name)
		}
	}
}

func TestSingle(t *testing.T) {
	objects := render(t, "k8s/single")
	require.Len(t, objects, 3)
	requirePods(t, objects)
	requireConnected(t, objects)
	namespace := get[*corev1.Namespace](t, objects, "restate")
	require.Equal(t, "restricted", namespace.Labels["pod-security.kubernetes.io/enforce"])

	set := get[*appsv1.StatefulSet](t, objects, "restate")
	require.Equal(t, "restate", set.Namespace)
	require.Equal(t, int32(1), *set.Spec.Replicas)
	require.Len(t, set.Spec.VolumeClaimTemplates, 1)
	claim := set.Spec.VolumeClaimTemplates[0]
	require.Equal(t, "64Gi", claim.Spec.Resources.Requests.Storage().String())
	require.Equal(t, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, claim.Spec.AccessModes)

	require.Empty(t, set.Spec.Template.Spec.ImagePullSecrets)
	require.Len(t, set.Spec.Template.Spec.Containers, 1)
	container := set.Spec.Template.Spec.Containers[0]
	require.Equal(t, []corev1.VolumeMount{{Name: claim.Name, MountPath: "/target"}}, container.VolumeMounts)
	require.Equal(t, "100m", container.Resources.Requests.Cpu().String())
	require.Equal(t, "1Gi", container.Resources.Requests.Memory().String())
	require.Contains(t, container.Env, corev1.EnvVar{Name: "RESTATE_TRACING__LOG_FORMAT", Value: "Json"})
	require.Equal(t, map[string]int32{"meta": 8081, "ingress": 9090, "storage": 9091, "probes": 5122}, ports(container))
	for _, port := range container.Ports {
		require.Contains(t, readImage(t).exposed, strconv.Itoa(int(port.ContainerPort)))
	}
	config := configuration(t, objects, container)
	for _, daemon := range []string{"meta", "ingress", "storage"} {
		listens(t, config, daemon+".bind_address", ports(container)[daemon])
	}
	require.Equal(t, "http://restate.restate:9090/", setting(config, "meta.advertised_ingress"))

	service := get[*corev1.Service](t, objects, "restate")
	require.Equal(t, "restate", service.Namespace)
	require.Equal(t, corev1.ServiceTypeClusterIP, service.Spec.Type)
	require.Empty(t, service.Spec.ClusterIP)
	require.Len(t, service.Spec.Ports, 3)
}

func TestDistributed(t *testing.T) {
	objects := render(t, "k8s/distributed")
	requirePods(t, objects)
	requireConnected(t, objects)
	daemons := map[string]corev1.Container{}
	for workload, template := range templates(objects) {
		for _, container := range template.Spec.Containers {
			require.True(t, ours(container), container.Name)
			require.Equal(t, []string{"--target=" + container.Name}, container.Args)
			require.NotContains(t, daemons, container.Name)
			daemons[container.Name] = container
			if container.Name != "storage-reader" {
				require.Equal(t, workload, container.Name, "a workload for each daemon")
			}
		}
	}
	require.ElementsMatch(t, []string{"broker", "partition-worker", "storage-reader", "meta", "ingress"},
		slices.Collect(maps.Keys(daemons)))

	// Everybody finds the broker by the name of its Service.
	broker := get[*corev1.Service](t, objects, "broker")
	require.Equal(t, corev1.ClusterIPNone, broker.Spec.ClusterIP)
	require.True(t, broker.Spec.PublishNotReadyAddresses)
	listens(t, configuration(t, objects, daemons["broker"]), "broker.bind_address", broker.Spec.Ports[0].Port)
	for name, container := range daemons {
		require.Equal(t, fmt.Sprintf("nats://broker:%d", broker.Spec.Ports[0].Port),
			setting(configuration(t, objects, container), "broker.url"), name)
	}

	// The others find the worker at the address of its pod.
	worker := configuration(t, objects, daemons["partition-worker"])
	listens(t, worker, "worker.bind_address", ports(daemons["partition-worker"])["worker"])
	require.Equal(t, podAddress, setting(worker, "worker.advertised_host"))

	// The storage-reader reads the files of the worker.
	set := get[*appsv1.StatefulSet](t, objects, "partition-worker")
	require.Equal(t, int32(1), *set.Spec.Replicas)
	require.Equal(t, set.Spec.VolumeClaimTemplates[0].Name, daemons["partition-worker"].VolumeMounts[0].Name)
	require.Equal(t, daemons["partition-worker"].VolumeMounts, daemons["storage-reader"].VolumeMounts)

	for name, daemon := range map[string]string{"storage": "storage-reader", "meta": "meta", "ingress": "ingress"} {
		service := get[*corev1.Service](t, objects, name)
		require.Equal(t, corev1.ServiceTypeClusterIP, service.Spec.Type)
		listens(t, configuration(t, objects, daemons[daemon]), name+".bind_address", service.Spec.Ports[0].Port)
	}
	meta := configuration(t, objects, daemons["meta"])
	require.Equal(t, "http://ingress.restate:9090/", setting(meta, "meta.advertised_ingress"))
}

// The component adds the secret to every workload, and changes nothing else.
func TestPullSecret(t *testing.T) {
	for _, folder := range []string{"k8s/single", "k8s/distributed"} {
		overlay := t.TempDir()
		relative := func(path string) string {
			absolute, err := filepath.Abs(filepath.Join(root, "deploy", path))
			require.NoError(t, err)
			result, err := filepath.Rel(overlay, absolute)
			require.NoError(t, err)
			return result
		}
		require.NoError(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), fmt.Appendf(nil,
			"resources: [%q]\ncomponents: [%q]\n", relative(folder), relative("k8s/pull-secret")), 0o600))
		objects, err := manifests.Render(overlay)
		require.NoError(t, err)
		without := templates(render(t, folder))
		for name, template := range templates(objects) {
			require.Equal(t, []corev1.LocalObjectReference{{Name: "registry"}}, template.Spec.ImagePullSecrets, name)
			template.Spec.ImagePullSecrets = nil
			require.Equal(t, without[name], template)
		}
	}
}

// folders returns those below deploy that kustomize can render.
func folders(t *testing.T) []string {
	t.Helper()
	var found []string
	deploy := filepath.Join(root, "deploy")
	require.NoError(t, filepath.WalkDir(deploy, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "kustomization.yaml" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || !regexp.MustCompile(`(?m)^kind: Kustomization$`).Match(content) {
			return err
		}
		folder, err := filepath.Rel(deploy, filepath.Dir(path))
		found = append(found, folder)
		return err
	}))
	require.Contains(t, found, "k8s/single")
	return found
}

// Every folder is decoded, whatever it is for.
func TestEveryFolderDecodes(t *testing.T) {
	for _, folder := range folders(t) {
		require.NotEmpty(t, render(t, folder), folder)
	}
}
