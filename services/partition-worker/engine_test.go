package partitionworker_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// One engine runs the handlers of all SDKs. What it is made of imports no wire protocol, and asks neither which version
// an invocation is pinned to nor how a service was discovered. Only the codecs do, and what chooses one.
func TestEngineKnowsNoGeneration(t *testing.T) {
	asked := map[string]bool{
		"ServiceProtocolVersion": true, "GetServiceProtocolVersion": true, "MinProtocolVersion": true, "MaxProtocolVersion": true,
		"MinServiceProtocol": true, "MaxServiceProtocol": true, "SeededServiceProtocol": true, "HasManifest": true,
		"Descriptor": true, // which services of one generation have
	}
	chooses := filepath.Join("invoker", "codec.go")
	seen := map[string]bool{}
	err := filepath.WalkDir("internal", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		within, err := filepath.Rel("internal", path)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && (within == filepath.Join("invoker", "protocol") || within == "embedded"): // the codecs
			return filepath.SkipDir
		case entry.IsDir() || within == chooses || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		seen[filepath.Dir(within)] = true
		for _, imported := range file.Imports {
			name := strings.Trim(imported.Path.Value, `"`)
			for _, wire := range []string{"/pkg/serviceprotocol/v", "/invoker/protocol/v", "/gen/dev/restate/service/"} {
				require.NotContains(t, name, wire, path)
			}
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if identifier, ok := node.(*ast.Ident); ok {
				require.False(t, asked[identifier.Name], "%s mentions %s", path, identifier.Name)
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	for _, part := range []string{"statemachine", "partition", "leadership", "shuffle", "timers", "query", "invoker"} {
		require.True(t, seen[part], part)
	}
}
