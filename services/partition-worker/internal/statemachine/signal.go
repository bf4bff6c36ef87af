package statemachine

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
)

// signalCancel is the index of the signal that asks a handler to end, as the SDKs take it.
const signalCancel = 1

func cancellation() *journalv1.Notification {
	return &journalv1.Notification{
		Id:     &journalv1.Notification_SignalIndex{SignalIndex: signalCancel},
		Result: void(),
	}
}

// sendSignal delivers a signal. A handler cancels another by one too, which for an invocation that has not begun is the
// same as an operator's request.
func (s *step) sendSignal(command *journalv1.SendSignal) error {
	notification := &journalv1.Notification{Result: command.GetResult()}
	switch signal := command.GetSignal().(type) {
	case *journalv1.SendSignal_Index:
		if signal.Index == signalCancel {
			return s.sendTerminate(&logv1.Terminate{
				InvocationId: command.GetInvocationId(), Mode: logv1.TerminationMode_TERMINATION_MODE_CANCEL,
			})
		}
		notification.Id = &journalv1.Notification_SignalIndex{SignalIndex: signal.Index}
	case *journalv1.SendSignal_Name:
		notification.Id = &journalv1.Notification_SignalName{SignalName: signal.Name}
	}
	return s.sendNotify(&logv1.Notify{InvocationId: command.GetInvocationId(), Notification: notification})
}
