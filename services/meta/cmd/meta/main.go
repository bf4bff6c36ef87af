// Command meta runs the meta alone, against a broker that is elsewhere.
package main

import (
	"github.com/restate-go/restate/pkg/daemon/assembly"

	"github.com/restate-go/restate/services/meta"
)

// version is set when a release is linked.
var version = "development"

func main() {
	process := assembly.NewSingle(version, meta.Daemon())
	assembly.Main(process.Command("Register service endpoints and operate the runtime over REST"))
}
