package light

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
)

// handler returns the value of the response.
type handler func(a *attempt) (string, error)

// The methods, as they are called.
const (
	Hello = "scripted.Greeter/Hello"
	Steps = "scripted.Greeter/Steps"
	Chain = "scripted.Greeter/Chain"
	Add   = "scripted.Counter/Add"
	Get   = "scripted.Counter/Get"
)

// StepCount is how many side effects Steps has.
const StepCount = 3

var handlers = map[string]handler{Hello: hello, Steps: steps, Chain: chain, Add: add, Get: get}

// hello greets the value.
func hello(a *attempt) (string, error) { return "Hello " + a.value, nil }

// steps has side effects one after the other, and returns what they returned.
func steps(a *attempt) (string, error) {
	var done []byte
	for i := range StepCount {
		payload, index, err := a.entry(typeSideEffect, v0.FlagRequiresAck, &protocol.OutputStreamEntryMessage{
			Result: &protocol.OutputStreamEntryMessage_Value{Value: []byte(strconv.Itoa(i))},
		})
		if err != nil {
			return "", err
		}
		if int(index) > len(a.replayed) {
			if _, err := a.completion(index); err != nil {
				return "", err
			}
		}
		step, _, err := result(payload)
		if err != nil {
			return "", err
		}
		done = append(done, step...)
	}
	return string(done), nil
}

// chain returns what Hello returns.
func chain(a *attempt) (string, error) {
	parameter := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), a.value)
	payload, index, err := a.entry(v0.TypeInvoke, 0, &protocol.InvokeEntryMessage{
		ServiceName: "scripted.Greeter", MethodName: "Hello", Parameter: parameter,
	})
	if err != nil {
		return "", err
	}
	response, err := a.await(payload, index)
	if err != nil {
		return "", err
	}
	number, kind, n := protowire.ConsumeTag(response)
	if n < 0 || number != 1 || kind != protowire.BytesType {
		return "", fmt.Errorf("%q is no scripted.Response", response)
	}
	value, n := protowire.ConsumeString(response[n:])
	return value, protowire.ParseError(min(n, 0))
}

const stateCount = "count"

// add adds one to the counter, and returns its new value.
func add(a *attempt) (string, error) {
	text, err := get(a)
	if err != nil {
		return "", err
	}
	count, err := strconv.Atoi(text)
	if err != nil {
		return "", err
	}
	text = strconv.Itoa(count + 1)
	_, _, err = a.entry(v0.TypeSetState, 0, &protocol.SetStateEntryMessage{Key: []byte(stateCount), Value: []byte(text)})
	return text, err
}

// get returns the value of the counter.
func get(a *attempt) (string, error) {
	entry := &protocol.GetStateEntryMessage{Key: []byte(stateCount)}
	if value, known := a.state[stateCount]; known {
		entry.Result = &protocol.GetStateEntryMessage_Value{Value: value}
	} else if !a.partial {
		entry.Result = &protocol.GetStateEntryMessage_Empty{Empty: &emptypb.Empty{}}
	}
	payload, index, err := a.entry(v0.TypeGetState, 0, entry)
	if err != nil {
		return "", err
	}
	value, err := a.await(payload, index)
	if err != nil {
		return "", err
	}
	if len(value) == 0 {
		return "0", nil
	}
	return string(value), nil
}
