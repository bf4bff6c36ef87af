// Command restate is the runtime in one binary: every daemon, the embedded broker, and the commands to look after them.
package main

import (
	"runtime/debug"

	// The image has no certificates of a system; where there are some, those are used.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/spf13/cobra"

	"github.com/restate-go/restate/pkg/daemon/assembly"

	"github.com/restate-go/restate/services/ingress"
	"github.com/restate-go/restate/services/meta"
	"github.com/restate-go/restate/services/meta/cli"
	partitionworker "github.com/restate-go/restate/services/partition-worker"
	storagereader "github.com/restate-go/restate/services/storage-reader"
	storage "github.com/restate-go/restate/services/storage-reader/cli"
)

// version is set when a release is linked.
var version string

func main() { assembly.Main(newCommand()) }

func newCommand() *cobra.Command {
	process := assembly.New("restate", buildVersion(), partitionworker.Daemon(), ingress.Daemon(), meta.Daemon(),
		storagereader.Daemon())
	command := process.Command("Durable execution for services: runs the daemons, all in this process unless --target says otherwise")
	command.AddCommand(cli.NewCommands(func() (string, error) { return process.Find("meta") })...)
	command.AddCommand(storage.NewCommand(func() (string, error) { return process.Find("storage-reader") }))
	return command
}

// buildVersion names the release, or else the commit that the binary was built from.
func buildVersion() string {
	if version != "" {
		return version
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return "development"
	}
	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			return "development " + setting.Value[:min(len(setting.Value), 12)]
		}
	}
	return "development"
}
