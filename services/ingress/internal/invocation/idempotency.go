package invocation

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

const (
	idempotencyKeyHeader = "Idempotency-Key"
	retentionHeader      = "Idempotency-Retention-Period"
	expiresHeader        = "Idempotency-Expires"

	// defaultRetention is how long the result of a request with an idempotency key is kept.
	defaultRetention = 30 * time.Minute
	// maxRetentionSeconds is what the 2023 releases could express.
	maxRetentionSeconds = 1<<32 - 1
)

// idempotency is what the headers of a request say about its repetition.
type idempotency struct {
	// key is empty when repetitions are requests of their own.
	key string
	// Milliseconds.
	retention uint64
}

func idempotencyOf(header http.Header) (idempotency, error) {
	key := header.Get(idempotencyKeyHeader)
	if key == "" {
		return idempotency{}, nil
	}
	once := idempotency{key: key, retention: uint64(defaultRetention / time.Millisecond)}
	if text := header.Get(retentionHeader); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 64)
		if err != nil || seconds > maxRetentionSeconds {
			return idempotency{}, fmt.Errorf("%s is %q, not a number of seconds from 0 to %d",
				retentionHeader, text, uint64(maxRetentionSeconds))
		}
		once.retention = seconds * 1000
	}
	return once, nil
}

// invocationID returns the id that all requests with the key have in common: a second one finds the invocation of the
// first. The scope is the service instance, whichever method is called. fresh is an id made for the target.
func (i idempotency) invocationID(target *journalv1.Target, fresh ids.InvocationID) ids.InvocationID {
	partitionKey := fresh.PartitionKey()
	if target.GetKind() == journalv1.ServiceKind_SERVICE_KIND_UNKEYED {
		// A fresh id of an unkeyed service may be in any partition.
		partitionKey = keyspace.HashKey([]byte(i.key))
	}
	hash := sha256.New()
	for _, part := range [][]byte{[]byte(target.GetService()), target.GetKey(), []byte(i.key)} {
		// The lengths keep ("ab", "c") from being ("a", "bc").
		_, _ = hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = hash.Write(part)
	}
	return ids.MakeInvocationID(partitionKey, [16]byte(hash.Sum(nil)))
}

// SetExpiry tells the caller until when a retained result can be had again. expiresAt is in milliseconds since the
// epoch, 0 when nothing is retained.
func SetExpiry(header http.Header, expiresAt uint64) {
	if expiresAt > 0 {
		//nolint:gosec // milliseconds since the epoch fit for 292 million years
		header.Set(expiresHeader, time.UnixMilli(int64(expiresAt)).UTC().Format(time.RFC3339))
	}
}
