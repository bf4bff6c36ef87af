package document

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"

	"github.com/restate-go/restate/e2e/process"
)

// skipped are folders with what is not ours.
var skipped = []string{".git", ".tools", "bin", "gen", "node_modules", "target", "tmp"}

// files returns the contents of the repository's files with the ending, by their paths.
func files(t *testing.T, ending string) map[string]string {
	t.Helper()
	root := process.Root(t)
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains(skipped, entry.Name()) {
			return filepath.SkipDir
		}
		if !entry.IsDir() && strings.HasSuffix(path, ending) {
			content, err := os.ReadFile(path)
			found[strings.TrimPrefix(path, root+"/")] = string(content)
			return err
		}
		return nil
	}))
	require.NotEmpty(t, found)
	return found
}

// groups returns the first group of each match in the text.
func groups(pattern, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// anchors returns what the headings of a document can be linked to as.
func anchors(content string) []string {
	withoutCode := regexp.MustCompile("(?s)\n```.*?\n```\n").ReplaceAllString(content, "\n")
	var found []string
	for _, heading := range groups(`(?m)^#+ (.*)$`, withoutCode) {
		kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
		found = append(found, strings.ReplaceAll(kept, " ", "-"))
	}
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	documents := files(t, ".md")
	for path, content := range documents {
		for _, link := range groups(`\]\(([^)]+)\)`, content) {
			if strings.Contains(link, "://") {
				continue
			}
			target, anchor, _ := strings.Cut(link, "#")
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
				_, err := os.Stat(filepath.Join(process.Root(t), to))
				require.NoError(t, err, "%s links to %s", path, link)
			}
			if anchor != "" {
				require.Contains(t, anchors(documents[to]), anchor, "%s links to %s", path, link)
			}
		}
	}
}

// Paths of the repository in documents and comments are there; a star stands for any name.
func TestPathsExist(t *testing.T) {
	// Nothing of the repository is in shared: that would be a folder of whoever wrote it.
	const folder = `(?:deploy|docs|e2e|pkg|proto|scripts|services|shared)/`
	requirePaths := func(file string, paths []string) {
		for _, path := range paths {
			found, err := filepath.Glob(filepath.Join(process.Root(t), path))
			require.NoError(t, err, path)
			require.NotEmpty(t, found, "%s names %s", file, path)
		}
	}
	for document, content := range files(t, ".md") {
		requirePaths(document, groups("`("+folder+"[^` ]*)`", content))
		require.NotContains(t, content, " shared/", document)
	}
	for _, ending := range []string{".go", ".proto"} {
		for source, content := range files(t, ending) {
			comments := strings.Join(groups(`(?m)//(.*)$`, content), "\n")
			requirePaths(source, groups("[ (`\"]("+folder+`[\w./*-]*[\w*])`, comments))
		}
	}
}

func TestMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(process.Root(t), "Makefile"))
	require.NoError(t, err)
	targets := groups(`(?m)^([a-z0-9-]+):(?: |$)`, string(makefile))
	require.Contains(t, targets, "test")
	for document, content := range files(t, ".md") {
		for _, target := range groups("(?m)(?:`|^)make ([a-z0-9-]+)", content) {
			require.Contains(t, targets, target, "%s names make %s", document, target)
		}
	}
}

// restate runs the binary and returns what it prints.
func restate(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(process.Binary(t), args...)
	cmd.Dir = t.TempDir()
	printed, err := cmd.Output()
	require.NoError(t, err, args)
	return string(printed)
}

func TestCommandsExist(t *testing.T) {
	for document, content := range files(t, ".md") {
		for _, words := range groups("bin/restate ([a-z]+(?: [a-z]+)?)", content) {
			help := restate(t, append(strings.Fields(words), "--help")...)
			require.Regexp(t, `(?m)^  restate `+words+`( |$)`, help, "%s names restate %s", document, words)
		}
	}
}

// keys returns the keys of the configuration, with dots between their levels, sections included.
func keys(t *testing.T) []string {
	t.Helper()
	var found, path []string
	for line := range strings.Lines(restate(t, "config")) {
		key, _, ok := strings.Cut(strings.TrimLeft(line, " "), ":")
		if !ok || strings.HasPrefix(key, "-") {
			continue
		}
		const indent = 4
		depth := (len(line) - len(strings.TrimLeft(line, " "))) / indent
		path = append(path[:depth:depth], key)
		found = append(found, strings.Join(path, "."))
	}
	return found
}

func TestConfigurationKeysExist(t *testing.T) {
	documents := files(t, ".md")
	known := keys(t)
	// Those that set a key of another name, or none, and one of the SDK.
	variables := []string{
		"RESTATE_DEBUG_LOGGING", "RESTATE_CONFIG", "RESTATE_TRACING__LOG_FORMAT", "RESTATE_TRACING__ENDPOINT",
		"RESTATE_ADMIN_URL", "RESTATE_INGRESS_URL", // of the command of the original
	}
	sections := map[string]bool{}
	for _, key := range known {
		variables = append(variables, "RESTATE_"+strings.ToUpper(strings.ReplaceAll(key, ".", "__")))
		section, _, _ := strings.Cut(key, ".")
		sections[section] = true
	}
	for document, content := range documents {
		for _, key := range groups("`([a-z_]+\\.[a-z_.]+)`", content) {
			if section, _, _ := strings.Cut(key, "."); sections[section] {
				require.Contains(t, known, key, "%s names %s", document, key)
			}
		}
		for _, variable := range groups(`\b(RESTATE_[A-Z_]*[A-Z])\b`, content) {
			require.Contains(t, variables, variable, "%s names %s", document, variable)
		}
	}
}

// metric matches the names of the figures of our own.
const metric = `restate_(?:broker|ingress|invoker|meta|partition|storage)_[a-z_]+`

// Every metric is in the table of docs/operations.md, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	var defined []string
	for path, content := range files(t, ".go") {
		if !strings.HasSuffix(path, "_test.go") {
			defined = append(defined, groups(`"(`+metric+`)"`, content)...)
		}
	}
	documented := groups("(?m)^\\| `("+metric+")` \\|", files(t, "docs/operations.md")["docs/operations.md"])
	require.ElementsMatch(t, defined, documented)
	for document, content := range files(t, ".md") {
		for _, name := range groups("`("+metric+")`", content) {
			require.Contains(t, defined, name, "%s names %s", document, name)
		}
	}
}

// Every error code is in the table of docs/operations.md as it is published, and no other.
func TestErrorCodesAreDocumented(t *testing.T) {
	var published []string
	for _, e := range errcode.Entries() {
		published = append(published, fmt.Sprintf("| %#q | %s | %s |", e.Code, e.Summary, e.Advice))
	}
	documented := groups("(?m)^(\\| `(?:META|RT)[0-9]{4}` \\|.*)$", files(t, "docs/operations.md")["docs/operations.md"])
	require.Equal(t, published, documented)
}
