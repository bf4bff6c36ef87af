// Command ingress runs the ingress alone, against a broker that is elsewhere.
package main

import (
	"fmt"
	"os"

	"github.com/restate-go/restate/pkg/daemon/assembly"
	"github.com/restate-go/restate/services/ingress"
)

// version is set when the program is built.
var version = "dev"

func main() {
	command := assembly.NewSingle(version, ingress.Daemon()).Command("Take requests to services and answer with their results")
	if err := command.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "ingress:", err)
		os.Exit(1)
	}
}
