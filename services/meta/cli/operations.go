package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/restate-go/restate/services/meta/internal/api"
)

// operationCommands do something to each invocation that is named. They go on after a failure, and return all of them.
func operationCommands(run running) []*cobra.Command {
	kill := operationCommand(run, "kill", "Kill invocations, and the calls that they wait for: each ends at once", "Killed %s")
	cancel := operationCommand(run, "cancel", "Tell invocations to end; those that have not begun end at once", "Canceled %s")
	pause := operationCommand(run, "pause", "Stop the attempts of invocations until they are resumed", "Paused %s")
	resume := operationCommand(run, "resume", "Begin an attempt of each invocation now", "Resumed %s")
	deploymentFlag(resume)
	purge := operationCommand(run, "purge", "Forget completed invocations", "Purged %s")
	journal := purge.Flags().Bool("journal", false, "forget their journals only, and keep their results")
	purge.RunE = run(func(cmd *cobra.Command, s *session, args []string) error {
		if *journal {
			return operate("purge-journal", "Purged the journal of %s")(cmd, s, args)
		}
		return operate("purge", "Purged %s")(cmd, s, args)
	})
	restart := operationCommand(run, "restart", "Run completed invocations again, under new ids", "")
	deploymentFlag(restart)
	restart.Flags().Uint32("from", 0, "take the journal over up to the entry with this index; 0 is the input")
	restart.RunE = run(operate("restart-as-new", "Restarted %s as %s"))
	return []*cobra.Command{cancel, kill, pause, resume, purge, restart}
}

func operationCommand(run running, name, short, done string) *cobra.Command {
	return &cobra.Command{Use: name + " ID...", Short: short, Args: cobra.MinimumNArgs(1), RunE: run(operate(name, done))}
}

func deploymentFlag(c *cobra.Command) {
	c.Flags().String("deployment", "", "keep, latest or the id of a deployment")
}

// operate prints a line for each success; the words take the id, and the new one of a restarted invocation.
func operate(name, done string) action {
	return func(cmd *cobra.Command, s *session, args []string) error {
		query := url.Values{}
		if f := cmd.Flags().Lookup("deployment"); f != nil && f.Changed {
			query.Set("deployment", f.Value.String())
		}
		if from, err := cmd.Flags().GetUint32("from"); err == nil && from > 0 {
			query.Set("from", strconv.FormatUint(uint64(from), 10))
		}
		var failed error
		for _, id := range args {
			var restarted api.Restarted
			into := any(nil)
			words := []any{id}
			if name == "restart-as-new" {
				into = &restarted
			}
			status, err := s.client.send(cmd.Context(), http.MethodPatch, []string{"invocations", id, name}, query, nil, into)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s %s: %w", name, id, err))
				continue
			}
			if into != nil {
				words = append(words, restarted.ID)
			}
			said := done
			if name == "cancel" && status == http.StatusAccepted { // its handler has been told, and ends by itself
				said = "Told %s to cancel"
			}
			if err := s.say(said, words...); err != nil {
				return err
			}
		}
		return failed
	}
}
