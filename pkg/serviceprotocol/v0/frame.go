// Package v0 is the service protocol of the 2023 SDKs, as SDK 0.4.1 speaks it: how the entries of the neutral journal look
// in its frames.
//
// In this protocol a journal is a list of commands. The result of a command travels in the command's own entry when a
// journal is replayed, and in a completion with the command's index while an attempt runs.
package v0

import "github.com/restate-go/restate/pkg/serviceprotocol/frame"

// The types of frames.
const (
	TypeStart             frame.Type = 0x0000
	TypeCompletion        frame.Type = 0x0001
	TypeSuspension        frame.Type = 0x0002
	TypeError             frame.Type = 0x0003
	TypePollInputStream   frame.Type = 0x0400
	TypeOutputStream      frame.Type = 0x0401
	TypeGetState          frame.Type = 0x0800
	TypeSetState          frame.Type = 0x0801
	TypeClearState        frame.Type = 0x0802
	TypeSleep             frame.Type = 0x0c00
	TypeInvoke            frame.Type = 0x0c01
	TypeBackgroundInvoke  frame.Type = 0x0c02
	TypeAwakeable         frame.Type = 0x0c03
	TypeCompleteAwakeable frame.Type = 0x0c04
	// TypeCustom is the first of the codes whose content only the SDK understands.
	TypeCustom frame.Type = 0xfc00
)

// The flags of frames; they mean something on certain types only.
const (
	FlagCompleted   uint16 = 0x0001
	FlagRequiresAck uint16 = 0x0001
)
