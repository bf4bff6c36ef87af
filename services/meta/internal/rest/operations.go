package rest

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
)

// operation is what may be done to invocations.
type operation struct {
	// name is the last segment of the path; id and summary are for the document.
	name, id, summary string
	query             []parameter
	response          any
	// accepted says that success may mean that it has only begun.
	accepted bool
	do       action
}

// action does it to one invocation. The result is the body of a success, nil for none; an error says why it could not be
// done.
type action func(ctx context.Context, id ids.InvocationID, o options) (status int, result any, err error)

// options are the operator's. Each action takes those that it has a use for.
type options struct {
	// deployment is keep, latest or the id of one; empty is the default of the operation.
	deployment string
	// from is the last entry of the journal that is taken over.
	from uint32
}

// operate answers a request for an operation on one invocation.
func (a *API) operate(name string, do action) func(*gin.Context) error {
	return func(c *gin.Context) error {
		id, err := invocationID(c)
		if err != nil {
			return err
		}
		given := options{deployment: c.Query("deployment")}
		if text := c.Query("from"); text != "" {
			from, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return errcode.New(errcode.BadRequest, "from is %q, and has to be the index of an entry of the journal", text)
			}
			given.from = uint32(from)
		}
		status, result, err := do(c.Request.Context(), id, given)
		if err != nil {
			return err
		}
		a.Log.Info("an operator "+done(name)+" an invocation", "invocation", id.String())
		if result == nil {
			c.Status(status)
			return nil
		}
		c.JSON(status, result)
		return nil
	}
}

// done is what an operator did, in a log.
func done(operation string) string {
	return map[string]string{
		"kill": "killed", "cancel": "canceled", "pause": "paused", "resume": "resumed", "purge": "purged",
		"purge-journal": "purged the journal of", "restart-as-new": "restarted",
	}[operation]
}

// ask gives an order, and returns the status of the answer.
func (a *API) ask(ctx context.Context, id ids.InvocationID, order func(sink *logv1.ResponseSink) *logv1.Record) (int, any, error) {
	outcome, err := a.Operations.Ask(ctx, id, order)
	if err != nil {
		return 0, nil, err
	}
	status, err := statusOfOutcome(id, outcome)
	return status, nil, err
}

// notBegun advises on an invocation that an order comes too early for.
const notBegun = "Try again once it has begun. It can be canceled or killed before."

// refused is the error of an order that the invocation does not allow as it is now.
func refused(status int, advice, format string, args ...any) error {
	return advise(&statusError{status, errcode.New(errcode.NotAllowed, format, args...)}, advice)
}

// statusOfOutcome returns the status of a success, or the error that an order could not be followed.
func statusOfOutcome(id ids.InvocationID, outcome storagev1.Outcome) (int, error) {
	refuse := func(status int, why, advice string) (int, error) {
		return 0, refused(status, advice, "the invocation %s %s", id, why)
	}
	switch outcome {
	case storagev1.Outcome_OUTCOME_DONE:
		return http.StatusOK, nil
	case storagev1.Outcome_OUTCOME_SIGNALLED:
		return http.StatusAccepted, nil
	case storagev1.Outcome_OUTCOME_UNKNOWN_INVOCATION:
		return 0, errcode.New(errcode.NotFound, "there is no invocation %s", id)
	case storagev1.Outcome_OUTCOME_COMPLETED:
		return refuse(http.StatusConflict, "is completed",
			"It can be restarted as new, or purged.")
	case storagev1.Outcome_OUTCOME_NOT_COMPLETED:
		return refuse(http.StatusConflict, "is not completed",
			"Wait until it is, or cancel or kill it first.")
	case storagev1.Outcome_OUTCOME_NOT_STARTED:
		return refuse(http.StatusTooEarly, "has not begun yet", notBegun)
	case storagev1.Outcome_OUTCOME_CANNOT_MOVE:
		return refuse(http.StatusConflict, "runs, or has not begun anywhere, so that it cannot move to another deployment",
			"Pause it first, or leave ?deployment= out.")
	case storagev1.Outcome_OUTCOME_UNSUPPORTED:
		return refuse(http.StatusUnprocessableEntity, "is the run of a workflow, of which there is one for each key",
			"Purge it, and run the workflow with the key again; or use another key.")
	case storagev1.Outcome_OUTCOME_JOURNAL_GONE:
		return refuse(http.StatusGone, "has no journal any more",
			"Call its handler again: what it was called with has gone with the journal. journal_retention says how long one is kept.")
	case storagev1.Outcome_OUTCOME_BAD_PREFIX:
		return refuse(http.StatusBadRequest, "has no such prefix of its journal, or one with steps that were not completed",
			"Choose a smaller ?from=; 0 keeps what it was called with, and nothing else.")
	case storagev1.Outcome_OUTCOME_UNSPECIFIED, storagev1.Outcome_OUTCOME_NOT_READY, storagev1.Outcome_OUTCOME_ACCEPTED,
		storagev1.Outcome_OUTCOME_PREVIOUSLY_ACCEPTED, storagev1.Outcome_OUTCOME_TOO_MANY_WAIT:
	}
	return 0, errcode.New(errcode.Unexpected, "the partition of %s answers %s, which is no answer to an order", id, outcome)
}

