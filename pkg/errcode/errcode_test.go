package errcode_test

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
)

// update appends codes that are new to the file of what is published: go test ./pkg/errcode -update.
var update = flag.Bool("update", false, "append new codes to the golden file")

const goldenFile = "testdata/published.golden"

// Codes are published: the file is appended to, its lines are never changed or removed.
func TestPublishedCodesStay(t *testing.T) {
	golden, err := os.ReadFile(goldenFile)
	require.NoError(t, err)
	published := map[string]string{}
	for line := range strings.Lines(string(golden)) {
		code, summary, ok := strings.Cut(strings.TrimSpace(line), " ")
		require.True(t, ok, line)
		require.NotContains(t, published, code)
		published[code] = summary
	}
	var added strings.Builder
	present := map[string]bool{}
	for _, e := range errcode.Entries() {
		require.False(t, present[string(e.Code)], "%s is given twice", e.Code)
		present[string(e.Code)] = true
		if _, ok := published[string(e.Code)]; !ok && *update {
			fmt.Fprintf(&added, "%s %s\n", e.Code, e.Summary)
			continue
		}
		require.Equal(t, published[string(e.Code)], e.Summary, "%s means something else than published", e.Code)
	}
	for code := range published {
		require.True(t, present[code], "%s was published, and is gone", code)
	}
	if added.Len() > 0 {
		require.NoError(t, os.WriteFile(goldenFile, append(golden, added.String()...), 0o600))
	}
}

// A constant without an entry would reach users without advice.
func TestEveryConstantHasAnEntry(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errcode.go", nil, 0)
	require.NoError(t, err)
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		require.NotEmpty(t, errcode.Code(text).Summary(), text)
		require.NotEmpty(t, errcode.Code(text).Advice(), text)
		found++
		return true
	})
	require.Len(t, errcode.Entries(), found)
}

func TestOfFindsTheCodeOfAWrappedError(t *testing.T) {
	err := fmt.Errorf("register: %w", errcode.New(errcode.BadKey, "no key"))
	require.Equal(t, errcode.BadKey, errcode.Of(err, errcode.InvocationFailed))
	require.Equal(t, errcode.InvocationFailed, errcode.Of(errors.New("other"), errcode.InvocationFailed))
	require.Equal(t, "register: [META0002] no key", err.Error())
}

func TestMessageLeavesTheCodeOut(t *testing.T) {
	coded := errcode.New(errcode.NetworkFailed, "refused")
	require.Equal(t, "refused", errcode.Message(coded))
	require.Equal(t, "plain", errcode.Message(errors.New("plain")))
	require.Equal(t, "call: [RT0010] refused", errcode.Message(fmt.Errorf("call: %w", coded)))
}

func TestExplain(t *testing.T) {
	locked := fmt.Errorf("start: %w", errcode.New(errcode.DatabaseLocked, "it is open"))
	require.Equal(t, "start: [RT0005] it is open\n"+errcode.DatabaseLocked.Advice(), errcode.Explain(locked))
	require.Equal(t, "oh", errcode.Explain(errors.New("oh")))
}
