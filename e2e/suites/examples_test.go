package suites

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
)

// TestTrip calls the example that the demo and the test of the containers use.
func TestTrip(t *testing.T) {
	r := process.Start(t, process.OneProcess)
	r.Register(process.Registration{URI: process.StartExample(t, "trip").URL})
	require.Contains(t, r.MustCall("trip/book", `{"request": {"pause": 10}}`), `"hotel":"hotel-`)
}
