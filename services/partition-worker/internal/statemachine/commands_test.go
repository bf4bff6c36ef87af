package statemachine_test

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/cockroachdb/datadriven"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// arguments of a directive; it reports those that nothing has asked for. The first error of a value is kept for unused.
type arguments struct {
	given []datadriven.CmdArg
	used  map[string]bool
	err   error
}

func newArguments(given []datadriven.CmdArg) *arguments {
	return &arguments{given: given, used: map[string]bool{}}
}

func parseRecord(line string) (string, *arguments, error) {
	command, given, err := datadriven.ParseLine(line)
	return command, newArguments(given), err
}

func (a *arguments) reset() { a.given = nil }

func (a *arguments) find(key string) (datadriven.CmdArg, bool) {
	a.used[key] = true
	for _, arg := range a.given {
		if arg.Key == key {
			return arg, true
		}
	}
	return datadriven.CmdArg{}, false
}

func (a *arguments) has(key string) bool {
	_, ok := a.find(key)
	return ok
}

func (a *arguments) text(key, otherwise string) string {
	if arg, ok := a.find(key); ok && len(arg.Vals) == 1 {
		return arg.Vals[0]
	}
	return otherwise
}

// optional returns nil for what is not given.
func (a *arguments) optional(key string) *string {
	if !a.has(key) {
		return nil
	}
	s := a.text(key, "")
	return &s
}

func (a *arguments) number(key string, otherwise uint64) uint64 {
	s := a.text(key, "")
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	a.err = errors.Join(a.err, err)
	return n
}

func (a *arguments) index(key string, otherwise uint32) uint32 {
	return uint32(a.number(key, uint64(otherwise)))
}

func (a *arguments) indexes(key string) []uint32 {
	arg, _ := a.find(key)
	var indexes []uint32
	for _, s := range arg.Vals {
		n, err := strconv.ParseUint(s, 10, 32)
		a.err = errors.Join(a.err, err)
		indexes = append(indexes, uint32(n))
	}
	return indexes
}

// words returns the arguments without a value.
func (a *arguments) words() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, arg := range a.given {
			if len(arg.Vals) == 0 {
				a.used[arg.Key] = true
				if !yield(arg.Key) {
					return
				}
			}
		}
	}
}

// result is value=<text>, failure=<code>:<message>, or void.
func (a *arguments) result() *journalv1.Result {
	if a.has("void") {
		return &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
	}
	if arg, ok := a.find("failure"); ok {
		return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: a.failure(arg.Vals[0])}}
	}
	if arg, ok := a.find("value"); ok {
		return &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte(strings.Join(arg.Vals, ""))}}
	}
	return nil
}

func (a *arguments) failure(s string) *journalv1.Failure {
	code, message, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(code, 10, 32)
	a.err = errors.Join(a.err, err)
	return &journalv1.Failure{Code: uint32(n), Message: message}
}

func (a *arguments) unused() error {
	for _, arg := range a.given {
		if !a.used[arg.Key] {
			return fmt.Errorf("argument %q means nothing here", arg.Key)
		}
	}
	return a.err
}

// builder makes the records of one batch.
type builder struct {
	*script
	// counts is how many commands the journals have with the effects of this batch.
	counts map[ids.InvocationID]uint32
}

func newBuilder(s *script) *builder { return &builder{s, map[ids.InvocationID]uint32{}} }

// record makes one of:
//
//	invoke id= [target] [arg=] [sink=] [at=<ms>] [retention=<ms>] [journal-retention=<ms>] [idempotency=] [stream=]
//	effect id= <command>       (effects_test.go)
//	suspended id= [completions=(..)] [commands=(..)] [signals=(..)] [named=(..)] [on=<future>] [known=<entries>]
//	run id= completion= result
//	paused id= [failure= code= attempts=]
//	ended id= [result]
//	failed id= failure=
//	notify id= completion=|signal=|named= result [awakeable] [created=<LSN>]
//	timer [nth=<n>]            the timer due first, or the nth; "timer again" the one that fired last
//	truncate through=
//	announce leads=<epoch> node=
//
// or a request of an operator (operations_test.go), where a target is
// [service=] [handler=] [kind=unkeyed|keyed|singleton|workflow] [key=] [shared] and kind follows from key, a future is
// as in future_test.go, and a sink one of
//
//	ingress:<request>[-<request>..]    which waits for the result; the callers of the other requests have left
//	accept:<request>                   which wants to know that the invocation exists
//	<caller>/<completion>[/<LSN that created the caller>]
//
// The run of an effect is the current one unless run=<batch>.<record> is given.
func (b *builder) record(command string, a *arguments) (*logv1.Record, error) {
	switch command {
	case "invoke":
		invoke, err := b.invoke(a)
		return &logv1.Record{Command: &logv1.Record_Invoke{Invoke: invoke}}, err
	case "effect", "suspended", "run", "paused", "ended", "failed":
		effect, err := b.effect(command, a)
		return &logv1.Record{Command: &logv1.Record_InvokerEffect{InvokerEffect: effect}}, err
	case "notify":
		notify, err := b.notify(a)
		return &logv1.Record{Command: &logv1.Record_Notify{Notify: notify}}, err
	case "timer":
		key, err := b.timerKey(a)
		return &logv1.Record{Command: &logv1.Record_TimerFired{TimerFired: &logv1.TimerFired{Key: key}}}, err
	case "truncate":
		return &logv1.Record{Command: &logv1.Record_TruncateOutbox{TruncateOutbox: &logv1.TruncateOutbox{
			Through: a.number("through", 0),
		}}}, nil
	case "announce":
		return &logv1.Record{Command: &logv1.Record_AnnounceLeader{AnnounceLeader: &logv1.AnnounceLeader{
			LeaderEpoch: a.number("leads", 0), NodeId: a.text("node", ""),
		}}}, nil
	case "empty":
		return &logv1.Record{}, nil
	}
	return b.operation(command, a)
}

