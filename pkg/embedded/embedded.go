// Package embedded says which invocation an embedded handler is: one that a client runs itself, through the service
// dev.restate.internal.RemoteContext, and names by an operation id.
package embedded

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
)

const (
	// Service is keyed by the operation id, which is the first field of all its requests.
	Service = "dev.restate.internal.RemoteContext"
	// Method begins an operation.
	Method = "Start"
	// MaxIDBytes bounds operation ids and stream ids, which are part of keys and records.
	MaxIDBytes = 4096
	// DefaultRetention is how long a result is kept where the client does not say.
	DefaultRetention = 30 * time.Minute
)

// ErrID means that an operation id or a stream id cannot be used.
var ErrID = errors.New("unusable id")

// CheckID returns an ErrID unless the id, of the kind that is named, has 1 to MaxIDBytes bytes.
func CheckID(kind, id string) error {
	if id == "" || len(id) > MaxIDBytes {
		return fmt.Errorf("%w: %s has %d bytes, and has to have 1 to %d", ErrID, kind, len(id), MaxIDBytes)
	}
	return nil
}

// key is in the form of a string key that was cut out of a request.
func key(operation string) []byte { return protowire.AppendString(nil, operation) }

// PartitionKey decides where the operation lives.
func PartitionKey(operation string) uint64 { return keyspace.HashKey(key(operation)) }

// Target returns what the operation's invocation runs.
func Target(operation string) *journalv1.Target {
	return &journalv1.Target{
		Service: Service, Handler: Method, Key: key(operation), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED,
	}
}

// InvocationID returns the operation's invocation: every Start with the operation id finds the same one.
func InvocationID(operation string) ids.InvocationID {
	hash := sha256.Sum256(append([]byte(Service+"/"), operation...))
	return ids.MakeInvocationID(PartitionKey(operation), [16]byte(hash[:16]))
}