func terminate(id ids.InvocationID, mode logv1.TerminationMode, cascade bool, sink *logv1.ResponseSink) *logv1.Record {
	return &logv1.Record{Command: &logv1.Record_Terminate{Terminate: &logv1.Terminate{
		InvocationId: id[:], Mode: mode, Cascade: cascade, ResponseSink: sink,
	}}}
}

func errUncancellable(id ids.InvocationID) error {
	return refused(http.StatusConflict, "Kill it: PATCH /invocations/{invocation}/kill.",
		"the invocation %s is of a service with protobuf messages, whose SDK cannot be told to cancel", id)
}

func (a *API) cancel(ctx context.Context, id ids.InvocationID, _ options) (int, any, error) {
	known, err := a.look(ctx, id)
	switch {
	case err != nil:
		return 0, nil, err
	case !known.found: // a handler that may not know what to do with it must not get the signal
		return 0, nil, errcode.New(errcode.NotFound, "there is no invocation %s", id)
	case known.begun && !known.handlers:
		return 0, nil, errUncancellable(id)
	}
	return a.ask(ctx, id, func(sink *logv1.ResponseSink) *logv1.Record {
		return terminate(id, logv1.TerminationMode_TERMINATION_MODE_CANCEL, false, sink)
	})
}

func (a *API) kill(ctx context.Context, id ids.InvocationID, _ options) (int, any, error) {
	known, err := a.look(ctx, id)
	if err != nil {
		return 0, nil, err
	}
	return a.ask(ctx, id, func(sink *logv1.ResponseSink) *logv1.Record {
		return terminate(id, logv1.TerminationMode_TERMINATION_MODE_KILL, known.cascades(), sink)
	})
}

func purge(id ids.InvocationID, journalOnly bool, sink *logv1.ResponseSink) *logv1.Record {
	return &logv1.Record{Command: &logv1.Record_Purge{Purge: &logv1.Purge{
		InvocationId: id[:], JournalOnly: journalOnly, ResponseSink: sink,
	}}}
}

func (a *API) purge(ctx context.Context, id ids.InvocationID, _ options) (int, any, error) {
	return a.ask(ctx, id, func(sink *logv1.ResponseSink) *logv1.Record { return purge(id, false, sink) })
}

func (a *API) purgeJournal(ctx context.Context, id ids.InvocationID, _ options) (int, any, error) {
	return a.ask(ctx, id, func(sink *logv1.ResponseSink) *logv1.Record { return purge(id, true, sink) })
}

func (a *API) pause(ctx context.Context, id ids.InvocationID, _ options) (int, any, error) {
	outcome, err := a.Operations.Ask(ctx, id, func(sink *logv1.ResponseSink) *logv1.Record {
		return &logv1.Record{Command: &logv1.Record_Pause{Pause: &logv1.Pause{InvocationId: id[:], ResponseSink: sink}}}
	})
	if err != nil {
		return 0, nil, err
	}
	if outcome == storagev1.Outcome_OUTCOME_NOT_STARTED { // there is nothing to wait for, unlike where it is too early
		return 0, nil, refused(http.StatusConflict, notBegun, "the invocation %s has not begun yet", id)
	}
	status, err := statusOfOutcome(id, outcome)
	return status, nil, err
}

