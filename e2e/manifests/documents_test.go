package manifests_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/restate-go/restate/e2e/manifests"
)

// pages returns what is below docs/deploy, by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(root, "docs", "deploy", "*.md"))
	require.NoError(t, err)
	for _, path := range paths {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		found[filepath.Base(path)] = string(content)
	}
	require.NotEmpty(t, found)
	return found
}

// What the documents show of manifests can be read as strictly as the manifests themselves.
func TestManifestsInDocuments(t *testing.T) {
	blocks := 0
	for page, content := range pages(t) {
		for _, block := range regexp.MustCompile("(?s)\n```yaml\n(.*?\n)```\n").FindAllStringSubmatch(content, -1) {
			blocks++
			if strings.HasPrefix(block[1], "apiVersion: kustomize") {
				var kustomization types.Kustomization
				require.NoError(t, kustomization.Unmarshal([]byte(block[1])), page)
				for _, folder := range append(kustomization.Resources, kustomization.Components...) {
					require.FileExists(t, filepath.Join(root, strings.TrimPrefix(folder, "../restate/"), "kustomization.yaml"), page)
				}
				continue
			}
			objects, err := manifests.Decode([]byte(block[1]))
			require.NoError(t, err, page)
			require.NotEmpty(t, objects, page)
		}
	}
	require.NotZero(t, blocks)
}

// The folders that the documents and the manifests themselves tell to apply can be rendered, and none is left out.
func TestCommandsInDocuments(t *testing.T) {
	var applied []string
	for _, content := range pages(t) {
		for _, match := range regexp.MustCompile(`kubectl apply -k deploy/(\S+)`).FindAllStringSubmatch(content, -1) {
			applied = append(applied, strings.TrimRight(match[1], ".`"))
		}
		for _, match := range regexp.MustCompile("`deploy/((?:k8s|knative)/[a-z0-9/-]+)`").FindAllStringSubmatch(content, -1) {
			applied = append(applied, match[1])
		}
	}
	rendered := folders(t)
	for _, folder := range applied {
		if folder == "k8s/pull-secret" {
			continue // a component
		}
		require.Contains(t, rendered, folder)
	}
	for _, folder := range rendered {
		require.Contains(t, applied, folder, "no document says what it is for")
	}
}
