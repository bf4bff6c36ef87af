package invoker

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
)

// refusing fails each request.
type refusing struct{ err error }

func (r refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, r.err }

// What a transport knows of a failure is told; what it does not know is the network.
func TestCodeOfATransport(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code errcode.Code
	}{
		"a function that may not be invoked": {errcode.New(errcode.FunctionRefused, "forbidden"), errcode.FunctionRefused},
		"a connection that broke":            {http.ErrServerClosed, errcode.NetworkFailed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(*Config) {}, map[string]string{"S": "s.test"})
			w.invoker.deps.Transport = func(*schema.Endpoint) http.RoundTripper { return refusing{c.err} }
			code, message := w.awaitFailure(t, w.start("S"))
			require.Equal(t, string(c.code), code)
			require.Equal(t, "call http://s.test/S/invoke/S/h: "+errcode.Message(c.err), message)
		})
	}
}
