package statemachine

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
)

// getPromise completes the command with the promise, now or when that is completed. Where too many wait for it already,
// the handler gets a failure that it can act on.
func (s *step) getPromise(id ids.InvocationID, invocation *storagev1.Invocation, command *journalv1.GetPromise) error {
	instance := instanceOf(id, invocation)
	promise, err := storage.GetPromise(s.tx, instance, command.GetKey())
	if err != nil {
		return err
	}
	if promise.GetResult() != nil {
		return s.complete(id, invocation, command.GetCompletionId(), promise.GetResult())
	}
	if promise == nil {
		promise = &storagev1.Promise{}
	}
	most := maxWaiters
	if exclusive(invocation) {
		most += placesOfRun
	}
	if n := len(promise.GetWaiters()); n >= most || n >= pruneWaiters && n&(n-1) == 0 {
		if promise.Waiters, err = s.alive(promise.GetWaiters()); err != nil {
			return err
		}
	}
	if len(promise.GetWaiters()) >= most {
		return s.complete(id, invocation, command.GetCompletionId(), failure(&journalv1.Failure{
			Code: codeTooMany, Message: errcode.New(errcode.PromiseCrowded,
				"%d wait for the promise %.64q already: try again later", len(promise.GetWaiters()), command.GetKey()).Error(),
		}))
	}
	promise.Waiters = append(promise.Waiters, &storagev1.PromiseWaiter{
		InvocationId: id[:], CompletionId: command.GetCompletionId(), CreatedLsn: invocation.GetCreatedLsn(),
	})
	return storage.PutPromise(s.tx, instance, command.GetKey(), promise)
}

// pruneWaiters is the least number of waiters of a promise among which those that are over are looked for, as often as
// their number has doubled. Handlers that give up waiting would pile up while the promise is open.
const pruneWaiters = 16

const (
	// maxWaiters bounds how many wait for one promise. They are in its record, some 40 bytes each, which is written anew
	// for each that comes.
	maxWaiters = 1000
	// placesOfRun are those beyond for the run of the workflow, which is there once for each key: it does not fail because
	// others wait for the same.
	placesOfRun = 24
)

// alive returns the waiters that are still in progress.
func (s *step) alive(waiters []*storagev1.PromiseWaiter) ([]*storagev1.PromiseWaiter, error) {
	var alive []*storagev1.PromiseWaiter
	for _, waiter := range waiters {
		waits, err := s.stillWaits(waiter.GetInvocationId(), waiter.GetCreatedLsn())
		if err != nil {
			return nil, err
		}
		if waits {
			alive = append(alive, waiter)
		}
	}
	return alive, nil
}

// dropPromises drops the promises of a workflow whose run is forgotten. An open one that is waited for stays: the next
// run may complete it, and nobody else would.
func (s *step) dropPromises(instance storage.Instance) error {
	open := map[string]*storagev1.Promise{}
	if err := storage.ScanPromises(s.tx, instance, func(key string, promise *storagev1.Promise) error {
		if len(promise.GetWaiters()) > 0 {
			open[key] = promise
		}
		return nil
	}); err != nil {
		return err
	}
	if err := storage.DeletePromises(s.tx, s.tx, instance); err != nil {
		return err
	}
	for key, promise := range open {
		alive, err := s.alive(promise.GetWaiters())
		if err != nil {
			return err
		}
		if len(alive) > 0 {
			if err := storage.PutPromise(s.tx, instance, key, &storagev1.Promise{Waiters: alive}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *step) peekPromise(id ids.InvocationID, invocation *storagev1.Invocation, command *journalv1.PeekPromise) error {
	promise, err := storage.GetPromise(s.tx, instanceOf(id, invocation), command.GetKey())
	if err != nil {
		return err
	}
	result := promise.GetResult()
	if result == nil {
		result = void()
	}
	return s.complete(id, invocation, command.GetCompletionId(), result)
}

// completePromise gives the promise its value, unless it has one. Who waits for it belongs to the same key, and so to
// this partition.
func (s *step) completePromise(id ids.InvocationID, invocation *storagev1.Invocation, command *journalv1.CompletePromise) error {
	instance := instanceOf(id, invocation)
	promise, err := storage.GetPromise(s.tx, instance, command.GetKey())
	if err != nil {
		return err
	}
	if promise.GetResult() != nil {
		return s.complete(id, invocation, command.GetCompletionId(), failure(&journalv1.Failure{
			Code: codeConflict, Message: "promise was already completed",
		}))
	}
	done := &storagev1.Promise{Result: command.GetResult()}
	if err := storage.PutPromise(s.tx, instance, command.GetKey(), done); err != nil {
		return err
	}
	if err := s.complete(id, invocation, command.GetCompletionId(), void()); err != nil {
		return err
	}
	for _, waiter := range promise.GetWaiters() {
		if err := s.respondTo(waiter.GetInvocationId(), waiter.GetCompletionId(), waiter.GetCreatedLsn(), command.GetResult()); err != nil {
			return err
		}
	}
	return nil
}
