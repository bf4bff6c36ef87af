package rest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/workers"
)

// removeEndpoint removes an endpoint. Without force it is refused while an invocation needs the endpoint, as far as that can be
// seen now.
func (a *API) removeEndpoint(c *gin.Context, e *schema.Endpoint) error {
	ctx, force := c.Request.Context(), false
	if text := c.Query("force"); text != "" {
		var err error
		if force, err = strconv.ParseBool(text); err != nil {
			return errcode.New(errcode.BadRequest, "force is %q, and has to be true or false", text)
		}
	}
	if !force {
		if err := a.checkUnused(ctx, e); err != nil {
			return err
		}
	}
	snapshot, err := a.Writer.Remove(ctx, e.ID)
	if err != nil {
		return err
	}
	a.settle(ctx, snapshot)
	a.Log.Info("removed an endpoint", "endpoint", e.ID, "force", force)
	c.Status(http.StatusAccepted)
	return nil
}

// checkUnused refuses with EndpointInUse where invocations need the endpoint, and with Unavailable where some may that are
// not seen: a partition that nobody leads, as while its worker starts, has invocations that nobody tells of.
func (a *API) checkUnused(ctx context.Context, e *schema.Endpoint) error {
	found, unseen, err := a.usersOf(ctx, e)
	switch {
	case err != nil:
		return err
	case len(found) > 0:
		return errcode.New(errcode.EndpointInUse, "the endpoint %s (%s) is needed by %s", e.ID, e.URI, nameUsers(found))
	case len(unseen) > 0:
		return errcode.New(errcode.Unavailable, "whether the endpoint %s is in use cannot be told: %s", e.ID, strings.Join(unseen, "; "))
	}
	return nil
}

// usersOf returns the invocations, by id, that are not over and began on the endpoint, run there, or have not begun and have
// nowhere else to go: the service of each. It counts maxInvocations at most. unseen says why there may be others.
func (a *API) usersOf(ctx context.Context, e *schema.Endpoint) (found map[string]string, unseen []string, err error) {
	filters := []workers.Filter{{EndpointID: e.ID, Limit: maxInvocations}}
	for _, name := range a.Registry.Current().OnlyAt(e.ID) {
		filters = append(filters, workers.Filter{Service: name, NotBegun: true, Limit: maxInvocations})
	}
	found = map[string]string{}
	for _, filter := range filters {
		views, missed, err := a.Workers.ListAll(ctx, filter)
		if err != nil {
			return nil, nil, err
		}
		for _, v := range views {
			if len(found) < maxInvocations {
				found[printable(v.GetInvocationId())] = v.GetInvocation().GetTarget().GetService()
			}
		}
		if len(found) == maxInvocations {
			break
		}
		unseen = append(unseen, missed...)
	}
	slices.Sort(unseen)
	return found, slices.Compact(unseen), nil
}

// maxNamed is how many invocations a refusal names.
const maxNamed = 10

// nameUsers says how many they are, and which: the ids in order, each with its service.
func nameUsers(found map[string]string) string {
	ids := slices.Sorted(maps.Keys(found))
	count := strconv.Itoa(len(ids)) + " invocations"
	switch len(ids) {
	case 1:
		count = "1 invocation"
	case maxInvocations:
		count = "at least " + count
	}
	var named []string
	for _, id := range ids[:min(len(ids), maxNamed)] {
		named = append(named, fmt.Sprintf("%s of %s", id, found[id]))
	}
	list := strings.Join(named, ", ")
	if len(ids) > maxNamed {
		list += ", ..."
	}
	return count + ": " + list
}