func (a *API) resume(ctx context.Context, id ids.InvocationID, o options) (int, any, error) {
	pin, _, err := a.move(ctx, id, o.deployment, keepDeployment)
	if err != nil {
		return 0, nil, err
	}
	return a.ask(ctx, id, func(sink *logv1.ResponseSink) *logv1.Record {
		return &logv1.Record{Command: &logv1.Record_Resume{Resume: &logv1.Resume{InvocationId: id[:], Pin: pin, ResponseSink: sink}}}
	})
}

// restart runs on the latest deployment unless another is named.
func (a *API) restart(ctx context.Context, id ids.InvocationID, o options) (int, any, error) {
	if o.from > 0 {
		known, err := a.look(ctx, id)
		if err != nil {
			return 0, nil, err
		}
		if version := known.pin.GetServiceProtocolVersion(); known.pin != nil && version < schema.SeededServiceProtocol {
			return 0, nil, refused(http.StatusUnprocessableEntity, "Leave ?from= out: it can be restarted from the beginning.",
				"the invocation %s began with version %d of the service protocol, before %d, in which random numbers depend on "+
					"its id: it cannot be restarted from a prefix of its journal", id, version, schema.SeededServiceProtocol)
		}
	}
	pin, latest, err := a.move(ctx, id, o.deployment, latestDeployment)
	if err != nil {
		return 0, nil, err
	}
	fresh, err := ids.NewInvocationID(id.PartitionKey())
	if err != nil {
		return 0, nil, err
	}
	// Without a prefix there is nothing that a deployment has to fit: the first attempt chooses it, and the protocol.
	unpinned := latest && o.from == 0
	if unpinned {
		pin = nil
	}
	status, _, err := a.ask(ctx, id, func(sink *logv1.ResponseSink) *logv1.Record {
		return &logv1.Record{Command: &logv1.Record_RestartAsNew{RestartAsNew: &logv1.RestartAsNew{
			InvocationId: id[:], NewInvocationId: fresh[:], From: o.from, Pin: pin, Unpinned: unpinned, ResponseSink: sink,
		}}}
	})
	return status, api.Restarted{ID: fresh.String()}, err
}

// The modes of remove.
const (
	modeCancel = "cancel"
	modeKill   = "kill"
	modePurge  = "purge"
)

// remove is the older spelling of three operations. It does not say what became of them. Without a mode it is that of
// 2023, which killed, where the service is of that time or the invocation not found. Nothing is done while that cannot be
// told.
func (a *API) remove(c *gin.Context) error {
	id, err := invocationID(c)
	if err != nil {
		return err
	}
	ctx, mode, status := c.Request.Context(), strings.ToLower(c.Query("mode")), http.StatusAccepted
	known, unclear := a.look(ctx, id)
	if mode == "" {
		mode = modeCancel
		if !known.handlers {
			mode, status = modeKill, http.StatusOK
		}
	}
	var order *logv1.Record
	switch mode {
	case modeCancel:
		if known.begun && !known.handlers {
			return errUncancellable(id)
		}
		order = terminate(id, logv1.TerminationMode_TERMINATION_MODE_CANCEL, false, nil)
	case modeKill:
		order = terminate(id, logv1.TerminationMode_TERMINATION_MODE_KILL, known.cascades(), nil)
	case modePurge:
		order = purge(id, false, nil)
	default:
		return errcode.New(errcode.BadRequest, "mode is %q, and has to be cancel, kill or purge", c.Query("mode"))
	}
	if unclear != nil {
		return unclear
	}
	if err := a.Operations.Submit(ctx, id.PartitionKey(), order); err != nil {
		return err
	}
	a.Log.Info("an operator "+done(mode)+" an invocation", "invocation", id.String())
	c.Status(status)
	return nil
}
