package cli

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/pkg/ids"
)

// condition is a flag that asks for one value of a field of keys.
type condition struct {
	// fields are the names that the field has in the tables.
	fields []protoreflect.Name
	usage  string
	// values returns what the field may be for the flag's text; any of them will do.
	values func(text string) ([]protoreflect.Value, error)
}

// The flags that are no condition on their own.
const (
	flagFrom = "from"
	flagTo   = "to"
)

func conditionFlags() map[string]condition {
	return map[string]condition{
		"partition-id":  {[]protoreflect.Name{"partition_id"}, "number of the partition", uint64Values},
		"partition-key": {[]protoreflect.Name{"partition_key"}, "low 32 bits of the hash of the key", uint32Values},
		"producer":      {[]protoreflect.Name{"producing_partition_id"}, "number of the partition that sends", uint64Values},
		"state":         {[]protoreflect.Name{"state_id"}, "which number: 0 or 1", uint64Values},
		"service":       {[]protoreflect.Name{"service_name"}, "full name of the service", textValues},
		"key":           {[]protoreflect.Name{"service_key"}, "key of the service instance", keyValues},
		"state-key":     {[]protoreflect.Name{"state_key"}, "key within the state of the instance", bytesValues},
		"sequence":      {[]protoreflect.Name{"sequence_number", "message_index"}, "position in the inbox or outbox", uint64Values},
		"index":         {[]protoreflect.Name{"journal_index"}, "position in the journal", uint32Values},
		"invocation":    {[]protoreflect.Name{"invocation_id"}, "id of the invocation, or the UUID in it", uuidValues},
	}
}

func uint64Values(text string) ([]protoreflect.Value, error) {
	v, err := strconv.ParseUint(text, 10, 64)
	return []protoreflect.Value{protoreflect.ValueOfUint64(v)}, err
}

func uint32Values(text string) ([]protoreflect.Value, error) {
	v, err := strconv.ParseUint(text, 10, 32)
	return []protoreflect.Value{protoreflect.ValueOfUint32(uint32(v))}, err
}

func textValues(text string) ([]protoreflect.Value, error) {
	return []protoreflect.Value{protoreflect.ValueOfString(text)}, nil
}

// uuidValues takes the whole id of an invocation too: rows have the UUID in it.
func uuidValues(text string) ([]protoreflect.Value, error) {
	if id, err := ids.ParseInvocationID(text); err == nil {
		u := id.UUID()
		return []protoreflect.Value{protoreflect.ValueOfBytes(u[:])}, nil
	}
	u, err := uuid.Parse(text)
	return []protoreflect.Value{protoreflect.ValueOfBytes(u[:])}, err
}

func bytesValues(text string) ([]protoreflect.Value, error) {
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		v, err := hex.DecodeString(digits)
		return []protoreflect.Value{protoreflect.ValueOfBytes(v)}, err
	}
	return []protoreflect.Value{protoreflect.ValueOfBytes([]byte(text))}, nil
}

// keyValues returns the forms that a key may be stored in: what the type of the key is, the storage does not know.
func keyValues(text string) ([]protoreflect.Value, error) {
	if strings.HasPrefix(text, "0x") {
		return bytesValues(text)
	}
	forms := [][]byte{append(binary.AppendUvarint(nil, uint64(len(text))), text...), []byte(text)}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		forms = append(forms, binary.AppendUvarint(nil, uint64(n))) //nolint:gosec // protobuf encodes negative numbers so
	} else if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		forms = append(forms, binary.AppendUvarint(nil, n))
	}
	if u, err := uuid.Parse(text); err == nil {
		forms = append(forms, u[:])
	} else if id, err := ids.ParseInvocationID(text); err == nil {
		u := id.UUID()
		forms = append(forms, u[:])
	}
	values := make([]protoreflect.Value, len(forms))
	for i, form := range forms {
		values[i] = protoreflect.ValueOfBytes(form)
	}
	return values, nil
}

// conditions are what the flags ask for.
type conditions struct {
	flags *pflag.FlagSet
	// from and to are times of timers, in milliseconds since the epoch; nil is no bound.
	from, to *uint64
}

func newConditions(flags *pflag.FlagSet) *conditions {
	for name, c := range conditionFlags() {
		flags.String(name, "", c.usage)
	}
	flags.String(flagFrom, "", "timers that are due at that time or later, as in 2024-01-31T18:00:00Z")
	flags.String(flagTo, "", "timers that are due at that time or earlier")
	return &conditions{flags: flags}
}

// requests returns the requests whose rows, together, are those that are asked for, and some more.
func (c *conditions) requests(table protoreflect.FieldDescriptor) ([]*scanv1.ScanRequest, error) {
	key := &scanv1.Key{}
	key.ProtoReflect().Mutable(table)
	keys := []*scanv1.Key{key}
	var err error
	for name, known := range conditionFlags() {
		if !c.flags.Changed(name) {
			continue
		}
		field := fieldOf(table, known.fields)
		if field == nil {
			return nil, fmt.Errorf("rows of %s have nothing that --%s could ask for", table.Name(), name)
		}
		if keys, err = narrow(keys, table, field, known, c.flags.Lookup(name).Value.String()); err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
	}
	if c.from, err = c.time(flagFrom, table); err != nil {
		return nil, err
	}
	if c.to, err = c.time(flagTo, table); err != nil {
		return nil, err
	}
	requests := make([]*scanv1.ScanRequest, len(keys))
	for i, key := range keys {
		requests[i] = &scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Prefix{Prefix: key}}
	}
	return requests, nil
}

func fieldOf(table protoreflect.FieldDescriptor, names []protoreflect.Name) protoreflect.FieldDescriptor {
	for _, name := range names {
		if field := table.Message().Fields().ByName(name); field != nil {
			return field
		}
	}
	return nil
}

// narrow sets a field of the keys; each becomes as many as the field has values.
func narrow(keys []*scanv1.Key, table, field protoreflect.FieldDescriptor, c condition, text string) ([]*scanv1.Key, error) {
	values, err := c.values(text)
	if err != nil {
		return nil, err
	}
	var narrowed []*scanv1.Key
	for _, value := range values {
		for _, key := range keys {
			key = proto.CloneOf(key)
			key.ProtoReflect().Mutable(table).Message().Set(field, value)
			narrowed = append(narrowed, key)
		}
	}
	return narrowed, nil
}

func (c *conditions) time(flag string, table protoreflect.FieldDescriptor) (*uint64, error) {
	if !c.flags.Changed(flag) {
		return nil, nil //nolint:nilnil // there is no bound
	}
	if table.Message().Fields().ByName("timestamp") == nil {
		return nil, fmt.Errorf("rows of %s have no time that --%s could ask for", table.Name(), flag)
	}
	text := c.flags.Lookup(flag).Value.String()
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UnixMilli() < 0 {
		return nil, fmt.Errorf("--%s %q is no time like 2024-01-31T18:00:00Z", flag, text)
	}
	return proto.Uint64(uint64(t.UnixMilli())), nil
}

// admits says whether a row that was sent is one of those that are asked for: the times are compared here.
func (c *conditions) admits(key *scanv1.Key) bool {
	timers := key.GetTimers()
	return timers == nil || (c.from == nil || timers.GetTimestamp() >= *c.from) && (c.to == nil || timers.GetTimestamp() <= *c.to)
}
