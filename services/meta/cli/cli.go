// Package cli holds the commands that operate a runtime through the REST API of its meta daemon.
package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// NewCommands returns the commands deployments, endpoints, services and invocations, each with its subcommands. They write
// to the command's output: tables for people, or with --json the answers of meta as they are. find returns where meta is
// served, host:port, unless a flag says so; empty when that is not known.
func NewCommands(find func() (string, error)) []*cobra.Command {
	run := runner(find)
	commands := []*cobra.Command{deploymentsCommand(run), endpointsCommand(run), servicesCommand(run), invocationsCommand(run)}
	for _, c := range commands {
		c.PersistentFlags().String("meta", "", "where meta is served (default as configured, meta.bind_address)")
		c.PersistentFlags().Bool("json", false, "print the answer as JSON")
	}
	return commands
}

// group returns a command that only has subcommands.
func group(use, short string, aliases []string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Aliases: aliases, Args: cobra.NoArgs}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.AddCommand(commands...)
	return c
}

// session is one run of a command.
type session struct {
	client *client
	out    io.Writer
	json   bool
}

// action is a command's work on its arguments.
type action func(cmd *cobra.Command, s *session, args []string) error

// running makes an action what cobra calls.
type running func(work action) func(*cobra.Command, []string) error

// runner makes a session of the flags for each action.
func runner(find func() (string, error)) running {
	return func(work action) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			address, err := cmd.Flags().GetString("meta")
			if err != nil {
				return err
			}
			if address == "" {
				if address, err = find(); err != nil {
					return err
				}
			}
			plain, err := cmd.Flags().GetBool("json")
			if err != nil {
				return err
			}
			made, err := newClient(address)
			if err != nil {
				return err
			}
			return work(cmd, &session{client: made, out: cmd.OutOrStdout(), json: plain}, args)
		}
	}
}

// show prints an answer: as JSON, or by the function for people.
func (s *session) show(answer any, people func() error) error {
	if !s.json {
		return people()
	}
	encoder := json.NewEncoder(s.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(answer)
}

// say prints a line for people; with --json there is nothing to say.
func (s *session) say(format string, args ...any) error {
	if s.json {
		return nil
	}
	_, err := fmt.Fprintf(s.out, format+"\n", args...)
	return err
}

// milliseconds is RFC 3339 with milliseconds, which all times are printed with.
const milliseconds = "2006-01-02T15:04:05.000Z07:00"

// shownTime returns a time of meta in the one form that is printed.
func shownTime(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return text
	}
	return t.Format(milliseconds)
}

// table prints rows in columns under their titles. Rows may be short.
func (s *session) table(titles []string, rows [][]string) error {
	var aligned bytes.Buffer
	w := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{titles}, rows...) {
		// A cell counts for the width of its column only if another follows.
		row = append(slices.Clone(row), make([]string, len(titles)-len(row))...)
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(aligned.String()) {
		if _, err := fmt.Fprintln(s.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// details prints what is known of one thing, a line each; what is empty is left out.
func (s *session) details(lines [][2]string) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		if line[1] == "" {
			continue
		}
		// Further lines of a value stay in its column.
		value := strings.ReplaceAll(strings.TrimSpace(line[1]), "\n", "\n\t")
		if _, err := fmt.Fprintf(w, "%s:\t%s\n", line[0], value); err != nil {
			return err
		}
	}
	return w.Flush()
}
