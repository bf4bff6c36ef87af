package rest

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
)

// patchState replaces the state of an object or workflow. It answers when the order is durable; the state changes in its
// turn among the invocations of the key.
func (a *API) patchState(c *gin.Context) error {
	var request api.PatchStateRequest
	if err := readMembers(c, &request); err != nil {
		return err
	}
	name := c.Param("service")
	if request.Key == nil {
		return &statusError{http.StatusUnprocessableEntity, errcode.New(errcode.BadRequest, "the body lacks the member object_key")}
	}
	kind := journalv1.ServiceKind_SERVICE_KIND_KEYED
	service, ok := a.Registry.Current().Service(name)
	switch {
	case !ok && len(request.State) > 0:
		return errcode.New(errcode.NotFound, "there is no service %s", name)
	case !ok: // what it left behind may be cleared
	case service.Descriptor != nil:
		return errcode.New(errcode.BadRequest, "the service %s has keys of protobuf, which object_key cannot name", name)
	case service.Kind == journalv1.ServiceKind_SERVICE_KIND_UNKEYED:
		return errcode.New(errcode.BadRequest, "the service %s has no keys, and no state", name)
	default:
		kind = service.Kind
	}
	target := &journalv1.Target{Service: name, Key: []byte(*request.Key), Kind: kind}
	if request.Scope != nil {
		target.Scope = *request.Scope
	}
	patch := &logv1.PatchState{
		Target: target, PartitionKey: schema.PartitionKey(name, request.Key, nil, request.Scope), Entries: entriesOf(request.State),
	}
	if request.Version != nil {
		patch.Version = *request.Version
	}
	err := a.Operations.Submit(c.Request.Context(), patch.GetPartitionKey(), &logv1.Record{Command: &logv1.Record_PatchState{PatchState: patch}})
	if err != nil {
		return err
	}
	a.Log.Info("ordered the change of a state", "service", name, "key", *request.Key, "entries", len(request.State))
	c.Status(http.StatusAccepted)
	return nil
}

func entriesOf(state map[string]api.Bytes) []*logv1.StateEntry {
	entries := make([]*logv1.StateEntry, 0, len(state))
	for key, value := range state {
		entries = append(entries, &logv1.StateEntry{Key: []byte(key), Value: value})
	}
	slices.SortFunc(entries, func(a, b *logv1.StateEntry) int { return bytes.Compare(a.GetKey(), b.GetKey()) })
	return entries
}
