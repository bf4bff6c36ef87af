package schema

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
)

var (
	// ErrUnknownMethod means that the service has no such method.
	ErrUnknownMethod = errors.New("unknown method")
	// ErrIdempotencyKey means that an idempotency key cannot be used.
	ErrIdempotencyKey = errors.New("invalid idempotency key")
)

// MaxKeyLength bounds, in bytes, the key of a service instance, and idempotency keys: rows have them in their keys.
const MaxKeyLength = 64 << 10

// Call names what is to be invoked.
type Call struct {
	Method string
	// Payload is the serialized request. The key of a method with protobuf messages is in it.
	Payload []byte
	// Key of the service instance; nil for a service without keys. Methods with protobuf messages do not look at it.
	Key *string
	// IdempotencyKey and Scope are nil where the caller gives none.
	IdempotencyKey, Scope *string
	LimitKey              string
}

// Resolved is what a call stands for.
type Resolved struct {
	Target *journalv1.Target
	ID     ids.InvocationID
	// CompletionRetention and JournalRetention are how long the result and the journal are kept after completion.
	CompletionRetention, JournalRetention time.Duration
}

// Resolve names what a call runs, and gives it its id: one that follows from the call where the same call is not to be
// run twice, and otherwise a fresh one. The error wraps ErrUnknownMethod, ErrKey or ErrIdempotencyKey.
func (s *Service) Resolve(call Call) (Resolved, error) {
	m, ok := s.Method(call.Method)
	if !ok {
		return Resolved{}, fmt.Errorf("%w: %s/%s", ErrUnknownMethod, s.Name, call.Method)
	}
	if m.Input != nil {
		return s.resolveMessage(m, call.Payload)
	}
	if call.IdempotencyKey != nil && len(*call.IdempotencyKey) > MaxKeyLength {
		return Resolved{}, fmt.Errorf("%w: it has more than %d bytes", ErrIdempotencyKey, MaxKeyLength)
	}
	return s.resolveHandler(m, call)
}

// resolveMessage takes the key from the request.
func (s *Service) resolveMessage(m *Method, payload []byte) (Resolved, error) {
	key, err := m.Key(payload)
	if err != nil {
		return Resolved{}, fmt.Errorf("%s/%s: %w", s.Name, m.Name, err)
	}
	if len(key) > MaxKeyLength {
		return Resolved{}, fmt.Errorf("%s/%s: %w: it has more than %d bytes", s.Name, m.Name, ErrKey, MaxKeyLength)
	}
	target := &journalv1.Target{Service: s.Name, Handler: m.Name, Key: key, Kind: s.Kind}
	// Each invocation of an unkeyed service has a key of its own, which spreads them over the partitions.
	spread, err := ids.NewInvocationID(0)
	if err != nil {
		return Resolved{}, err
	}
	u := spread.UUID()
	if s.Kind == journalv1.ServiceKind_SERVICE_KIND_UNKEYED {
		key = u[:]
	}
	return Resolved{Target: target, ID: ids.MakeInvocationID(keyspace.HashKey(key), u)}, nil
}

func (s *Service) resolveHandler(m *Method, call Call) (Resolved, error) {
	keyed := s.Kind != journalv1.ServiceKind_SERVICE_KIND_UNKEYED
	switch {
	case keyed && call.Key == nil:
		return Resolved{}, fmt.Errorf("%w: %s is called by key, and there is none", ErrKey, s.Name)
	case !keyed && call.Key != nil:
		return Resolved{}, fmt.Errorf("%w: %s has no keys", ErrKey, s.Name)
	case keyed && len(*call.Key) > MaxKeyLength:
		return Resolved{}, fmt.Errorf("%w: it has more than %d bytes", ErrKey, MaxKeyLength)
	}
	target := &journalv1.Target{
		Service: s.Name, Handler: m.Name, Kind: s.Kind, Shared: m.Shared, LimitKey: call.LimitKey,
	}
	if keyed {
		target.Key = []byte(*call.Key)
	}
	if call.Scope != nil {
		target.Scope = *call.Scope
	}
	run := s.Kind == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW && !m.Shared
	resolved := Resolved{Target: target, JournalRetention: m.Options.JournalRetention}
	switch {
	case run:
		resolved.CompletionRetention = m.Options.WorkflowRetention
	case call.IdempotencyKey != nil:
		resolved.CompletionRetention = m.Options.IdempotencyRetention
	default:
		resolved.CompletionRetention = m.Options.JournalRetention
	}
	var u [16]byte
	switch {
	case run && call.IdempotencyKey != nil:
		return Resolved{}, fmt.Errorf("%w: the run of a workflow takes none, it is run once for each key", ErrIdempotencyKey)
	case run:
		u = ids.WorkflowUUID(call.Scope, s.Name, *call.Key)
	case call.IdempotencyKey != nil:
		u = ids.IdempotentUUID(call.Scope, s.Name, call.Key, m.Name, *call.IdempotencyKey)
	default:
		fresh, err := ids.NewInvocationID(0)
		if err != nil {
			return Resolved{}, err
		}
		u = fresh.UUID()
	}
	resolved.ID = ids.MakeInvocationID(PartitionKey(s.Name, call.Key, call.IdempotencyKey, call.Scope), u)
	return resolved, nil
}

// PartitionKey returns the key that decides where the invocation of a handler lives, as in restate-server. Invocations
// of a service without keys and without an idempotency key are spread.
func PartitionKey(service string, key, idempotencyKey, scope *string) uint64 {
	switch {
	case scope != nil:
		return keyspace.HashText(*scope)
	case key != nil:
		return keyspace.HashText(*key)
	case idempotencyKey != nil:
		return keyspace.HashService(service, keyspace.HashText(*idempotencyKey)%keyspace.ServiceBuckets)
	default:
		return keyspace.HashService(service, rand.Uint64N(keyspace.ServiceBuckets)) //nolint:gosec // not a secret
	}
}

// WorkflowRunID names the one run of a workflow's key.
func WorkflowRunID(workflow, key string, scope *string) ids.InvocationID {
	return ids.MakeInvocationID(PartitionKey(workflow, &key, nil, scope), ids.WorkflowUUID(scope, workflow, key))
}

// IdempotentID names the invocation with an idempotency key; key is nil for a service without keys.
func IdempotentID(service string, key *string, handler, idempotencyKey string, scope *string) ids.InvocationID {
	return ids.MakeInvocationID(
		PartitionKey(service, key, &idempotencyKey, scope),
		ids.IdempotentUUID(scope, service, key, handler, idempotencyKey),
	)
}
