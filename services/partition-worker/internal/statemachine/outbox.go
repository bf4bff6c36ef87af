package statemachine

import (
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/storage"
)

// sendInvoke hands an invocation to the partition of its id, which may be this one.
func (s *step) sendInvoke(command *logv1.Invoke) error {
	local, err := s.isLocal(command.GetInvocationId())
	if err != nil {
		return err
	}
	if local {
		return s.invoke(command)
	}
	return s.enqueue(&storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_Invoke{Invoke: command}})
}

// sendNotify hands a result to the partition of the invocation, which may be this one.
func (s *step) sendNotify(command *logv1.Notify) error {
	local, err := s.isLocal(command.GetInvocationId())
	if err != nil {
		return err
	}
	if local {
		return s.notify(command)
	}
	return s.enqueue(&storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_Notify{Notify: command}})
}

// sendTerminate stops an invocation of any partition.
func (s *step) sendTerminate(command *logv1.Terminate) error {
	local, err := s.isLocal(command.GetInvocationId())
	if err != nil {
		return err
	}
	if local {
		return s.terminate(command)
	}
	return s.enqueue(&storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_Terminate{Terminate: command}})
}

// sendAttach asks for the result of an invocation of any partition.
func (s *step) sendAttach(command *logv1.Attach) error {
	local, err := s.isLocal(command.GetInvocationId())
	if err != nil {
		return err
	}
	if local {
		return s.attachTo(command)
	}
	return s.enqueue(&storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_Attach{Attach: command}})
}

func (s *step) isLocal(invocation []byte) (bool, error) {
	id, err := invocationID(invocation)
	if err != nil {
		return false, err
	}
	return s.layout.PartitionOf(id.PartitionKey()) == s.partition, nil
}

// enqueue appends to the outbox; sequences start at 1.
func (s *step) enqueue(message *storagev1.OutboxMessage) error {
	if s.meta.GetNextOutboxSequence() == 0 {
		s.meta.NextOutboxSequence, s.meta.FirstOutboxSequence = 1, 1
	}
	sequence := s.meta.GetNextOutboxSequence()
	s.meta.NextOutboxSequence++
	s.act(SendOutbox{Sequence: sequence, Message: message})
	return storage.PutOutbox(s.tx, sequence, message)
}

// truncateOutbox drops what has arrived where it was sent.
func (s *step) truncateOutbox(command *logv1.TruncateOutbox) error {
	for ; s.meta.GetFirstOutboxSequence() <= command.GetThrough(); s.meta.FirstOutboxSequence++ {
		if s.meta.GetFirstOutboxSequence() == s.meta.GetNextOutboxSequence() {
			return nil
		}
		s.tx.Delete(storage.OutboxKey(s.meta.GetFirstOutboxSequence()))
	}
	return nil
}
