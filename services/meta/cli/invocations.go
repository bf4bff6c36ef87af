package cli

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/restate-go/restate/services/meta/internal/api"
)

func invocationsCommand(run running) *cobra.Command {
	commands := append([]*cobra.Command{
		listInvocationsCommand(run),
		{
			Use: "describe ID", Short: "Show an invocation", Aliases: []string{"get"}, Args: cobra.ExactArgs(1), RunE: run(describeInvocation),
		},
	}, operationCommands(run)...)
	return group("invocations", "List invocations, and end, pause or restart them", []string{"invocation", "inv"}, commands...)
}

func listInvocationsCommand(run running) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the invocations that are not over", Aliases: []string{"ls"}, Args: cobra.NoArgs}
	service := c.Flags().String("service", "", "only those of the service")
	endpoint := c.Flags().String("endpoint", "", "only those that began on the endpoint, by its id")
	status := c.Flags().String("status", "",
		"only those of the status: scheduled, pending, running, backing-off, suspended, paused, or completed while the result is kept")
	limit := c.Flags().Uint32("limit", 100, "at most so many, 1 to 10000")
	c.RunE = run(func(cmd *cobra.Command, s *session, _ []string) error {
		query := url.Values{"limit": {strconv.FormatUint(uint64(*limit), 10)}}
		if *service != "" {
			query.Set("service", *service)
		}
		if *endpoint != "" {
			query.Set("endpoint", *endpoint)
		}
		if *status != "" {
			query.Set("status", *status)
		}
		var found api.Invocations
		if err := s.client.call(cmd.Context(), http.MethodGet, []string{"invocations"}, query, nil, &found); err != nil {
			return err
		}
		for _, reason := range found.Unreachable {
			cmd.PrintErrln("some invocations may be missing:", reason)
		}
		return s.show(found, func() error {
			rows := make([][]string, len(found.Invocations))
			for i, v := range found.Invocations {
				rows[i] = []string{v.ID, targetText(v), v.Status, shownTime(v.CreatedAt), firstLine(lastFailure(v), maxFailure)}
			}
			return s.table([]string{"ID", "TARGET", "STATUS", "CREATED", "LAST FAILURE"}, rows)
		})
	})
	return c
}

func describeInvocation(cmd *cobra.Command, s *session, args []string) error {
	var v api.Invocation
	if err := s.client.call(cmd.Context(), http.MethodGet, []string{"invocations", args[0]}, nil, nil, &v); err != nil {
		return err
	}
	return s.show(v, func() error {
		attempts := ""
		if v.Attempts > 0 {
			attempts = strconv.FormatUint(uint64(v.Attempts), 10)
		}
		return s.details([][2]string{
			{"ID", v.ID}, {"Target", v.Service + "/" + v.Method}, shownKey(v),
			{"Status", v.Status}, {"Result", resultOf(v)}, {"Created", shownTime(v.CreatedAt)}, {"Modified", shownTime(v.ModifiedAt)}, {"Scheduled for", shownTime(v.ScheduledAt)},
			{"Expires", shownTime(v.ExpiresAt)}, {"Endpoint", v.EndpointID}, {"Journal length", strconv.FormatUint(uint64(v.JournalLength), 10)},
			{"Invoked by", v.InvokedBy}, {"Attempts", attempts}, {"Last failure", lastFailure(v)}, {"Next attempt", shownTime(v.NextAttemptAt)},
		})
	})
}

// The most characters of a key and of a failure in a row of a table.
const (
	maxKey     = 40
	maxFailure = 100
)

// targetText names what an invocation runs, with the key of the service instance.
func targetText(v api.Invocation) string {
	if v.Key == "" {
		return v.Service + "/" + v.Method
	}
	return v.Service + "/" + firstLine(shownKey(v)[1], maxKey) + "/" + v.Method
}

// firstLine returns what a table has room for: of several lines the first, and no more characters than the bound.
func firstLine(text string, bound int) string {
	first, _, more := strings.Cut(strings.TrimSpace(text), "\n")
	first = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.TrimSpace(first))
	if runes := []rune(first); len(runes) > bound {
		first, more = string(runes[:bound-1]), true
	}
	if more {
		first += "…"
	}
	return first
}

// shownKey is a line with a service key: as text where it is, or was made from, text that can be printed, else as base64.
func shownKey(v api.Invocation) [2]string {
	if text, ok := keyText(v); ok {
		return [2]string{"Key", text}
	}
	if v.KeyEncoding == "" {
		return [2]string{"Key", strconv.Quote(v.Key)}
	}
	return [2]string{"Key (base64)", v.Key}
}

// keyText returns the text that the service key is; services with protobuf messages have it behind its length. ok is false
// where it cannot be printed.
func keyText(v api.Invocation) (text string, ok bool) {
	text = v.Key
	if v.KeyEncoding != "" {
		stored, err := base64.StdEncoding.DecodeString(v.Key)
		length, n := binary.Uvarint(stored)
		if err != nil || n <= 0 || length != uint64(len(stored)-n) { //nolint:gosec // n <= len(stored)
			return "", false
		}
		text = string(stored[n:])
	}
	return text, !strings.ContainsFunc(text, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) })
}

// resultOf says how a completed invocation ended.
func resultOf(v api.Invocation) string {
	if v.CompletionResult != "failure" {
		return v.CompletionResult
	}
	return fmt.Sprintf("failure %d: %s", v.CompletionFailureCode, v.CompletionFailure)
}

func lastFailure(v api.Invocation) string {
	if v.LastFailureCode == "" {
		return v.LastFailure
	}
	return "[" + v.LastFailureCode + "] " + v.LastFailure
}
