package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// program is a process that the benchmark has started.
type program struct {
	name   string
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// startProgram starts a program in the folder. Its output goes to a file there.
func startProgram(dir, name string, environment []string, command ...string) (*program, error) {
	p := &program{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	output, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer output.Close()                             //nolint:errcheck // the process has its own descriptor
	p.cmd = exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // the caller says what to run, and stops it
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, output, output
	p.cmd.Env = append(os.Environ(), environment...)
	// The process ends with the benchmark, whatever ends that.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.exited)
	}()
	return p, nil
}

const stopTimeout = time.Minute

// stop asks the process to end, and ends it if it does not.
func (p *program) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s did not stop within %s", p.name, stopTimeout)
	}
}

// logTail is how much of the end of a log is shown.
const logTail = 4 << 10

// tail returns the end of the log.
func (p *program) tail() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("log of %s:\n%s", p.name, content[max(0, len(content)-logTail):])
}

// poll calls ask until it succeeds, and returns its last error if the time is up or the context ends before.
func poll(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	const pace = 20 * time.Millisecond
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
