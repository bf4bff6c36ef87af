package rest

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"

	"github.com/restate-go/restate/services/meta/internal/api"
	"github.com/restate-go/restate/services/meta/internal/workers"
)

func invocationOf(v *workerv1.InvocationView) api.Invocation {
	i := v.GetInvocation()
	response := api.Invocation{
		ID:      printable(v.GetInvocationId()),
		Service: i.GetTarget().GetService(), Method: i.GetTarget().GetHandler(),
		Status:    status(v),
		CreatedAt: timeOf(i.GetCreatedAt()), ModifiedAt: timeOf(i.GetModifiedAt()),
		EndpointID: cmp.Or(i.GetPin().GetEndpointId(), v.GetEndpointId()), JournalLength: i.GetJournalLength(),
		InvokedBy: printable(i.GetCallerInvocationId()),
		Attempts:  v.GetAttempts(), LastFailure: v.GetLastFailure(), LastFailureCode: v.GetLastFailureCode(),
		NextAttemptAt: timeOf(v.GetNextAttemptAt()), ExpiresAt: timeOf(i.GetExpiresAt()),
	}
	if i.GetState() == storagev1.Invocation_STATE_SCHEDULED {
		response.ScheduledAt = timeOf(i.GetExecutionTime())
	}
	if i.GetState() == storagev1.Invocation_STATE_COMPLETED {
		response.CompletionResult, response.CompletionFailure, response.CompletionFailureCode = ending(i.GetResult())
	}
	if key := i.GetTarget().GetKey(); isText(v.GetInvocationId(), i.GetTarget()) {
		response.Key = string(key)
	} else if len(key) > 0 {
		response.Key, response.KeyEncoding = base64.StdEncoding.EncodeToString(key), "base64"
	}
	return response
}

// ending says how an invocation ended; nothing where its worker does not tell.
func ending(result *journalv1.Result) (how, message string, code uint32) {
	switch r := result.GetResult().(type) {
	case nil:
		return "", "", 0
	case *journalv1.Result_Failure:
		return "failure", r.Failure.GetMessage(), r.Failure.GetCode()
	default:
		return "success", "", 0
	}
}

// isText says whether the key is one of today's services, which is stored as it was given. What the id is a hash of tells
// that, whatever is registered by now.
func isText(invocationID []byte, target *journalv1.Target) bool {
	id, err := ids.InvocationIDFromBytes(invocationID)
	key, scope := string(target.GetKey()), target.GetScope()
	return err == nil && utf8.ValidString(key) &&
		(id.PartitionKey() == keyspace.HashText(key) || scope != "" && id.PartitionKey() == keyspace.HashText(scope))
}

// The statuses of an invocation that is invoked.
const (
	statusRunning    = "running"
	statusBackingOff = "backing-off"
)

func status(v *workerv1.InvocationView) string {
	switch v.GetInvocation().GetState() {
	case storagev1.Invocation_STATE_SCHEDULED:
		return "scheduled"
	case storagev1.Invocation_STATE_INBOXED:
		return "pending"
	case storagev1.Invocation_STATE_INVOKED:
		if v.GetNextAttemptAt() != 0 {
			return statusBackingOff
		}
		return statusRunning
	case storagev1.Invocation_STATE_PAUSED:
		return "paused"
	case storagev1.Invocation_STATE_SUSPENDED:
		return "suspended"
	case storagev1.Invocation_STATE_COMPLETED:
		return "completed"
	case storagev1.Invocation_STATE_UNSPECIFIED:
	}
	return "unknown"
}

func printable(id []byte) string {
	parsed, err := ids.InvocationIDFromBytes(id)
	if err != nil {
		return ""
	}
	return parsed.String()
}

func timeOf(ms uint64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(int64(ms)).UTC().Format(time.RFC3339Nano) //nolint:gosec // set from a clock
}

const (
	defaultInvocations = 1000
	maxInvocations     = 10000
)

// chooses has the filter let through what is of that status; false where there is no such status.
func chooses(status string, filter *workers.Filter) bool {
	state, ok := map[string]storagev1.Invocation_State{
		"scheduled": storagev1.Invocation_STATE_SCHEDULED, "pending": storagev1.Invocation_STATE_INBOXED,
		statusRunning: storagev1.Invocation_STATE_INVOKED, statusBackingOff: storagev1.Invocation_STATE_INVOKED,
		"suspended": storagev1.Invocation_STATE_SUSPENDED, "paused": storagev1.Invocation_STATE_PAUSED,
		"completed": storagev1.Invocation_STATE_COMPLETED,
	}[status]
	filter.State = state
	if state == storagev1.Invocation_STATE_INVOKED {
		backingOff := status == statusBackingOff
		filter.BackingOff = &backingOff
	}
	return ok
}

func (a *API) listInvocations(c *gin.Context) error {
	filter := workers.Filter{Service: c.Query("service"), EndpointID: c.Query("endpoint"), Limit: defaultInvocations}
	if text := c.Query("limit"); text != "" {
		limit, err := strconv.ParseUint(text, 10, 32)
		if err != nil || limit < 1 || limit > maxInvocations {
			return errcode.New(errcode.BadRequest, "limit is %q, and has to be 1 to %d", text, maxInvocations)
		}
		filter.Limit = uint32(limit)
	}
	if e, ok := a.Registry.Current().Endpoint(filter.EndpointID); ok {
		filter.EndpointID = e.ID
	}
	wanted := c.Query("status")
	if wanted != "" && !chooses(wanted, &filter) {
		return errcode.New(errcode.BadRequest,
			"status is %q, and has to be scheduled, pending, running, backing-off, suspended, paused or completed", wanted)
	}
	found, unreachable, err := a.Workers.List(c.Request.Context(), filter)
	if err != nil {
		return err
	}
	response := api.Invocations{Invocations: []api.Invocation{}, Unreachable: unreachable}
	for _, v := range found {
		// A worker of a release before this one lists any status, and of completed invocations none.
		if wanted != "" && status(v) != wanted {
			continue
		}
		response.Invocations = append(response.Invocations, invocationOf(v))
	}
	c.JSON(http.StatusOK, response)
	return nil
}

func invocationID(c *gin.Context) (ids.InvocationID, error) {
	id, err := ids.ParseInvocationID(strings.TrimSpace(c.Param("invocation")))
	if err != nil {
		return id, errcode.Wrap(errcode.BadRequest, err)
	}
	return id, nil
}

func (a *API) getInvocation(c *gin.Context) error {
	id, err := invocationID(c)
	if err != nil {
		return err
	}
	view, err := a.Workers.Get(c.Request.Context(), id)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, invocationOf(view))
	return nil
}
