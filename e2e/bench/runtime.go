package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restate-go/restate/pkg/port"
)

// server is a running server that is measured, with the endpoint registered there.
type server struct {
	// name of what it is.
	name string
	// ingress and meta are addresses, host:port.
	ingress, meta string
	// pids are the processes that are measured; none: they are not known.
	pids []int
	// probes are the addresses of the processes' probes, by the names of the processes.
	probes map[string]string
	// programs are what stop stops, in the order in which they were started.
	programs []*program
	dir      string
}

const runtimeName = "runtime"

// startTimeout bounds the time that processes may take to become ready.
const startTimeout = time.Minute

// starter starts a server with an empty folder and waits until it is ready. The server that is returned is to be stopped,
// also after an error.
type starter func(context.Context, Config) (*server, error)

// startRuntime is a starter.
func startRuntime(ctx context.Context, cfg Config) (*server, error) {
	s := &server{name: runtimeName, probes: map[string]string{}}
	if cfg.Ingress != "" {
		s.ingress, s.meta, s.pids = cfg.Ingress, cfg.Meta, cfg.PIDs
		return s, nil
	}
	binary, err := filepath.Abs(cfg.Binary)
	if err != nil {
		return s, err
	}
	if s.dir, err = os.MkdirTemp(cfg.Dir, "bench-"); err != nil {
		return s, err
	}
	var broker, storage string
	for _, address := range []*string{&s.ingress, &s.meta, &broker, &storage} {
		if *address, err = port.Free(ctx); err != nil {
			return s, err
		}
	}
	environment := []string{
		"RESTATE_INGRESS__BIND_ADDRESS=" + s.ingress, "RESTATE_META__BIND_ADDRESS=" + s.meta,
		"RESTATE_STORAGE__BIND_ADDRESS=" + storage, "RESTATE_OBSERVABILITY__LOG__FORMAT=Compact",
		"RESTATE_OBSERVABILITY__PPROF=" + strconv.FormatBool(cfg.Profiles != ""),
	}
	targets := []string{"all"}
	if cfg.Apart {
		targets = []string{"broker", "partition-worker", "meta", "ingress"}
		environment = append(environment, "RESTATE_BROKER__BIND_ADDRESS="+broker, "RESTATE_BROKER__URL=nats://"+broker)
	}
	for _, target := range targets {
		if err := s.start(ctx, binary, target, environment); err != nil {
			return s, err
		}
	}
	for name, address := range s.probes {
		err := poll(ctx, startTimeout, func(ctx context.Context) error {
			return request(ctx, http.MethodGet, "http://"+address+"/ready", "", io.Discard)
		})
		if err != nil {
			return s, fmt.Errorf("%s is not ready: %w", name, err)
		}
	}
	return s, nil
}

func (s *server) start(ctx context.Context, binary, target string, environment []string) error {
	probes, err := port.Free(ctx)
	if err != nil {
		return err
	}
	environment = slices.Concat(environment, []string{"RESTATE_HEALTH__BIND_ADDRESS=" + probes})
	started, err := startProgram(s.dir, target, environment, binary, "--target", target)
	if err != nil {
		return err
	}
	s.programs = append(s.programs, started)
	s.pids = append(s.pids, started.cmd.Process.Pid)
	s.probes[target] = probes
	return nil
}

// stop stops what was started, users of others first, and deletes the data.
func (s *server) stop() error {
	var errs []error
	for _, p := range slices.Backward(s.programs) {
		errs = append(errs, p.stop())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// logs returns the ends of the logs.
func (s *server) logs() string {
	var logs strings.Builder
	for _, p := range s.programs {
		fmt.Fprintln(&logs, p.tail())
	}
	return logs.String()
}

// register registers the endpoint.
func (s *server) register(ctx context.Context, services Services, url string) error {
	path := "/deployments"
	if services == Protobuf {
		path = "/endpoints"
	}
	body := fmt.Sprintf(`{"uri": %q, "force": true}`, url)
	if err := request(ctx, http.MethodPost, "http://"+s.meta+path, body, io.Discard); err != nil {
		return fmt.Errorf("registering the endpoint: %w", err)
	}
	return nil
}

// request sends a request, with a JSON body unless that is empty, and copies the answer. A status of failure is an error.
func request(ctx context.Context, method, url, body string, into io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it is read to its end
	if response.StatusCode >= http.StatusMultipleChoices {
		text, err := io.ReadAll(response.Body)
		return errors.Join(fmt.Errorf("%s answers %s: %s", url, response.Status, text), err)
	}
	_, err = io.Copy(into, response.Body)
	return err
}
