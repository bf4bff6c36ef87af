package embedded

import "github.com/restate-go/restate/pkg/embedded"

// MaxStreams is how many streams a host has at most.
const MaxStreams = maxStreams

// Receivers returns how many Recvs the operation's stream has had.
func Receivers(h *Host, operation string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.operations[embedded.InvocationID(operation)]
	if !ok || o.stream == nil {
		return 0
	}
	return o.stream.receivers
}

// Waiting returns how many requests wait for the operation's result.
func Waiting(h *Host, operation string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.operations[embedded.InvocationID(operation)]
	if !ok {
		return 0
	}
	return o.waiting
}

// Operations returns how many operations are in memory.
func Operations(h *Host) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.operations)
}
