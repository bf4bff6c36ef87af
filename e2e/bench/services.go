package bench

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/restate-go/restate/e2e/light"
	"github.com/restate-go/restate/e2e/load"
)

// Services say what is behind the server.
type Services string

// The kinds of services.
const (
	// Protobuf are the services of package light with the protocol of 2023.
	Protobuf Services = "protobuf"
	// Light are the handlers of package light with the protocol of today.
	Light Services = "light"
	// SDKGo are handlers on the Go SDK.
	SDKGo Services = "sdk-go"
)

// AllServices are all kinds.
func AllServices() []Services { return []Services{Protobuf, Light, SDKGo} }

// method is a method of the services: as that of a protobuf service, and as a handler of a service or an object.
type method struct {
	name             string
	service, handler string
	keyed            bool
}

//nolint:gochecknoglobals // these are constant
var (
	hello = method{light.Hello, "Greeter", "hello", false}
	steps = method{light.Steps, "Greeter", "steps", false}
	chain = method{light.Chain, "Relay", "chain", true}
	add   = method{light.Add, "Counter", "add", true}
	get   = method{light.Get, "Counter", "get", true}
)

// invoke calls a method through the ingress and returns the value that it answers.
type invoke func(conn *load.Conn, called method, key, value string) (string, error)

func (s Services) invoke(conn *load.Conn, called method, key, value string) (string, error) {
	if s == Protobuf {
		return invokeMethod(conn, called, key, value)
	}
	return invokeHandler(conn, called, key, value)
}

func invokeMethod(conn *load.Conn, called method, key, value string) (string, error) {
	answer, err := conn.Post("/"+called.name, `{"key":"`+key+`","value":"`+value+`"}`)
	if err != nil {
		return "", err
	}
	var response struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(answer, &response); err != nil {
		return "", fmt.Errorf("%s answers %q: %w", called.name, answer, err)
	}
	return response.Value, nil
}

func invokeHandler(conn *load.Conn, called method, key, value string) (string, error) {
	path := "/" + called.service
	if called.keyed {
		path += "/" + url.PathEscape(key)
	}
	answer, err := conn.Post(path+"/"+called.handler, `"`+value+`"`)
	if err != nil {
		return "", err
	}
	var response string
	if err := json.Unmarshal(answer, &response); err != nil {
		return "", fmt.Errorf("%s answers %q: %w", path, answer, err)
	}
	return response, nil
}
