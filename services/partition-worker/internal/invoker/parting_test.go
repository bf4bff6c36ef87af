package invoker

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	wirev5 "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/ids"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

// An endpoint that has said its last word sees the request end, and not break off, which it would warn of.
func TestRequestsEnd(t *testing.T) {
	end := frameOf(wire.TypeEnd, &wirev5.End{})
	for name, last := range map[string][]byte{
		"end":   append(frameOf(wire.TypeOutput, &wirev5.OutputCommand{Result: &wirev5.OutputCommand_Value{Value: &wirev5.Value{}}}), end...),
		"error": frameOf(wire.TypeError, &wirev5.Error{Code: 500, Message: "no"}),
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			w := newWorld(t, once, serve(t, map[string]http.HandlerFunc{"Ends": func(w http.ResponseWriter, r *http.Request) {
				_, _ = begins(w).Write(last)
				_, err := io.Copy(io.Discard, r.Body)
				ended <- err
			}}))
			w.start("Ends")
			require.NoError(t, <-ended)
		})
	}
}

// One that does not end its response keeps no place for long.
func TestResponsesThatDoNotEnd(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.ConcurrencyLimit = 1 }, serve(t, map[string]http.HandlerFunc{
		"Lingers": func(w http.ResponseWriter, r *http.Request) {
			answers(w, r)
			<-r.Context().Done()
		},
		"Babbles": func(w http.ResponseWriter, r *http.Request) {
			answers(w, r)
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 1<<10))
			}
		},
		"Answers": answers,
	}))
	var all []ids.InvocationID
	for _, service := range []string{"Lingers", "Babbles", "Answers"} {
		all = append(all, w.start(service))
	}
	for _, id := range all {
		w.awaitEnd(t, id)
	}
}
