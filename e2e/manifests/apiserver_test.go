package manifests_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/restate-go/restate/e2e/manifests"
)

const (
	// startTimeout is how long the API server may take to be ready.
	startTimeout = 2 * time.Minute
	token        = "of-the-test"
)

// apiServer is a real one, with an empty cluster that nothing runs in.
type apiServer struct {
	url    string
	client *http.Client
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// spawn runs the program until the test ends, and shows the end of its output if that has failed.
func spawn(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			const most = 4 << 10
			content, err := os.ReadFile(log.Name())
			require.NoError(t, err)
			t.Logf("%s: %s", filepath.Base(program), content[max(0, len(content)-most):])
		}
		require.NoError(t, log.Close())
	})
}

// start runs etcd and the API server that KUBE_APISERVER names.
func start(t *testing.T) *apiServer {
	t.Helper()
	program := os.Getenv("KUBE_APISERVER")
	if program == "" {
		t.Skip("`make k8s-test` builds an API server, which takes minutes, and runs this")
	}
	dir := t.TempDir()
	etcd, etcdPeer, address := freeAddress(t), freeAddress(t), freeAddress(t)
	spawn(t, "etcd", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", "http://"+etcd,
		"--advertise-client-urls", "http://"+etcd, "--listen-peer-urls", "http://"+etcdPeer,
		"--initial-advertise-peer-urls", "http://"+etcdPeer, "--initial-cluster", "default=http://"+etcdPeer)

	const bits = 2048
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	keyFile, tokens := filepath.Join(dir, "key.pem"), filepath.Join(dir, "tokens.csv")
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key),
	}), 0o600))
	require.NoError(t, os.WriteFile(tokens, []byte(token+`,admin,admin,"system:masters"`), 0o600))
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	spawn(t, program, "--etcd-servers=http://"+etcd, "--bind-address=127.0.0.1", "--secure-port="+port,
		"--cert-dir="+filepath.Join(dir, "certificates"), "--token-auth-file="+tokens, "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+keyFile,
		"--service-account-signing-key-file="+keyFile, "--service-cluster-ip-range=10.0.0.0/24",
		// Nobody makes the accounts in a cluster without controllers.
		"--disable-admission-plugins=ServiceAccount")
	s := &apiServer{url: "https://" + address, client: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}}
	s.await(t, "/readyz")
	return s
}

// await waits until the path answers 200.
func (s *apiServer) await(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		status, body, _, err := s.do(ctx, http.MethodGet, path, "")
		if err == nil && status == http.StatusOK {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("GET %s: %d %s %v", path, status, body, err)
		case <-poll.C:
		}
	}
}

// do sends the document, to be applied by the server, and returns the answer and the warnings of the server.
func (s *apiServer) do(ctx context.Context, method, path, document string) (int, string, []string, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(document))
	if err != nil {
		return 0, "", nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/apply-patch+yaml")
	response, err := s.client.Do(request)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), response.Header.Values("Warning"), err
}

// path returns where the API has the object of the document.
func path(t *testing.T, document string) string {
	t.Helper()
	var head struct {
		APIVersion, Kind string
		Metadata         struct{ Name, Namespace string }
	}
	require.NoError(t, yaml.Unmarshal([]byte(document), &head))
	group := "/apis/" + head.APIVersion
	if head.APIVersion == "v1" {
		group = "/api/v1"
	}
	kinds := strings.ToLower(head.Kind) + "s"
	if head.Kind == "NetworkPolicy" {
		kinds = "networkpolicies"
	}
	if head.Kind != "Namespace" && head.Kind != "CustomResourceDefinition" {
		group += "/namespaces/" + cmp.Or(head.Metadata.Namespace, "default")
	}
	return fmt.Sprintf("%s/%s/%s", group, kinds, head.Metadata.Name)
}

// apply has the server apply the document, for real or only checking it, and fails on any doubt that the server has.
func (s *apiServer) apply(t *testing.T, document, dryRun string) {
	t.Helper()
	at := path(t, document)
	status, body, warnings, err := s.do(t.Context(), http.MethodPatch,
		at+"?fieldManager=test&fieldValidation=Strict"+dryRun, document)
	require.NoError(t, err)
	require.Contains(t, []int{http.StatusOK, http.StatusCreated}, status, "%s: %s", at, body)
	require.Empty(t, warnings, at)
}

// dryRun asks the server to do all but store what is applied.
const dryRun = "&dryRun=All"

// A real API server takes every manifest, and has nothing to remark about the security of the pods.
func TestAPIServerTakesEveryManifest(t *testing.T) {
	s := start(t)
	namespace := read(t, "deploy/k8s/single/namespace.yaml")
	s.apply(t, namespace, dryRun)
	s.apply(t, namespace, "")
	s.applyKnative(t)
	for _, folder := range folders(t) {
		rendered, err := manifests.RenderDocuments(filepath.Join(root, "deploy", folder))
		require.NoError(t, err)
		for _, document := range rendered {
			s.apply(t, document, dryRun)
		}
	}

	// What the checks find is found.
	set := read(t, "deploy/k8s/single/statefulset.yaml")
	for change, want := range map[[2]string]string{
		{"replicas: 1", "replica: 1"}:                   `field not declared in schema`,
		{"drop: [ALL]", "drop: []"}:                     "unrestricted capabilities",
		{"port: probes", "port: none_such_port_at_all"}: "must be no more than 15 characters",
	} {
		changed := strings.ReplaceAll(set, change[0], change[1])
		require.NotEqual(t, set, changed)
		_, body, warnings, err := s.do(t.Context(), http.MethodPatch,
			path(t, set)+"?fieldManager=test&fieldValidation=Strict"+dryRun, changed)
		require.NoError(t, err)
		require.Contains(t, body+strings.Join(warnings, ""), want)
	}
}

// applyKnative makes the API server know the services of Knative, as Knative defines them.
func (s *apiServer) applyKnative(t *testing.T) {
	t.Helper()
	folder, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "knative.dev/serving").Output()
	require.NoError(t, err)
	definition, err := os.ReadFile(strings.TrimSpace(string(folder)) + "/config/core/300-resources/service.yaml")
	require.NoError(t, err)
	s.apply(t, string(definition), "")
	s.await(t, "/apis/serving.knative.dev/v1/namespaces/default/services")
}
