package manifests_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// subnet of the pods, which are on this machine only.
	subnet = "10.213.77."
	// readyTimeout is how long a pod may take to be ready.
	readyTimeout = 2 * time.Minute
)

// engine runs pods as containers, with what of a kubelet the manifests rely on: users, rights, volumes, variables, the names
// of Services, and probes.
type engine struct {
	t       *testing.T
	network string
	// volumes is where the engine has its volumes.
	volumes string
	objects []metav1.Object
	pods    int
	// natsMade tells that there is an image of NATS.
	natsMade bool
}

func (e *engine) docker(args ...string) string {
	e.t.Helper()
	output, err := exec.CommandContext(e.t.Context(), "docker", args...).CombinedOutput()
	require.NoError(e.t, err, "docker %s: %s", strings.Join(args, " "), output)
	return strings.TrimSpace(string(output))
}

// discard removes what a test has made, also after its context has ended.
func (e *engine) discard(args ...string) {
	e.t.Cleanup(func() {
		output, err := exec.Command("docker", args...).CombinedOutput()
		if err != nil {
			e.t.Logf("docker %s: %s", strings.Join(args, " "), output)
		}
	})
}

func newEngine(t *testing.T, folder string) *engine {
	t.Helper()
	e := &engine{t: t, network: "restate-" + filepath.Base(folder), objects: render(t, folder)}
	e.volumes = filepath.Join(e.docker("info", "--format", "{{.DockerRootDir}}"), "volumes")
	e.docker("network", "create", "--subnet", subnet+"0/24", e.network)
	e.discard("network", "rm", e.network)
	return e
}

// volume makes a volume as a kubelet mounts it with the fsGroup: it belongs to root, and the group may write.
func (e *engine) volume(name string, group int64) {
	e.docker("volume", "create", name)
	e.discard("volume", "rm", name)
	folder := filepath.Join(e.volumes, name, "_data")
	require.NoError(e.t, os.Mkdir(filepath.Join(folder, "lost+found"), 0o700))
	require.NoError(e.t, os.Chown(folder, 0, int(group)))
	require.NoError(e.t, os.Chmod(folder, os.ModeSetgid|0o775))
}

// aliases are the options for the names of the Services that lead to the pod, and for its own below them.
func (e *engine) aliases(name string, labels map[string]string) []string {
	var options []string
	for _, object := range e.objects {
		if service, ok := object.(*corev1.Service); ok && selects(service.Spec.Selector, labels) {
			options = append(options, "--network-alias", service.Name, "--network-alias", name+"."+service.Name)
		}
	}
	return options
}

// mounts are the options for what the container mounts: the volume of the pod, and files.
func (e *engine) mounts(volume string, pod corev1.PodSpec, container corev1.Container) []string {
	files := map[string]*corev1.ConfigMap{}
	for _, of := range pod.Volumes {
		if of.ConfigMap != nil {
			files[of.Name] = get[*corev1.ConfigMap](e.t, e.objects, of.ConfigMap.Name)
		}
	}
	var options []string
	for _, mount := range container.VolumeMounts {
		source := volume
		if content := files[mount.Name]; content != nil {
			source = filepath.Join(e.t.TempDir(), mount.Name)
			require.NoError(e.t, os.Mkdir(source, 0o755))
			for name, text := range content.Data {
				require.NoError(e.t, os.WriteFile(filepath.Join(source, name), []byte(text), 0o644))
			}
		}
		options = append(options, "--volume", source+":"+mount.MountPath)
	}
	return options
}

// image returns what to run for the image of a container: ours as it is, and that of NATS, which may not be there, made of the
// server's module.
func (e *engine) image(name string) string {
	const made = "restate-test-nats"
	switch {
	case !strings.HasPrefix(name, "nats:"):
		return name
	case e.natsMade:
		return made
	}
	e.natsMade = true
	folder := e.t.TempDir()
	build := exec.CommandContext(e.t.Context(), "go", "build", "-o", filepath.Join(folder, "nats-server"),
		"github.com/nats-io/nats-server/v2")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(e.t, err, "%s", output)
	require.NoError(e.t, os.WriteFile(filepath.Join(folder, "Dockerfile"),
		[]byte("FROM scratch\nCOPY nats-server /\nENTRYPOINT [\"/nats-server\"]\n"), 0o600))
	e.docker("build", "--tag", made, folder)
	return made
}

// pod is one that runs: its address, and its containers by name.
type pod struct {
	address    string
	containers map[string]string
}

