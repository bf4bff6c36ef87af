package document

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/process"
)

// Run is a reader who follows a document.
type Run struct {
	Names
	// Instead is what is done in place of commands, by their text.
	Instead map[string]func()
	// Services are what the document calls programs, whose output it shows.
	Services map[string]*process.Service
	// Environment of the commands: name=value, ...
	Environment []string
}

// commandTimeout is longer than what any command of a document takes.
const commandTimeout = 2 * time.Minute

// Follow does what the blocks say, one after the other:
//
//   - sh: a command, which has to succeed, or print what the block after it says, if that is one of text or json. It runs
//     in the top folder, node in that of the examples. With the note "interrupted" it is not waited for;
//   - text, with the name of a program as its note: what the program prints in between;
//   - js, with the name of a file as its note: the program of that name below e2e/services.
func (r *Run) Follow(t testing.TB, blocks []Block) {
	t.Helper()
	for i := 0; i < len(blocks); i++ {
		block := blocks[i]
		switch block.Language {
		case "sh":
			var answer *Block
			if next := i + 1; next < len(blocks) && blocks[next].Note == "" && (blocks[next].Language == "text" || blocks[next].Language == "json") {
				answer = &blocks[next]
				i++
			}
			r.do(t, block, answer)
		case "text":
			service := r.Services[block.Note]
			require.NotNil(t, service, "line %d: nothing called %q runs", block.Line, block.Note)
			eventually(t, func() error {
				return r.Match(Block{Language: "text", Line: block.Line, Text: "...\n" + block.Text + "...\n"}, service.Log())
			})
		case "js":
			programs, err := filepath.Glob(filepath.Join(process.Root(t), "e2e", "services", "*", block.Note))
			require.NoError(t, err)
			require.Len(t, programs, 1, "line %d: %s", block.Line, block.Note)
			program, err := os.ReadFile(programs[0])
			require.NoError(t, err)
			require.Equal(t, string(program), block.Text, "line %d: the program is another one", block.Line)
		default:
			require.Fail(t, "nobody can tell whether this is true", "line %d: %s", block.Line, block.Language)
		}
	}
}

func (r *Run) do(t testing.TB, command Block, answer *Block) {
	t.Helper()
	text := strings.TrimSpace(command.Text)
	if instead, ok := r.Instead[text]; ok {
		require.Nil(t, answer, "line %d: its output is not looked at", command.Line)
		instead()
		return
	}
	// A document must not make a test do harm.
	program, _, _ := strings.Cut(text, " ")
	require.Contains(t, []string{"curl", "grpcurl", "node", "bin/restate"}, program, "line %d", command.Line)
	if command.Note == "interrupted" {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := r.command(ctx, t, text)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			cancel()
			_ = cmd.Wait() // it was interrupted
		})
		return
	}
	if answer == nil {
		require.NoError(t, r.output(t, text, nil), "line %d", command.Line)
		return
	}
	if !reads(text) {
		require.NoError(t, r.output(t, text, answer))
		return
	}
	// What it shows may still be on its way there.
	eventually(t, func() error { return r.output(t, text, answer) })
}

// eventually tries until there is no error, and fails with the last one.
func eventually(t testing.TB, try func() error) {
	t.Helper()
	for end := time.Now().Add(await.Deadline); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			require.NoError(t, err)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the pace of polling
	}
}

// reads says whether a command only looks at something, and can be repeated.
func reads(command string) bool {
	for _, sign := range []string{"node ", " -d ", " -X ", " --data", "register", "patch", "kill", "remove"} {
		if strings.Contains(command, sign) {
			return false
		}
	}
	return true
}

// output runs a command. What it prints is compared with the answer; without one it has to succeed.
func (r *Run) output(t testing.TB, text string, answer *Block) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	printed, err := r.command(ctx, t, text).CombinedOutput()
	switch {
	case answer != nil:
		err = r.Match(*answer, string(printed))
	case err != nil:
		err = fmt.Errorf("%w: %s", err, printed)
	}
	return err
}

func (r *Run) command(ctx context.Context, t testing.TB, text string) *exec.Cmd {
	t.Helper()
	root := process.Root(t)
	cmd := exec.CommandContext(ctx, "bash", "-c", r.Translate(text)) //nolint:gosec // a command of ours
	cmd.Dir = root
	if strings.HasPrefix(text, "node ") {
		cmd.Dir = filepath.Join(root, "e2e", "services", "example")
	}
	cmd.Env = append(append(os.Environ(), "CURL_HOME="+quiet(t), "RESTATE_DEBUG_LOGGING=OFF",
		"PATH="+filepath.Join(root, ".tools", "bin")+string(os.PathListSeparator)+os.Getenv("PATH")), r.Environment...)
	return cmd
}

// quiet returns a folder with a configuration of curl in which it shows no progress, as on a terminal.
func quiet(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".curlrc"), []byte("silent\nshow-error\n"), 0o600))
	return dir
}
