package scan

import (
	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"

	"github.com/restate-go/restate/services/storage-reader/internal/domain"
)

// reference names an invocation of which a row has no more than the id. Service and service key are empty when the
// invocation is over and forgotten.
func reference(v View, stored []byte) (*domainv1.ServiceInvocationId, error) {
	id, err := ids.InvocationIDFromBytes(stored)
	if err != nil {
		return nil, err
	}
	invocation, err := v.Invocation(id)
	if err != nil {
		return nil, err
	}
	if invocation == nil {
		return domain.ForgottenID(id), nil
	}
	return domain.InvocationID(id, invocation.GetTarget()), nil
}

// responseSink says who waits for an invocation. There may be several; the message has room for one.
func responseSink(v View, invocation *storagev1.Invocation) (*domainv1.ServiceInvocationResponseSink, error) {
	if len(invocation.GetResponseSinks()) == 0 {
		return domain.NoSink(), nil
	}
	return sink(v, invocation.GetResponseSinks()[0])
}

func sink(v View, stored *logv1.ResponseSink) (*domainv1.ServiceInvocationResponseSink, error) {
	switch to := stored.GetSink().(type) {
	case *logv1.ResponseSink_Ingress:
		return domain.IngressSink(to.Ingress.GetIngressId()), nil
	case *logv1.ResponseSink_Caller:
		caller, err := reference(v, to.Caller.GetInvocationId())
		if err != nil {
			return nil, err
		}
		return domain.CallerSink(caller, to.Caller.GetCompletionId()), nil
	default:
		return domain.NoSink(), nil
	}
}

// serviceInvocation returns an invocation that has not begun, nil when there is none.
func serviceInvocation(v View, id ids.InvocationID) (*domainv1.ServiceInvocation, error) {
	invocation, err := v.Invocation(id)
	if err != nil || invocation == nil {
		return nil, err
	}
	input, err := storage.GetJournalEntry(v.of(id), id, 0)
	if err != nil {
		return nil, err
	}
	to, err := responseSink(v, invocation)
	if err != nil {
		return nil, err
	}
	return domain.Invocation(id, invocation.GetTarget(), input.GetCommand().GetInput().GetValue(), to, invocation.GetSpanContext()), nil
}

func outboxMessage(v View, stored *storagev1.OutboxMessage) (*domainv1.OutboxMessage, error) {
	switch m := stored.GetMessage().(type) {
	case *storagev1.OutboxMessage_Invoke:
		id, err := ids.InvocationIDFromBytes(m.Invoke.GetInvocationId())
		if err != nil {
			return nil, err
		}
		to, err := sink(v, m.Invoke.GetResponseSink())
		if err != nil {
			return nil, err
		}
		return domain.OutboxInvocation(domain.Invocation(id, m.Invoke.GetTarget(), m.Invoke.GetArgument(), to, m.Invoke.GetSpanContext())), nil
	case *storagev1.OutboxMessage_Notify:
		receiver, err := reference(v, m.Notify.GetInvocationId())
		if err != nil {
			return nil, err
		}
		n := m.Notify.GetNotification()
		return domain.OutboxResponse(receiver, n.GetCompletionId(), n.GetResult()), nil
	case *storagev1.OutboxMessage_IngressResponse:
		answered, err := reference(v, m.IngressResponse.GetInvocationId())
		if err != nil {
			return nil, err
		}
		return domain.OutboxIngress(answered, m.IngressResponse.GetIngressId(), m.IngressResponse.GetResult()), nil
	default:
		// A kind of message that this protocol has no form for.
		return &domainv1.OutboxMessage{}, nil
	}
}
