package storage

import (
	"strconv"
	"strings"
)

// partitionProducer begins the names of the partitions as producers.
const partitionProducer = "partition/"

// PartitionProducer is the producer name under which a partition's outbox is appended to other partitions' logs. The
// sequences are those of the outbox, whoever leads the partition.
func PartitionProducer(partition uint32) string {
	return partitionProducer + strconv.FormatUint(uint64(partition), 10)
}

// ParsePartitionProducer is the inverse of PartitionProducer; ok is false for a producer that is no partition.
func ParsePartitionProducer(producer string) (partition uint32, ok bool) {
	number, ok := strings.CutPrefix(producer, partitionProducer)
	if !ok {
		return 0, false
	}
	parsed, err := strconv.ParseUint(number, 10, 32)
	return uint32(parsed), err == nil
}
