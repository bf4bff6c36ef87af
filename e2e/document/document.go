// Package document runs what a document of the repository tells its readers to do, and compares what comes of it with
// what the document says.
package document

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
)

// Block is a block of code in a document.
type Block struct {
	// Language is the first word after the fence, Note what follows it.
	Language, Note string
	Text           string
	// Line is where it begins.
	Line int
}

const fence = "```"

// Read returns the blocks of the document, whose path begins at the top of the repository, in order. With a heading,
// only those between it and the next of the same level are returned.
func Read(t testing.TB, path, heading string) []Block {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(process.Root(t), path))
	require.NoError(t, err)
	blocks := parse(string(content), heading)
	require.NotEmpty(t, blocks, "%s has no code below %q", path, heading)
	return blocks
}

func parse(content, heading string) []Block {
	var blocks []Block
	var open *Block
	level, _, _ := strings.Cut(heading, " ")
	wanted := heading == ""
	number := 0
	for line := range strings.Lines(content) {
		number++
		text := strings.TrimRight(line, "\n")
		info, isFence := strings.CutPrefix(text, fence)
		switch {
		case open != nil && isFence:
			if wanted {
				blocks = append(blocks, *open)
			}
			open = nil
		case open != nil:
			open.Text += line
		case isFence:
			open = &Block{Line: number}
			open.Language, open.Note, _ = strings.Cut(info, " ")
		case heading != "" && strings.HasPrefix(text, level+" "):
			wanted = text == heading
		}
	}
	return blocks
}
