package ids

import (
	"crypto/sha256"
	"strings"
)

// Ids that follow from what is invoked make a repeated request find the invocation of the first. They
// are those of restate-server.

// WorkflowUUID returns the UUID of the one run of a workflow's key.
func WorkflowUUID(scope *string, workflow, key string) [16]byte {
	return derive("wf", scope, workflow, key)
}

// IdempotentUUID returns the UUID of the invocation with an idempotency key. A service without keys has no key.
func IdempotentUUID(scope *string, service string, key *string, handler, idempotencyKey string) [16]byte {
	if key == nil {
		return derive("ik", scope, service, handler, idempotencyKey)
	}
	return derive("ik", scope, service, *key, handler, idempotencyKey)
}

func derive(purpose string, scope *string, parts ...string) [16]byte {
	all := []string{purpose}
	if scope != nil {
		all = append(all, *scope)
	}
	sum := sha256.Sum256([]byte(strings.Join(append(all, parts...), ",")))
	return [16]byte(sum[:16])
}
