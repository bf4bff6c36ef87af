package assembly

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/telemetry"
)

// Command returns the command line of the process: without a subcommand it runs the daemons; config prints what is in
// force, health asks a running process, version says which this is.
func (p *Process) Command(short string) *cobra.Command {
	root := &cobra.Command{
		Use: p.name, Short: short, Version: p.version, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
	}
	layers := p.flags(root)
	p.layers = layers
	dump := root.Flags().Bool("dump-config", false, "print the configuration in force and exit")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		warnings, err := p.Load(layers())
		if err != nil {
			return err
		}
		if *dump {
			return p.print(cmd.OutOrStdout())
		}
		log, err := telemetry.NewLogger(cmd.ErrOrStderr(), p.telemetry.Log)
		if err != nil {
			return err
		}
		// What libraries log by themselves is for looking at a fault: some of it is a line for each frame that a peer sends.
		slog.SetLogLoggerLevel(slog.LevelDebug)
		slog.SetDefault(log)
		for _, warning := range warnings {
			log.Warn(warning)
		}
		return p.Run(cmd.Context(), log)
	}
	root.AddCommand(p.configCommand(layers), p.healthCommand(layers), &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), p.name, p.version)
			return err
		},
	})
	return root
}

// flags adds the flags that are about the configuration, and returns how to read them.
func (p *Process) flags(root *cobra.Command) func() config.Layers {
	flags := root.PersistentFlags()
	file := flags.StringP("config-file", "c", "", "configuration file (default RESTATE_CONFIG, else restate.yaml if there is one)")
	set := flags.StringArray("set", nil, "set a key of the configuration: section.key=value; may be repeated")
	named := map[string]string{"base-dir": "base_dir", "log-format": "observability.log.format"}
	flags.String("base-dir", "", fmt.Sprintf("directory that all data lies below (default %q)", p.settings.BaseDir))
	flags.String("log-format", "", fmt.Sprintf("Pretty, Compact or Json (default %q)", p.telemetry.Log.Format))
	if !p.single {
		named["target"] = "target"
		flags.String("target", "", fmt.Sprintf("which daemons to run, with commas between them: %s, %s or %s (default %q)",
			targetAll, strings.Join(p.names(), ", "), targetBroker, targetAll))
	}
	return func() config.Layers {
		layers := config.Layers{File: *file}
		for flag, key := range named {
			given := flags.Lookup(flag)
			if !given.Changed {
				continue
			}
			value := strconv.Quote(given.Value.String())
			if flag == "target" {
				value = "[" + given.Value.String() + "]"
			}
			layers.Settings = append(layers.Settings, key+"="+value)
		}
		layers.Settings = append(layers.Settings, *set...)
		return layers
	}
}

func (p *Process) names() []string {
	names := make([]string, len(p.daemons))
	for i, d := range p.daemons {
		names[i] = d.Name
	}
	return names
}

// Find returns where the daemon's public listener is reached, host:port, according to the flags of Command and the other
// layers; empty when that is not known.
func (p *Process) Find(name string) (string, error) {
	if _, err := p.Load(p.layers()); err != nil {
		return "", err
	}
	for _, d := range p.daemons {
		if d.Name == name && d.Address != nil {
			return reachable(d.Address()), nil
		}
	}
	return "", nil
}

func (p *Process) print(w io.Writer) error {
	dump, err := p.Dump()
	if err != nil {
		return err
	}
	_, err = w.Write(dump)
	return err
}

func (p *Process) configCommand(layers func() config.Layers) *cobra.Command {
	return &cobra.Command{
		Use: "config", Short: "Print the configuration in force as YAML, secrets masked", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			warnings, err := p.Load(layers())
			if err != nil {
				return err
			}
			for _, warning := range warnings {
				cmd.PrintErrln("warning:", warning)
			}
			return p.print(cmd.OutOrStdout())
		},
	}
}

// probeTimeout bounds the command, so that a process that hangs counts as one that does not live.
const probeTimeout = 5 * time.Second

func (p *Process) healthCommand(layers func() config.Layers) *cobra.Command {
	cmd := &cobra.Command{
		Use: "health", Short: "Ask the process that runs with this configuration whether it is ready; exit status 1 if not",
		Args: cobra.NoArgs,
	}
	alive := cmd.Flags().Bool("alive", false, "ask whether it lives, ready or not")
	address := cmd.Flags().String("address", "", "host:port to ask (default health.bind_address, else a daemon's own port)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := p.Load(layers()); err != nil {
			return err
		}
		at := *address
		if at == "" {
			at = p.probeAddress()
		}
		if at == "" {
			return errors.New("where to ask is not known: set health.bind_address to a port, or pass --address")
		}
		path := "/ready"
		if *alive {
			path = "/health"
		}
		return probe(cmd.Context(), "http://"+at+path, cmd.OutOrStdout())
	}
	return cmd
}

func (p *Process) probeAddress() string {
	if address := reachable(p.probes.BindAddress); address != "" {
		return address
	}
	chosen, err := p.chosen()
	if err != nil {
		return ""
	}
	for _, d := range chosen {
		if !d.Probes {
			continue
		}
		if address := reachable(d.Address()); address != "" {
			return address
		}
	}
	return ""
}

func probe(ctx context.Context, url string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	// Without the proxies of the environment: the process is on this machine.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if _, err := out.Write(body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// Main executes the command line and exits the program.
func Main(command *cobra.Command) {
	if err := command.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", command.Name(), errcode.Explain(err))
		os.Exit(1)
	}
	os.Exit(0)
}
