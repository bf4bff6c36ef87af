// Package process runs the real binaries for end-to-end tests: the runtime, in one process or with its daemons apart,
// and service endpoints on the SDKs. Every process has ports and folders of its own, so that tests run side by side.
package process

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
)

// Process is a program that a test runs. It is killed when the test ends.
type Process struct {
	t    testing.TB
	name string
	path string
	args []string
	env  []string
	dir  string
	log  string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// Spawn describes a process and starts it. Its output goes to a file, which is shown when the test fails.
func Spawn(t testing.TB, dir, name string, env []string, path string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: name, path: path, args: args, env: env, dir: dir, log: filepath.Join(dir, name+".log")}
	p.Start()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			p.dump()
		}
	})
	return p
}

// Start starts the process, again if it ran before.
func (p *Process) Start() {
	p.t.Helper()
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer output.Close() //nolint:errcheck // the process has its own descriptor
	//nolint:gosec,noctx // the test says which program, and when it ends
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, output, output
	cmd.Env = append(os.Environ(), p.env...)
	// The process ends with the test, whatever ends that.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(p.t, cmd.Start(), p.name)
	exited := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(exited)
	}()
}

// SetEnv sets a variable of the environment that the process is started with the next time.
func (p *Process) SetEnv(name, value string) { p.env = append(p.env, name+"="+value) }

// Kill ends the process as a crash does, and waits for its end.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Terminate asks the process to stop, and returns how it exited.
func (p *Process) Terminate() error {
	p.end(syscall.SIGTERM)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Process) end(signal syscall.Signal) {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	_ = cmd.Process.Signal(signal) // it may have ended by itself
	select {
	case <-exited:
	case <-time.After(await.Deadline):
		_ = cmd.Process.Kill()
		<-exited
		p.t.Errorf("%s did not end within %s of signal %s", p.name, await.Deadline, signal)
	}
}

// Log returns what the process has written so far.
func (p *Process) Log() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// dumpBytes is how much of the end of a log is shown.
const dumpBytes = 16 << 10

func (p *Process) dump() {
	log := p.Log()
	if len(log) > dumpBytes {
		log = "..." + log[len(log)-dumpBytes:]
	}
	p.t.Logf("log of %s:\n%s", p.name, log)
}

// AwaitHTTP waits until the URL answers 200.
func AwaitHTTP(t testing.TB, url string) {
	t.Helper()
	var last string
	deadline := time.Now().Add(await.Deadline)
	for {
		last = probe(url)
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s", url, last)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the pace of polling
	}
}

// probe returns why the URL does not answer 200, empty when it does.
func probe(url string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close() //nolint:errcheck // the status counts
	if response.StatusCode != http.StatusOK {
		return response.Status
	}
	return ""
}

// Root returns the top folder of the repository.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal(errors.New("not below a folder with go.work"))
		}
		dir = parent
	}
}

// Binary returns bin/restate, which `make build` makes.
func Binary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(Root(t), "bin", "restate")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(fmt.Errorf("run `make build` first: %w", err))
	}
	return path
}

func env(pairs ...string) []string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, strings.Join(pairs[i:i+2], "="))
	}
	return out
}
