package handlers

import (
	"context"
	"net/http"
	"strings"

	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
)

// completeAwakeable answers once the completion is durable. Whether somebody waits for it is not looked at: the
// invocation may have ended, or not have come to wait yet.
func (x *exchange) completeAwakeable(ctx context.Context) (reply, error) {
	awakeable, err := v5.ParseAwakeable(x.route.awakeable)
	if err != nil {
		return reply{}, refuse(http.StatusBadRequest, "bad awakeable id: %s", err)
	}
	body, err := x.body()
	if err != nil {
		return reply{}, err
	}
	notification := &journalv1.Notification{Result: &journalv1.Result{Result: &journalv1.Result_Value{Value: body}}}
	if x.route.action == actionReject {
		notification.Result = &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{
			Code: http.StatusInternalServerError, Message: strings.ToValidUTF8(string(body), "\uFFFD"),
		}}}
	}
	if awakeable.Signal {
		notification.Id = &journalv1.Notification_SignalIndex{SignalIndex: awakeable.Index}
	} else {
		notification.Id = &journalv1.Notification_CompletionId{CompletionId: awakeable.Index}
	}
	record := &logv1.Record{Command: &logv1.Record_Notify{Notify: &logv1.Notify{
		InvocationId: awakeable.Invocation[:], Notification: notification, Awakeable: !awakeable.Signal,
	}}}
	if err := x.handlers.deps.Dispatcher.Submit(ctx, awakeable.Invocation.PartitionKey(), record); err != nil {
		return reply{}, undone(err)
	}
	return reply{status: http.StatusAccepted}, nil
}
