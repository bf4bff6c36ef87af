package v5

import "github.com/restate-go/restate/pkg/serviceprotocol/frame"

// The types of frames.
const (
	TypeStart                   frame.Type = 0x0000
	TypeSuspension              frame.Type = 0x0001
	TypeError                   frame.Type = 0x0002
	TypeEnd                     frame.Type = 0x0003
	TypeCommandAck              frame.Type = 0x0004
	TypeProposeRunCompletion    frame.Type = 0x0005
	TypeAwaitingOn              frame.Type = 0x0006
	TypeProposeRunCompletionAck frame.Type = 0x0007

	TypeInput               frame.Type = 0x0400
	TypeOutput              frame.Type = 0x0401
	TypeGetLazyState        frame.Type = 0x0402
	TypeSetState            frame.Type = 0x0403
	TypeClearState          frame.Type = 0x0404
	TypeClearAllState       frame.Type = 0x0405
	TypeGetLazyStateKeys    frame.Type = 0x0406
	TypeGetEagerState       frame.Type = 0x0407
	TypeGetEagerStateKeys   frame.Type = 0x0408
	TypeGetPromise          frame.Type = 0x0409
	TypePeekPromise         frame.Type = 0x040a
	TypeCompletePromise     frame.Type = 0x040b
	TypeSleep               frame.Type = 0x040c
	TypeCall                frame.Type = 0x040d
	TypeOneWayCall          frame.Type = 0x040e
	TypeSendSignal          frame.Type = 0x0410
	TypeRun                 frame.Type = 0x0411
	TypeAttachInvocation    frame.Type = 0x0412
	TypeGetInvocationOutput frame.Type = 0x0413
	TypeCompleteAwakeable   frame.Type = 0x0414

	TypeGetLazyStateCompletion        frame.Type = 0x8002
	TypeGetLazyStateKeysCompletion    frame.Type = 0x8006
	TypeGetPromiseCompletion          frame.Type = 0x8009
	TypePeekPromiseCompletion         frame.Type = 0x800a
	TypeCompletePromiseCompletion     frame.Type = 0x800b
	TypeSleepCompletion               frame.Type = 0x800c
	TypeCallCompletion                frame.Type = 0x800d
	TypeCallInvocationIDCompletion    frame.Type = 0x800e
	TypeRunCompletion                 frame.Type = 0x8011
	TypeAttachInvocationCompletion    frame.Type = 0x8012
	TypeGetInvocationOutputCompletion frame.Type = 0x8013
	TypeSignal                        frame.Type = 0xfbff
)

// FlagAckRequested on a command or a proposal asks for an acknowledgement.
const FlagAckRequested uint16 = 0x8000

// commandNames are how commands are called in what users see.
var commandNames = map[frame.Type]string{
	TypeInput:               "Input",
	TypeOutput:              "Output",
	TypeGetLazyState:        "GetLazyState",
	TypeSetState:            "SetState",
	TypeClearState:          "ClearState",
	TypeClearAllState:       "ClearAllState",
	TypeGetLazyStateKeys:    "GetLazyStateKeys",
	TypeGetEagerState:       "GetEagerState",
	TypeGetEagerStateKeys:   "GetEagerStateKeys",
	TypeGetPromise:          "GetPromise",
	TypePeekPromise:         "PeekPromise",
	TypeCompletePromise:     "CompletePromise",
	TypeSleep:               "Sleep",
	TypeCall:                "Call",
	TypeOneWayCall:          "OneWayCall",
	TypeSendSignal:          "SendSignal",
	TypeRun:                 "Run",
	TypeAttachInvocation:    "AttachInvocation",
	TypeGetInvocationOutput: "GetInvocationOutput",
	TypeCompleteAwakeable:   "CompleteAwakeable",
}

// CommandName returns how the commands of the type are called; empty for a type that is not one of a command.
func CommandName(t frame.Type) string { return commandNames[t] }