func (b *builder) existing(a *arguments) ids.InvocationID {
	name := a.text("id", "")
	return b.id(name, name)
}

func (b *builder) target(a *arguments) *journalv1.Target {
	target := &journalv1.Target{Service: a.text("service", "S"), Handler: a.text("handler", "h")}
	kind := "unkeyed"
	if arg, ok := a.find("key"); ok {
		target.Key = []byte(arg.Vals[0])
		kind = "keyed"
	}
	kind = strings.ToUpper(a.text("kind", kind))
	target.Kind = journalv1.ServiceKind(journalv1.ServiceKind_value["SERVICE_KIND_"+kind])
	target.Shared = a.has("shared")
	return target
}

// targetID names the invocation of a target; those of one key share a partition key.
func (b *builder) targetID(name string, target *journalv1.Target) ids.InvocationID {
	switch target.GetKind() {
	case journalv1.ServiceKind_SERVICE_KIND_UNKEYED, journalv1.ServiceKind_SERVICE_KIND_UNSPECIFIED:
		return b.id(name, name)
	case journalv1.ServiceKind_SERVICE_KIND_KEYED, journalv1.ServiceKind_SERVICE_KIND_SINGLETON,
		journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
	}
	return b.id(name, "key "+string(target.GetKey()))
}

func (b *builder) invoke(a *arguments) (*logv1.Invoke, error) {
	target := b.target(a)
	id := b.targetID(a.text("id", ""), target)
	sink, err := b.sink(a)
	return &logv1.Invoke{
		InvocationId:        id[:],
		Target:              target,
		Argument:            []byte(a.text("arg", "")),
		ResponseSink:        sink,
		ExecutionTime:       a.number("at", 0),
		CompletionRetention: a.number("retention", 0),
		JournalRetention:    a.number("journal-retention", 0),
		IdempotencyKey:      a.optional("idempotency"),
		ClientStream:        a.text("stream", ""),
	}, err
}

func (b *builder) sink(a *arguments) (*logv1.ResponseSink, error) {
	s := a.text("sink", "")
	if s == "" {
		return nil, nil
	}
	if kind, requests, ok := strings.Cut(s, ":"); ok {
		var numbers []uint64
		for request := range strings.SplitSeq(requests, "-") {
			n, err := strconv.ParseUint(request, 10, 64)
			if err != nil {
				return nil, err
			}
			numbers = append(numbers, n)
		}
		return &logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{Ingress: &logv1.IngressSink{
			IngressId: "i1", RequestId: numbers[0], Acceptance: kind == "accept", Left: numbers[1:],
		}}}, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) < 2 {
		return nil, fmt.Errorf("%q is no sink", s)
	}
	n, err := strconv.ParseUint(parts[1], 10, 32)
	id := b.id(parts[0], parts[0])
	caller := &logv1.CallerSink{InvocationId: id[:], CompletionId: uint32(n)}
	if len(parts) > 2 && err == nil {
		caller.CreatedLsn, err = parseLSN(parts[2])
	}
	return &logv1.ResponseSink{Sink: &logv1.ResponseSink_Caller{Caller: caller}}, err
}

func (b *builder) notify(a *arguments) (*logv1.Notify, error) {
	id := b.existing(a)
	notification := &journalv1.Notification{Result: a.result()}
	switch {
	case a.has("signal"):
		notification.Id = &journalv1.Notification_SignalIndex{SignalIndex: a.index("signal", 0)}
	case a.has("named"):
		notification.Id = &journalv1.Notification_SignalName{SignalName: a.text("named", "")}
	default:
		notification.Id = &journalv1.Notification_CompletionId{CompletionId: a.index("completion", 0)}
	}
	notify := &logv1.Notify{InvocationId: id[:], Notification: notification, Awakeable: a.has("awakeable")}
	var err error
	if created := a.text("created", ""); created != "" {
		notify.CreatedLsn, err = parseLSN(created)
	}
	return notify, err
}

func (b *builder) timerKey(a *arguments) ([]byte, error) {
	if a.has("again") {
		return b.fired, nil
	}
	nth := int(a.number("nth", 1))
	if err := storage.ScanTimers(b.space, nil, nth, func(timer storage.TimerID) error {
		b.fired = timer.Key()
		nth--
		return nil
	}); err != nil {
		return nil, err
	}
	if nth > 0 {
		return nil, errors.New("there are not so many timers")
	}
	return b.fired, nil
}
