// Command storage-reader runs the storage-reader alone, beside a partition-worker with the same base directory, against a
// broker that is elsewhere.
package main

import (
	"github.com/restate-go/restate/pkg/daemon/assembly"

	storagereader "github.com/restate-go/restate/services/storage-reader"
)

// version is set when a release is linked.
var version = "development"

func main() {
	process := assembly.NewSingle(version, storagereader.Daemon())
	assembly.Main(process.Command("Hand out what a partition-worker stores, row by row"))
}
