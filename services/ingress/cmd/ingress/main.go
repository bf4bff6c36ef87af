// Command ingress runs the ingress alone, against a broker that is elsewhere.
package main

import (
	"github.com/restate-go/restate/pkg/daemon/assembly"
	"github.com/restate-go/restate/services/ingress"
)

// version is set when the program is built.
var version = "dev"

func main() {
	assembly.Main(assembly.NewSingle(version, ingress.Daemon()).Command("Take requests to services and answer with their results"))
}
