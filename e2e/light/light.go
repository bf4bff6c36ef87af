// Package light is a service endpoint that costs little: it speaks the service protocols of 2023 and of today without an SDK,
// so that a benchmark measures the runtime in front of it.
package light

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	"github.com/restate-go/restate/proto/gen/dev/restate"
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"

	"github.com/restate-go/restate/e2e/discovery"
)

// NewServer returns the endpoint with the protobuf services, to be served on a listener. It speaks HTTP/2 without TLS.
func NewServer() (*http.Server, error) {
	discovered, err := proto.Marshal(discovery.Response(
		discovery.Service{Name: "Greeter", Kind: restate.ServiceType_UNKEYED, Methods: []string{"Hello", "Steps", "Chain"}},
		discovery.Service{Name: "Counter", Kind: restate.ServiceType_KEYED, Methods: []string{"Add", "Get"}},
	))
	if err != nil {
		return nil, err
	}
	return newServer("application/proto", discovered, serve), nil
}

// NewHandlers returns the endpoint with the handlers of today, as NewServer.
func NewHandlers() *http.Server { return newServer(manifestType, []byte(manifest), serveToday) }

func newServer(discovery string, discovered []byte, serve http.HandlerFunc) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/discover", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", discovery)
		_, _ = w.Write(discovered) // the caller may be gone
	})
	mux.HandleFunc("/invoke/", func(w http.ResponseWriter, r *http.Request) {
		// Nobody reads the date, and the server formats it for each response.
		w.Header()["Date"] = nil
		serve(w, r)
	})
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: mux, Protocols: protocols, ReadHeaderTimeout: time.Minute}
}

// serve runs one attempt.
func serve(w http.ResponseWriter, r *http.Request) {
	w.Header()["Content-Type"] = []string{"application/restate"}
	run, found := handlers[strings.TrimPrefix(r.URL.Path, "/invoke/")]
	if !found {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	a, err := begin(w, r)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if err := a.finish(run); err != nil {
		payload, _ := proto.Marshal(&protocol.ErrorMessage{Code: failed, Message: err.Error()}) // strings of ours are valid
		a.append(v0.TypeError, 0, payload)
	}
	_, _ = w.Write(a.pending) // the runtime tries again if this does not arrive
}

// failed is the code of an attempt that went wrong.
const failed = 13

// finish runs the handler up to its output or its suspension.
func (a *attempt) finish(run handler) error {
	value, err := run(a)
	if errors.Is(err, errSuspended) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.output(value)
}
