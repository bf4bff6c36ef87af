package statemachine

import (
	"bytes"
	"slices"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
)

// maxSinks bounds how many wait for the result of one invocation. They are in its record, some 50 bytes each, which is
// written with every step.
const maxSinks = 1000

// codeTooMany is the failure code of what a handler may try again when others have gone.
const codeTooMany = 429

// attach sends the result of an invocation to the sink, now or when it is there. Where too many wait for it already,
// the one that asks is told so.
func (s *step) attach(id ids.InvocationID, invocation *storagev1.Invocation, sink *logv1.ResponseSink) error {
	if invocation.GetState() == storagev1.Invocation_STATE_COMPLETED {
		return s.respond(id, invocation, sink, invocation.GetResult(), invocation.GetExpiresAt(), true)
	}
	sink = stored(sink)
	same := func(present *logv1.ResponseSink) bool { return sameWaiter(present, sink) }
	if i := slices.IndexFunc(invocation.GetResponseSinks(), same); i >= 0 {
		invocation.ResponseSinks[i] = sink
		s.cache.put(id, invocation)
		return nil
	}
	if len(invocation.GetResponseSinks()) >= maxSinks {
		answerable, err := s.answerable(invocation.GetResponseSinks())
		if err != nil {
			return err
		}
		if len(answerable) >= maxSinks {
			return s.turnAway(id, sink)
		}
		invocation.ResponseSinks = answerable
	}
	invocation.ResponseSinks = append(invocation.ResponseSinks, sink)
	s.cache.put(id, invocation)
	return nil
}

// dropLeft drops the sinks of requests whose callers have left, as another request of the same process says. It says so
// once, whatever it gets for an answer.
func (s *step) dropLeft(id ids.InvocationID, invocation *storagev1.Invocation, says *logv1.IngressSink) {
	if len(says.GetLeft()) == 0 || len(invocation.GetResponseSinks()) == 0 {
		return
	}
	invocation.ResponseSinks = slices.DeleteFunc(invocation.GetResponseSinks(), func(present *logv1.ResponseSink) bool {
		to := present.GetIngress()
		return to.GetIngressId() == says.GetIngressId() && slices.Contains(says.GetLeft(), to.GetRequestId())
	})
	s.cache.put(id, invocation)
}

// stored returns the sink without what it says of others.
func stored(sink *logv1.ResponseSink) *logv1.ResponseSink {
	to := sink.GetIngress()
	if len(to.GetLeft()) == 0 {
		return sink
	}
	return &logv1.ResponseSink{Sink: &logv1.ResponseSink_Ingress{
		Ingress: &logv1.IngressSink{IngressId: to.GetIngressId(), RequestId: to.GetRequestId()},
	}}
}

// sameWaiter says whether two sinks are one request, or the same command of a caller. An id can be used again once its
// invocation is gone: the sink of the one before is of no use then.
func sameWaiter(a, b *logv1.ResponseSink) bool {
	if to := a.GetIngress(); to != nil {
		return b.GetIngress() != nil && to.GetRequestId() == b.GetIngress().GetRequestId() &&
			to.GetIngressId() == b.GetIngress().GetIngressId()
	}
	to := a.GetCaller()
	return to != nil && b.GetCaller() != nil && to.GetCompletionId() == b.GetCaller().GetCompletionId() &&
		bytes.Equal(to.GetInvocationId(), b.GetCaller().GetInvocationId())
}

// answerable returns the sinks without those of callers that are over. Whether an ingress or a caller in another
// partition still waits is not known here.
func (s *step) answerable(sinks []*logv1.ResponseSink) ([]*logv1.ResponseSink, error) {
	var answerable []*logv1.ResponseSink
	for _, sink := range sinks {
		if to := sink.GetCaller(); to != nil {
			waits, err := s.stillWaits(to.GetInvocationId(), to.GetCreatedLsn())
			if err != nil {
				return nil, err
			}
			if !waits {
				continue
			}
		}
		answerable = append(answerable, sink)
	}
	return answerable, nil
}

// stillWaits says whether the invocation that a record with the LSN has created takes results. One of another partition
// is taken to.
func (s *step) stillWaits(waiter []byte, createdLSN uint64) (bool, error) {
	if local, err := s.isLocal(waiter); err != nil || !local {
		return true, err
	}
	_, invocation, err := s.asked(waiter)
	return inProgress(invocation) && invocation.GetCreatedLsn() == createdLSN, err
}

// turnAway tells one that asks for a result that too many wait for it. A handler gets a failure that it can act on.
func (s *step) turnAway(id ids.InvocationID, sink *logv1.ResponseSink) error {
	full := failure(&journalv1.Failure{Code: codeTooMany, Message: errcode.New(errcode.TooManyWait,
		"%d wait for the result of %s already: try again later", maxSinks, id).Error()})
	if sink.GetIngress() == nil {
		return s.respond(id, nil, sink, full, 0, false)
	}
	return s.answer(sink, &storagev1.IngressResponse{
		InvocationId: id[:], Outcome: storagev1.Outcome_OUTCOME_TOO_MANY_WAIT, Result: full,
	})
}
