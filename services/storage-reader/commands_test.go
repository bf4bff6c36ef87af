package storagereader_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/storage-reader/cli"
	"github.com/restate-go/restate/services/storage-reader/internal/rowstest"
)

// update has the golden file written anew: go test . -update.
var update = flag.Bool("update", false, "write the golden file")

// run runs a command, which finds the storage-reader at the address, and returns what it prints.
func run(address string, args ...string) (string, error) {
	root := &cobra.Command{Use: "restate", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(cli.NewCommand(func() (string, error) {
		if address == "" {
			return "", errors.New("it is not configured")
		}
		return address, nil
	}))
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

// filled starts a storage-reader beside a database with rows of every table.
func filled(t *testing.T) *running {
	t.Helper()
	r, store := start(t)
	rowstest.Fill(t, func(partition uint32) kv.Space {
		space, err := store.Space(partition)
		require.NoError(t, err)
		return space
	})
	return r
}

func TestCommands(t *testing.T) {
	r := filled(t)
	var out bytes.Buffer
	for _, table := range []string{
		"deduplication", "partition_state_machine", "inbox", "journal", "outbox", "state", "status", "timers",
	} {
		people, err := run(r.address, "storage", "scan", table)
		require.NoError(t, err)
		machines, err := run(r.address, "storage", "scan", table, "--json")
		require.NoError(t, err)
		for line := range strings.Lines(machines) {
			require.True(t, json.Valid([]byte(line)), line)
		}
		fmt.Fprintf(&out, "$ restate storage scan %s\n%s$ restate storage scan %s --json\n%s", table, people, table, machines)
	}
	const golden = "testdata/commands.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

// TestFlags counts the rows that are left.
func TestFlags(t *testing.T) {
	r := filled(t)
	for command, want := range map[string]int{
		"state":                                                 3,
		"state --service Counter":                               2,
		"state --service Other":                                 0,
		"state --key a":                                         3,
		"state --service Cart --key a":                          1,
		"state --service Cart --key 0x61":                       1,
		"state --key 0x0161":                                    2,
		"state --key b":                                         0,
		"state --key a --state-key count":                       1,
		"state --state-key 0x7a":                                1,
		"state --partition-key 121584814":                       2,
		"state --partition-key 1":                               0,
		"state --limit 1":                                       1,
		"status --service Counter":                              1,
		"status --key " + uuidOf(3):                             1,
		"journal --key " + rowstest.Mail().String():             1,
		"timers --invocation " + rowstest.CartHolder().String(): 1,
		"journal --service Cart --key a --index 1":              1,
		"journal --key a":                                       35,
		"status --service Cart --key a":                         1,
		"timers --service Cart --key b":                         1,
		"journal --key a --index 3":                             2,
		"journal --limit 5":                                     5,
		"inbox --sequence 7":                                    1,
		"inbox --sequence 8":                                    0,
		"outbox --partition-id 1 --sequence 10":                 1,
		"outbox --partition-id 2":                               0,
		"deduplication --producer 2":                            1,
		"partition-state-machine --state 1":                     1,
		"partition_state_machine":                               2,
		"timers":                                                6,
		"timers --from 1970-01-01T00:00:05Z":                    5,
		"timers --to 1970-01-01T00:00:05Z":                      2,
		"timers --from 1970-01-01T00:00:02.001Z --to 1970-01-01T00:00:05.999Z": 1,
		"timers --invocation " + uuidOf(1):                                     2,
		"timers --index 6 --service Counter":                                   1,
		"timers --partition-id 1 --from 1970-01-01T00:00:00Z":                  1,
	} {
		args := append([]string{"storage", "scan", "--json"}, strings.Fields(command)...)
		printed, err := run(r.address, args...)
		require.NoError(t, err, command)
		require.Equal(t, want, strings.Count(printed, "\n"), "%s\n%s", command, printed)
	}
}

// TestIdsAreThoseOfTheInvocations: what is printed can be given to any other command. Half of an id is a hash that rows do not
// have, of other things for services of today than for those of 2023.
func TestIdsAreThoseOfTheInvocations(t *testing.T) {
	r := filled(t)
	for table, want := range map[string][]string{
		"timers":  {rowstest.CartHolder().String(), rowstest.CartLater().String(), rowstest.Mail().String(), rowstest.Holder().String()},
		"status":  {rowstest.CartHolder().String(), rowstest.Mail().String(), rowstest.Holder().String()},
		"journal": {rowstest.CartHolder().String(), rowstest.Mail().String(), rowstest.Holder().String()},
		"inbox":   {rowstest.Waiting().String()},
	} {
		for _, format := range [][]string{nil, {"--json"}} {
			printed, err := run(r.address, append([]string{"storage", "scan", table}, format...)...)
			require.NoError(t, err)
			for _, id := range want {
				require.Contains(t, printed, id, table)
			}
			if format == nil {
				require.NotContains(t, printed, uuidOf(0x43), "of an unkeyed service")
			}
		}
	}
}

func uuidOf(n byte) string { return fmt.Sprintf("ee000000-0000-0000-0000-0000000000%02x", n) }

func TestCommandsThatCannotBeRun(t *testing.T) {
	r := launch(t)
	for command, want := range map[string]string{
		"":                            "accepts 1 arg",
		"nonsense":                    `no table "nonsense"; there are deduplication, partition_state_machine, inbox,`,
		"status --state-key k":        "rows of status have nothing that --state-key could ask for",
		"state --from 1970-01-01":     "rows of state have no time that --from could ask for",
		"timers --from 1970-01-01":    "no time like",
		"timers --invocation x":       "--invocation: invalid UUID",
		"journal --index -1":          "--index: ",
		"state --key 0xz":             "--key: ",
		"state":                       "waiting for a partition-worker",
		"state --address 127.0.0.1:1": "127.0.0.1:1 cannot answer (--address says where it is)",
		"state --address http://:1/":  "cannot answer",
		"state --limit x":             "--limit",
	} {
		_, err := run(r.address, append([]string{"storage", "scan"}, strings.Fields(command)...)...)
		require.ErrorContains(t, err, want, command)
	}
	_, err := run("", "storage", "scan", "state")
	require.ErrorContains(t, err, "it is not configured")
	help, err := run("", "storage")
	require.NoError(t, err)
	require.Contains(t, help, "Print the rows of a table")
}
