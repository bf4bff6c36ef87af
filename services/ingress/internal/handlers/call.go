package handlers

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	"github.com/restate-go/restate/services/ingress/internal/invocation"
)

const (
	idempotencyKeyHeader = "Idempotency-Key"
	limitKeyHeader       = "X-Restate-Limit-Key"
	contentTypeHeader    = "Content-Type"
	ingressPathHeader    = "x-restate-ingress-path"
)

// hidden are the headers that handlers do not get: what concerns the connection, or the ingress alone.
var hidden = map[string]bool{
	"Connection": true, "Host": true, idempotencyKeyHeader: true, "Idempotency-Expires": true,
}

func isKeyed(service *schema.Service) bool {
	return service.Kind != journalv1.ServiceKind_SERVICE_KIND_UNKEYED
}

func isRun(service *schema.Service, method *schema.Method) bool {
	return service.Kind == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW && !method.Shared
}

// call invokes a handler, and waits for its result unless it is only sent.
func (x *exchange) call(ctx context.Context) (reply, error) {
	service, method, err := x.callee()
	if err != nil {
		return reply{}, err
	}
	x.service, x.method = service.Name, method.Name
	tracing := invocation.Tracing{}
	if tracer := x.handlers.deps.Tracer; tracer != nil {
		tracing = invocation.NewTracing(tracer, "restate", service.Name, method.Name)
	}
	ctx, span := tracing.Start(ctx, x.r.Header)
	out, err := x.invoke(ctx, service, method)
	if out.id != nil {
		span.SetInvocation(*out.id)
	}
	span.End(err)
	return out, err
}

// callee finds what the path names.
func (x *exchange) callee() (*schema.Service, *schema.Method, error) {
	named := x.route.target
	service, ok := described(x.snapshot, named.service)
	if !ok {
		return nil, nil, unknownService(named.service)
	}
	method, ok := service.Method(named.handler)
	switch {
	case !ok:
		return nil, nil, refuse(http.StatusNotFound, "the service %q has no handler %q", service.Name, named.handler)
	case !service.Public || method.Private:
		return nil, nil, refuse(http.StatusBadRequest, "%s/%s is private: only handlers may call it", service.Name, method.Name)
	}
	return service, method, nil
}

// invoke checks the request in the order of restate-server, so that of several errors the same is told.
func (x *exchange) invoke(ctx context.Context, service *schema.Service, method *schema.Method) (reply, error) {
	once, err := x.idempotencyKey()
	switch {
	case err != nil:
		return reply{}, err
	case once != nil && isRun(service, method):
		return reply{}, refuse(http.StatusBadRequest, "the run of a workflow takes no idempotency key, it is run once for each key")
	}
	if err := checkScope(x.route.target.scope, service); err != nil {
		return reply{}, err
	}
	if err := x.route.checkMethod(x.r.Method); err != nil {
		return reply{}, err
	}
	body, err := x.body()
	if err != nil {
		return reply{}, err
	}
	if err := method.Bytes.Input.Check(x.r.Header.Get(contentTypeHeader), len(x.r.Header[contentTypeHeader]) > 0, len(body)); err != nil {
		return reply{}, refuse(http.StatusBadRequest, "%s", err)
	}
	delay, delayed, err := delayOf(x.query)
	if err != nil {
		return reply{}, err
	}
	limitKey, err := x.limitKey()
	if err != nil {
		return reply{}, err
	}
	headers, err := x.headers()
	switch {
	case err != nil:
		return reply{}, err
	case delayed && x.route.action != actionSend:
		return reply{}, refuse(http.StatusBadRequest, "only what is sent can be delayed, not a call")
	}
	resolved, err := service.Resolve(schema.Call{
		Method: method.Name, Key: x.route.target.key, IdempotencyKey: once, Scope: x.route.target.scope, LimitKey: limitKey,
	})
	switch {
	case errors.Is(err, schema.ErrKey) || errors.Is(err, schema.ErrIdempotencyKey):
		return reply{}, refuse(http.StatusBadRequest, "%s", err)
	case err != nil:
		return reply{}, err // all else that the client may get wrong is checked
	}
	invoke := &logv1.Invoke{
		InvocationId: resolved.ID[:], Target: resolved.Target, Argument: body, Headers: headers,
		SpanContext:         invocation.ContextOf(ctx),
		CompletionRetention: millis(resolved.CompletionRetention), JournalRetention: millis(resolved.JournalRetention),
		IdempotencyKey: once,
	}
	if delayed {
		invoke.ExecutionTime = uint64(time.Now().Add(delay).UnixMilli())
	}
	if x.route.action == actionSend {
		return x.send(ctx, resolved.ID, invoke, once != nil || isRun(service, method))
	}
	response, err := x.ask(ctx, resolved.ID, invoke, false)
	if err != nil {
		return reply{id: &resolved.ID}, err
	}
	return resultOf(resolved.ID, response, func(size int) (string, error) { return method.Bytes.Output.Of(size), nil })
}

