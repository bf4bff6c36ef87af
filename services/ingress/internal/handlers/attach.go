package handlers

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
)

// result answers with the result of an invocation. Attaching waits for it.
func (x *exchange) result(ctx context.Context) (reply, error) {
	id, err := x.invocation()
	if err != nil {
		return reply{}, err
	}
	wait := x.route.action == actionAttach
	response, err := x.handlers.deps.Dispatcher.Ask(ctx, id.PartitionKey(), func(sink *logv1.ResponseSink) *logv1.Record {
		return &logv1.Record{Command: &logv1.Record_Attach{Attach: &logv1.Attach{InvocationId: id[:], ResponseSink: sink, Wait: wait}}}
	})
	if err != nil {
		return reply{id: &id}, undone(err)
	}
	switch outcome := response.GetOutcome(); {
	case outcome == storagev1.Outcome_OUTCOME_NOT_READY:
		return reply{}, refuse(statusNotReady, "the invocation exists but is not completed")
	case outcome == storagev1.Outcome_OUTCOME_UNKNOWN_INVOCATION && wait:
		// Clients tell by the source that trying again is of no use.
		return reply{id: &id}, failed(&journalv1.Failure{Code: http.StatusNotFound, Message: "not found"})
	case outcome == storagev1.Outcome_OUTCOME_UNKNOWN_INVOCATION:
		return reply{}, refuse(http.StatusNotFound, "invocation not found")
	}
	return resultOf(id, response, func(size int) (string, error) { return x.outputType(response.GetTarget(), size) })
}

// outputType returns the content type of an output by the latest revision of the handler that gave it.
func (x *exchange) outputType(target *journalv1.Target, size int) (string, error) {
	service, ok := x.snapshot.Service(target.GetService())
	if !ok {
		return "", errNotFound
	}
	method, ok := service.Method(target.GetHandler())
	switch {
	case !ok:
		return "", errNotFound
	case method.Bytes == nil: // the output is a protobuf message
		return "application/proto", nil
	}
	return method.Bytes.Output.Of(size), nil
}

// lookup answers with the id of what the body names, whether it exists or not.
func (x *exchange) lookup() (reply, error) {
	id, err := x.invocation()
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, struct {
		InvocationID string `json:"invocationId"`
	}{id.String()})
}

// invocation returns the id of the invocation that the request names.
func (x *exchange) invocation() (ids.InvocationID, error) {
	ref := x.route.ref
	if ref.inBody {
		body, err := x.body()
		if err != nil {
			return ids.InvocationID{}, err
		}
		if ref, err = parseRef(body); err != nil {
			return ids.InvocationID{}, err
		}
	}
	switch {
	case ref.idempotent != nil:
		of := ref.idempotent
		return schema.IdempotentID(of.service, of.key, of.handler, ref.idempotencyKey, of.scope), nil
	case ref.workflow != "":
		return schema.WorkflowRunID(ref.workflow, ref.key, ref.scope), nil
	}
	id, err := ids.ParseInvocationID(ref.id)
	if err != nil {
		return ids.InvocationID{}, refuse(http.StatusBadRequest, "bad invocation id %q: %s", ref.id, err)
	}
	return id, nil
}

// refBody is how a body names an invocation, for /restate/attach, output and lookup.
type refBody struct {
	Target         string  `json:"target"`
	WorkflowName   *string `json:"workflowName"`
	WorkflowKey    *string `json:"workflowKey"`
	Service        *string `json:"service"`
	Key            *string `json:"key"`
	Handler        *string `json:"handler"`
	IdempotencyKey *string `json:"idempotencyKey"`
	InvocationID   *string `json:"invocationId"`
	Scope          *string `json:"scope"`
}

// parseRef reads the body of a request that names an invocation. The errors are *Error.
func parseRef(text []byte) (invocationRef, error) {
	var body refBody
	if err := json.Unmarshal(text, &body); err != nil {
		return invocationRef{}, refuse(http.StatusBadRequest, "the body names no invocation: %s", err)
	}
	if body.Scope != nil {
		if err := ids.CheckScope(*body.Scope); err != nil {
			return invocationRef{}, refuse(http.StatusBadRequest, "bad scope value: %s", err)
		}
	}
	missing := func(fields string) (invocationRef, error) {
		return invocationRef{}, refuse(http.StatusBadRequest, "the body names no invocation: with the target %q it needs %s", body.Target, fields)
	}
	switch body.Target {
	case "workflow":
		if body.WorkflowName == nil || *body.WorkflowName == "" || body.WorkflowKey == nil {
			return missing("workflowName and workflowKey")
		}
		return invocationRef{workflow: *body.WorkflowName, key: *body.WorkflowKey, scope: body.Scope}, nil
	case "idempotentInvocation":
		if body.Service == nil || body.Handler == nil || body.IdempotencyKey == nil {
			return missing("service, handler and idempotencyKey")
		}
		of := target{service: *body.Service, handler: *body.Handler, key: body.Key, scope: body.Scope}
		return invocationRef{idempotent: &of, idempotencyKey: *body.IdempotencyKey}, nil
	case "invocation":
		if body.InvocationID == nil {
			return missing("invocationId")
		}
		return invocationRef{id: *body.InvocationID}, nil
	}
	return invocationRef{}, refuse(http.StatusBadRequest,
		"the target is %q, and has to be workflow, idempotentInvocation or invocation", body.Target)
}
