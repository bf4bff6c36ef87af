// Package sdkgo is a service endpoint on the Go SDK, with the handlers that a benchmark calls: those of package light.
package sdkgo

import (
	"net/http"
	"strconv"
	"time"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/server"

	"github.com/restate-go/restate/e2e/light"
)

// NewServer returns the endpoint, to be served on a listener. It speaks HTTP/2 without TLS.
func NewServer() (*http.Server, error) {
	handler, err := server.NewRestate().
		Bind(restate.NewService("Greeter").
			Handler("hello", restate.NewServiceHandler(hello[restate.Context])).
			Handler("steps", restate.NewServiceHandler(steps))).
		Bind(restate.NewObject("Relay").Handler("chain", restate.NewObjectHandler(chain))).
		Bind(restate.NewObject("Host").Handler("hello", restate.NewObjectHandler(hello[restate.ObjectContext]))).
		Bind(restate.NewObject("Counter").
			Handler("add", restate.NewObjectHandler(add)).
			Handler("get", restate.NewObjectHandler(get))).
		Handler()
	if err != nil {
		return nil, err
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: time.Minute}, nil
}

func hello[C restate.Context](_ C, name string) (string, error) { return "Hello " + name, nil }

// steps has side effects one after the other, and returns what they returned.
func steps(ctx restate.Context, _ string) (string, error) {
	var done []byte
	for i := range light.StepCount {
		step, err := restate.Run(ctx, func(restate.RunContext) (int, error) { return i, nil })
		if err != nil {
			return "", err
		}
		done = strconv.AppendInt(done, int64(step), 10)
	}
	return string(done), nil
}

// chain returns what another object answers.
func chain(ctx restate.ObjectContext, name string) (string, error) {
	return restate.Object[string](ctx, "Host", restate.Key(ctx), "hello").Request(name)
}

const stateCount = "count"

func add(ctx restate.ObjectContext, _ string) (string, error) {
	text, err := get(ctx, "")
	if err != nil {
		return "", err
	}
	count, err := strconv.Atoi(text)
	if err != nil {
		return "", err
	}
	text = strconv.Itoa(count + 1)
	restate.Set(ctx, stateCount, text)
	return text, nil
}

func get(ctx restate.ObjectContext, _ string) (string, error) {
	text, err := restate.Get[string](ctx, stateCount)
	if text == "" {
		text = "0"
	}
	return text, err
}