// ask waits for the result, or only to be told that the invocation exists.
func (x *exchange) ask(ctx context.Context, id ids.InvocationID, invoke *logv1.Invoke, acceptance bool) (*storagev1.IngressResponse, error) {
	response, err := x.handlers.deps.Dispatcher.Ask(ctx, id.PartitionKey(), func(sink *logv1.ResponseSink) *logv1.Record {
		sink.GetIngress().Acceptance = acceptance
		invoke.ResponseSink = sink
		return &logv1.Record{Command: &logv1.Record_Invoke{Invoke: invoke}}
	})
	if err != nil {
		return nil, undone(err)
	}
	return response, nil
}

// sent is the answer to a send.
type sent struct {
	InvocationID  string `json:"invocationId"`
	Status        string `json:"status"`
	ExecutionTime string `json:"executionTime,omitempty"`
}

// send makes the invocation durable. Only where it may exist already the partition is asked whether it does.
func (x *exchange) send(ctx context.Context, id ids.InvocationID, invoke *logv1.Invoke, repeatable bool) (reply, error) {
	answer := sent{InvocationID: id.String(), Status: "Accepted"}
	at := invoke.GetExecutionTime()
	if repeatable {
		response, err := x.ask(ctx, id, invoke, true)
		if err != nil {
			return reply{id: &id}, err
		}
		if response.GetOutcome() == storagev1.Outcome_OUTCOME_PREVIOUSLY_ACCEPTED {
			answer.Status = "PreviouslyAccepted"
		}
		at = response.GetExecutionTime()
	} else {
		record := &logv1.Record{Command: &logv1.Record_Invoke{Invoke: invoke}}
		if err := x.handlers.deps.Dispatcher.Submit(ctx, id.PartitionKey(), record); err != nil {
			return reply{id: &id}, undone(err)
		}
	}
	if at > 0 {
		answer.ExecutionTime = timeOf(at).Format(executionFormat)
	}
	out, err := jsonReply(http.StatusAccepted, answer)
	out.id = &id
	return out, err
}

// idempotencyKey returns nil where the request has none. An empty one is one.
func (x *exchange) idempotencyKey() (*string, error) {
	values := x.r.Header[idempotencyKeyHeader]
	if len(values) == 0 {
		return nil, nil //nolint:nilnil // no key is no error
	}
	if !visible(values[0]) {
		return nil, badHeader(idempotencyKeyHeader)
	}
	return &values[0], nil
}

func (x *exchange) limitKey() (string, error) {
	key, given := parameter(x.query, "limit-key")
	if values := x.r.Header[limitKeyHeader]; len(values) > 0 {
		key, given = values[0], true
	}
	switch {
	case !given:
		return "", nil
	case x.route.target.scope == nil:
		return "", refuse(http.StatusBadRequest, "a limit key needs a scope: call /restate/scope/{scope}/call/... or .../send/...")
	}
	if err := ids.CheckLimitKey(key); err != nil {
		return "", refuse(http.StatusBadRequest, "bad limit key: %s", err)
	}
	return key, nil
}

func checkScope(scope *string, service *schema.Service) error {
	if scope == nil {
		return nil
	}
	if err := ids.CheckScope(*scope); err != nil {
		return refuse(http.StatusBadRequest, "bad scope value: %s", err)
	}
	if service.Kind == journalv1.ServiceKind_SERVICE_KIND_KEYED {
		return refuse(http.StatusBadRequest, "%s is a virtual object, and those have no scopes", service.Name)
	}
	return nil
}

// headers returns what the handler gets to see. Their order on the wire is lost, so they are sorted.
func (x *exchange) headers() ([]*journalv1.Header, error) {
	path := x.path
	if x.query != "" {
		path += "?" + x.query
	}
	headers := make([]*journalv1.Header, 1, len(x.r.Header)+1)
	headers[0] = &journalv1.Header{Key: ingressPathHeader, Value: path}
	for _, name := range slices.Sorted(maps.Keys(x.r.Header)) {
		if hidden[name] {
			continue
		}
		key := strings.ToLower(name)
		for _, value := range x.r.Header[name] {
			if !visible(value) {
				return nil, badHeader(name)
			}
			headers = append(headers, &journalv1.Header{Key: key, Value: value})
		}
	}
	return headers, nil
}

// visible says whether a header value is of visible ASCII characters, blanks and tabs included.
func visible(value string) bool {
	for _, c := range []byte(value) {
		if (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

func badHeader(name string) error {
	return refuse(http.StatusBadRequest, "bad header %s: its value is not visible ASCII", strings.ToLower(name))
}

// millis takes a length of time that a manifest or an operator gave, which is not negative.
func millis(d time.Duration) uint64 {
	return uint64(max(d, 0).Milliseconds()) //nolint:gosec // not negative
}
