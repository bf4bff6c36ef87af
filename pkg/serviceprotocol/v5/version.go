// Package v5 is the service protocol of today's SDKs, versions 5 to 7, as SDK 1.17.2 speaks it: how the
// entries of the neutral journal look in its frames.
//
// In this protocol a journal is a list of commands and notifications, which is replayed as it was stored. Commands name
// the completions that answer them by ids that the endpoint chooses.
package v5

import (
	"errors"
	"strconv"
)

// Version is one version of the protocol. They share frames and field numbers; each adds to the one before.
type Version uint32

// The versions. The first is as other versions are not.
const (
	V5 Version = 5
	// V6 has random seeds, and failures with metadata.
	V6 Version = 6
	// V7 has trees of futures, acknowledgements of proposals, scopes, and says how a handler was called.
	V7 Version = 7

	MinVersion = V5
	MaxVersion = V7
)

// ContentType is that of request and response.
func (v Version) ContentType() string {
	return "application/vnd.restate.invocation.v" + strconv.FormatUint(uint64(v), 10)
}

var (
	// ErrRefused means that a command is well formed, and asks for what it may not.
	ErrRefused = errors.New("command refused")
	// ErrScope is ErrRefused for scopes and limit keys.
	ErrScope = errors.New("scope refused")
	// ErrTooDeep means that futures are nested too deeply.
	ErrTooDeep = errors.New("futures are nested too deeply")
)
