package schema

import "flag"

// update has the golden files written anew: go test ./pkg/schema -update.
var update = flag.Bool("update", false, "write the golden files")
