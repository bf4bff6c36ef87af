// Command partition-worker runs the partition-worker alone, against a broker that is elsewhere.
package main

import (
	"github.com/restate-go/restate/pkg/daemon/assembly"

	partitionworker "github.com/restate-go/restate/services/partition-worker"
)

// version is set when a release is linked.
var version = "development"

func main() {
	process := assembly.NewSingle(version, partitionworker.Daemon())
	assembly.Main(process.Command("Apply the partitions' logs, keep their state and run their invocations"))
}
