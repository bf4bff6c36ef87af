// Package keyspace maps keys to partition keys and partition keys to partitions.
package keyspace

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Layout says how the 64-bit key space is cut. It is fixed when a cluster is created, and kept in the registry.
type Layout struct {
	// Partitions is the number of partitions, 1 to 4096.
	Partitions uint32 `json:"partitions"`
}

// MaxPartitions bounds Layout.Partitions.
const MaxPartitions = 4096

// PartitionOf returns the partition, 0 to Partitions-1, whose contiguous range holds the partition key.
func (l Layout) PartitionOf(partitionKey uint64) uint32 {
	hi, _ := bits.Mul64(partitionKey, uint64(l.Partitions))
	return uint32(hi) //nolint:gosec // hi < Partitions, which is a uint32
}

// HashKey returns the partition key of a service instance: XXH3-64 (seed 0) over the length of the key as a
// little-endian 64-bit integer followed by the key, as in the server of 2023.
func HashKey(key []byte) uint64 {
	var h xxh3.Hasher
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(key)))
	_, _ = h.Write(length[:])
	_, _ = h.Write(key)
	return h.Sum64()
}

// The partition keys of handlers are XXH3-64 (seed 0) over their parts, each text followed by the byte 0xff and each
// integer as 8 bytes, little endian, as in restate-server.

// HashText returns the partition key of what is named by one text: the key of an object or a workflow, or a scope.
func HashText(text string) uint64 {
	var h xxh3.Hasher
	writeText(&h, text)
	return h.Sum64()
}

// ServiceBuckets is over how many partition keys the invocations of a service without keys are spread.
const ServiceBuckets = 512

// HashService returns the partition key of one bucket, 0 to ServiceBuckets-1, of a service without keys.
func HashService(service string, bucket uint64) uint64 {
	var h xxh3.Hasher
	writeText(&h, service)
	writeText(&h, "unscoped/service")
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], bucket)
	_, _ = h.Write(number[:])
	return h.Sum64()
}

func writeText(h *xxh3.Hasher, text string) {
	_, _ = h.WriteString(text)
	_, _ = h.Write([]byte{0xff})
}
