// Command bench measures the runtime. docs/performance.md says how, and has the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/restate-go/restate/e2e/bench"
	"github.com/restate-go/restate/e2e/light"
	"github.com/restate-go/restate/e2e/sdkgo"
)

// endpoint is the argument with which the program starts itself as the endpoint, which is to be a process of its own.
const endpoint = "endpoint"

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	cancel()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == endpoint {
		return serve(ctx, bench.Services(args[1]), args[2])
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cfg := bench.Config{
		Endpoint: []string{self, endpoint}, Services: []bench.Services{bench.Protobuf},
		Progress: func(what string) { fmt.Fprintln(os.Stderr, what, "...") },
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.DurationVar(&cfg.Duration, "duration", 5*time.Second, "how long each scenario is measured")
	flags.DurationVar(&cfg.Warmup, "warmup", time.Second, "how long each scenario runs before that")
	flags.DurationVar(&cfg.Idle, "idle", 10*time.Second, "how long the server is watched without calls")
	flags.IntVar(&cfg.Repeat, "repeat", 1, "how often everything is measured, each time with a new server; the table has medians")
	flags.Func("only", "scenarios to measure, with commas between them: hello, hello-64, ... (default all)", func(text string) error {
		cfg.Only = strings.Split(text, ",")
		return nil
	})
	flags.Func("services", "what is called, with commas between them: protobuf, light, sdk-go (default protobuf)", func(text string) error {
		cfg.Services = nil
		for name := range strings.SplitSeq(text, ",") {
			if !slices.Contains(bench.AllServices(), bench.Services(name)) {
				return fmt.Errorf("there are no services %q", name)
			}
			cfg.Services = append(cfg.Services, bench.Services(name))
		}
		return nil
	})
	flags.StringVar(&cfg.Peer, "peer", "", "a restate-server to be measured in turns with the runtime; not with protobuf services")
	flags.BoolVar(&cfg.Apart, "apart", false, "run each daemon in a process of its own")
	flags.StringVar(&cfg.Binary, "binary", "bin/restate", "the runtime to start")
	flags.StringVar(&cfg.Dir, "dir", "tmp", "folder for temporary data, on the disk that counts")
	flags.StringVar(&cfg.Ingress, "url", "", "host:port of the ingress of a runtime that runs already, to be measured instead")
	flags.StringVar(&cfg.Meta, "meta", "127.0.0.1:8081", "host:port of meta of that runtime")
	flags.Func("pid", "process of that runtime, to know what it uses up; may be repeated", func(text string) error {
		pid, err := strconv.Atoi(text)
		cfg.PIDs = append(cfg.PIDs, pid)
		return err
	})
	flags.StringVar(&cfg.Profiles, "cpuprofile", "", "folder for CPU profiles of the runtime that is started, one for each scenario and process")
	output := flags.String("json", "", "file for the figures as JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q?", flags.Arg(0))
	}
	cfg.Ingress, cfg.Meta = strings.TrimPrefix(cfg.Ingress, "http://"), strings.TrimPrefix(cfg.Meta, "http://")
	report, err := bench.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if err := report.WriteTable(os.Stdout); err != nil || *output == "" {
		return err
	}
	return writeJSON(report, *output)
}

func writeJSON(report bench.Report, path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return report.WriteJSON(file)
}

// serve is the endpoint, until a signal ends it.
func serve(ctx context.Context, services bench.Services, address string) error {
	server, err := newServer(services)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-served:
		return err
	}
}

func newServer(services bench.Services) (*http.Server, error) {
	switch services {
	case bench.Protobuf:
		return light.NewServer()
	case bench.Light:
		return light.NewHandlers(), nil
	case bench.SDKGo:
		return sdkgo.NewServer()
	default:
		return nil, fmt.Errorf("there are no services %q", services)
	}
}
