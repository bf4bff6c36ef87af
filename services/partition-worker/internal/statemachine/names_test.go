package statemachine_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
)

// layout of all tests: the state machine under test is partition 0, and ids whose name ends with @1 live in partition 1.
var layout = keyspace.Layout{Partitions: 2}

// names gives invocations short names for scripts and their output.
type names struct {
	ids   map[string]ids.InvocationID
	names map[ids.InvocationID]string
	// keys counts the partition keys given to service keys, so that output is in the order in which a script names them.
	keys map[string]uint64
}

func newNames() *names {
	return &names{ids: map[string]ids.InvocationID{}, names: map[ids.InvocationID]string{}, keys: map[string]uint64{}}
}

// id returns the invocation with the name. At its first mention it gets the partition key of the service key, which is
// the name itself for what has no key.
func (n *names) id(name, serviceKey string) ids.InvocationID {
	if id, ok := n.ids[name]; ok {
		return id
	}
	key := n.partitionKey(serviceKey)
	if strings.HasSuffix(name, "@1") {
		key += 1 << 63
	}
	var u [16]byte
	copy(u[:], name)
	id := ids.MakeInvocationID(key, u)
	n.ids[name], n.names[id] = id, name
	return id
}

// alike returns the invocation with the name, which at its first mention gets the partition key of another.
func (n *names) alike(name string, other ids.InvocationID) ids.InvocationID {
	if id, ok := n.ids[name]; ok {
		return id
	}
	var u [16]byte
	copy(u[:], name)
	id := ids.MakeInvocationID(other.PartitionKey(), u)
	n.ids[name], n.names[id] = id, name
	return id
}

func (n *names) partitionKey(serviceKey string) uint64 {
	key, ok := n.keys[serviceKey]
	if !ok {
		key = uint64(len(n.keys) + 1)
		n.keys[serviceKey] = key
	}
	return key
}

// name returns the name of the id, or the id itself when it has none.
func (n *names) name(b []byte) string {
	id, err := ids.InvocationIDFromBytes(b)
	if err != nil {
		return fmt.Sprintf("%x", b)
	}
	if name, ok := n.names[id]; ok {
		return name
	}
	return id.String()
}

// printLSN prints an LSN as the sequence of the batch and the index of the record in it.
func printLSN(lsn uint64) string { return fmt.Sprintf("%d.%d", lsn>>16, lsn&0xffff) }

func parseLSN(s string) (uint64, error) {
	batch, record, ok := strings.Cut(s, ".")
	if !ok {
		return 0, fmt.Errorf("%q is no LSN: it is the batch, a dot and the record", s)
	}
	b, err := strconv.ParseUint(batch, 10, 48)
	if err != nil {
		return 0, err
	}
	r, err := strconv.ParseUint(record, 10, 16)
	return b<<16 | r, err
}