// start runs the containers of the pod. All but the first have the network of the first.
func (e *engine) start(name string, template corev1.PodTemplateSpec) pod {
	e.t.Helper()
	const firstAddress = 10
	started := pod{address: fmt.Sprint(subnet, firstAddress+e.pods), containers: map[string]string{}}
	e.pods++
	security := template.Spec.SecurityContext
	volume := e.network + "-" + name
	e.volume(volume, *security.FSGroup)
	network := append([]string{"--network", e.network, "--ip", started.address}, e.aliases(name, template.Labels)...)
	for _, container := range template.Spec.Containers {
		args := append([]string{"run", "--detach",
			"--user", fmt.Sprintf("%d:%d", *security.RunAsUser, *security.RunAsGroup),
		}, network...)
		args = append(args, e.mounts(volume, template.Spec, container)...)
		if *container.SecurityContext.ReadOnlyRootFilesystem {
			args = append(args, "--read-only")
		}
		if !*container.SecurityContext.AllowPrivilegeEscalation {
			args = append(args, "--security-opt", "no-new-privileges")
		}
		for _, capability := range container.SecurityContext.Capabilities.Drop {
			args = append(args, "--cap-drop", string(capability))
		}
		for variable, value := range environment(e.t, e.objects, container) {
			value = strings.NewReplacer(podAddress, started.address, podName, name).Replace(value)
			args = append(args, "--env", variable+"="+value)
		}
		id := e.docker(append(append(args, e.image(container.Image)), container.Args...)...)
		e.discard("rm", "--force", id)
		started.containers[container.Name] = id
		network = []string{"--network", "container:" + id}
	}
	return started
}

// awaitReady waits until all probes of the pod pass.
func (e *engine) awaitReady(started pod, template corev1.PodTemplateSpec) {
	ctx, cancel := context.WithTimeout(e.t.Context(), readyTimeout)
	defer cancel()
	for _, container := range template.Spec.Containers {
		for _, probe := range []*corev1.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
			port := strconv.Itoa(int(ports(container)[probe.HTTPGet.Port.StrVal]))
			url := "http://" + net.JoinHostPort(started.address, port) + probe.HTTPGet.Path
			if status := awaitOK(ctx, url); status != "" {
				e.t.Fatalf("%s: %s: %s\n%s", container.Name, url, status,
					e.docker("logs", "--tail", "20", started.containers[container.Name]))
			}
		}
	}
}

// awaitOK asks until the answer is 200, and returns what else it was when the context has ended.
func awaitOK(ctx context.Context, url string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err.Error()
		}
		var status string
		switch response, err := client.Do(request); {
		case err != nil:
			status = err.Error()
		case response.Body.Close() != nil || response.StatusCode != http.StatusOK:
			status = response.Status
		default:
			return ""
		}
		select {
		case <-ctx.Done():
			return status
		case <-poll.C:
		}
	}
}

// replicas returns how many pods the workload has.
func replicas(objects []metav1.Object, name string) int32 {
	for _, object := range objects {
		switch workload := object.(type) {
		case *appsv1.StatefulSet:
			if workload.Name == name {
				return *workload.Spec.Replicas
			}
		case *appsv1.Deployment:
			if workload.Name == name {
				return *workload.Spec.Replicas
			}
		}
	}
	return 0
}

// The pods run with a real engine, under the restrictions that the manifests put on them, find each other, and are ready.
func TestPodsRun(t *testing.T) {
	if os.Getenv("E2E_ENGINE") == "" {
		t.Skip("`make compose-test` builds the image, looks for an engine, and runs this")
	}
	for _, folder := range []string{"k8s/single", "k8s/distributed", "k8s/distributed-nats"} {
		t.Run(folder, func(t *testing.T) {
			e := newEngine(t, folder)
			if _, err := os.ReadDir(e.volumes); err != nil {
				t.Skipf("volumes cannot be made as Kubernetes does: %v", err)
			}
			workloads := templates(e.objects)
			running := map[string]pod{}
			for name, template := range workloads {
				for replica := range replicas(e.objects, name) {
					pod := fmt.Sprintf("%s-%d", name, replica)
					running[pod] = e.start(pod, template)
				}
			}
			containers := map[string]string{}
			for pod, started := range running {
				e.awaitReady(started, workloads[pod[:strings.LastIndex(pod, "-")]])
				maps.Copy(containers, started.containers)
			}
			// Where the daemons are apart, their commands show that one asks another.
			meta, reader := containers["meta"], containers["storage-reader"]
			if folder == "k8s/single" {
				meta, reader = containers["restate"], containers["restate"]
			}
			require.Contains(t, e.docker("exec", meta, "/restate", "invocations", "list"), "TARGET")
			require.Contains(t, e.docker("exec", reader, "/restate", "storage", "scan", "partition_state_machine"), "outbox")
			for name, id := range containers {
				e.docker("stop", "--time", "60", id)
				require.Equal(t, "0", e.docker("inspect", "--format", "{{.State.ExitCode}}", id), name)
			}
		})
	}
}
