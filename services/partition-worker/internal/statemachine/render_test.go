package statemachine_test

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// row is a row of a table in readable form.
type row struct {
	table  storage.Table
	name   string
	fields []field
}

type field struct{ name, value string }

func (r row) String() string {
	parts := make([]string, len(r.fields))
	for i, f := range r.fields {
		parts[i] = f.name + "=" + f.value
	}
	return strings.TrimSpace(r.name + ": " + strings.Join(parts, " "))
}

// rows returns all rows in order of their keys.
func (n *names) rows(state kv.Reader) ([]row, error) {
	var rows []row
	it := state.Scan(nil, nil)
	defer it.Close()
	for it.Next() {
		r, err := n.row(it.Key(), it.Value())
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, it.Err()
}

func (n *names) row(key, value []byte) (row, error) {
	name, message, err := n.key(key)
	if err != nil {
		return row{}, err
	}
	r := row{table: storage.Table(key[0]), name: name}
	if message == nil {
		r.fields = []field{{"value", strconv.Quote(string(value))}}
		return r, nil
	}
	if err := proto.Unmarshal(value, message); err != nil {
		return row{}, fmt.Errorf("value of %s: %w", name, err)
	}
	r.fields = n.fields(message.ProtoReflect())
	return r, nil
}

// key names the row and returns an empty message of the type of its value, nil where that is raw.
func (n *names) key(key []byte) (string, proto.Message, error) {
	switch storage.Table(key[0]) {
	case storage.TableInvocation:
		id, err := storage.ParseInvocationKey(key)
		return "invocation " + n.name(id[:]), &storagev1.Invocation{}, err
	case storage.TableJournal:
		id, index, err := storage.ParseJournalKey(key)
		return fmt.Sprintf("journal %s/%d", n.name(id[:]), index), &journalv1.Entry{}, err
	case storage.TableCompletion:
		id, completion, err := storage.ParseCompletionKey(key)
		return fmt.Sprintf("completion %s/%d", n.name(id[:]), completion), &storagev1.Completion{}, err
	case storage.TableInbox:
		instance, sequence, err := storage.ParseInboxKey(key)
		return fmt.Sprintf("inbox %s #%d", n.instance(instance), sequence), &storagev1.InboxEntry{}, err
	case storage.TableLock:
		instance, err := storage.ParseLockKey(key)
		return "lock " + n.instance(instance), &storagev1.ServiceLock{}, err
	case storage.TableState:
		instance, stateKey, err := storage.ParseStateKey(key)
		return fmt.Sprintf("state %s %q", n.instance(instance), stateKey), nil, err
	case storage.TableTimer:
		id, err := storage.ParseTimerKey(key)
		return "timer " + n.timer(id), &storagev1.Timer{}, err
	case storage.TableOutbox:
		sequence, err := storage.ParseOutboxKey(key)
		return fmt.Sprintf("outbox %d", sequence), &storagev1.OutboxMessage{}, err
	case storage.TableDeduplication:
		producer, err := storage.ParseDeduplicationKey(key)
		return "deduplication " + producer, &storagev1.Deduplication{}, err
	case storage.TableSignal:
		id, index, name, err := storage.ParseSignalKey(key)
		if index == 0 {
			return fmt.Sprintf("signal %s/%q", n.name(id[:]), name), &storagev1.Signal{}, err
		}
		return fmt.Sprintf("signal %s/%d", n.name(id[:]), index), &storagev1.Signal{}, err
	case storage.TablePromise:
		instance, promise, err := storage.ParsePromiseKey(key)
		return fmt.Sprintf("promise %s %q", n.instance(instance), promise), &storagev1.Promise{}, err
	case storage.TableMeta:
		return "meta", &storagev1.PartitionMeta{}, nil
	}
	return "", nil, fmt.Errorf("%x is in no table", key)
}

func (n *names) instance(i storage.Instance) string {
	return i.Service + "/" + strings.TrimRight(string(i.Key), "\x00")
}

func (n *names) timer(t storage.TimerID) string {
	kind := map[storage.TimerKind]string{
		storage.TimerSleep: "sleep", storage.TimerStart: "start", storage.TimerDrop: "drop",
		storage.TimerDropJournal: "drop journal",
	}[t.Kind]
	return fmt.Sprintf("at %d %s %s/%d", t.FireAt, kind, n.name(t.Invocation[:]), t.CompletionID)
}

// fields prints the fields that are set, in order of their numbers.
func (n *names) fields(m protoreflect.Message) []field {
	var fields []field
	descriptors := m.Descriptor().Fields()
	for i := range descriptors.Len() {
		d := descriptors.Get(i)
		if m.Has(d) {
			fields = append(fields, field{string(d.Name()), n.value(d, m.Get(d))})
		}
	}
	return fields
}

// maxPrinted is how many members of a list are printed at most; of longer ones, the first two and the last are.
const maxPrinted = 32

func (n *names) value(d protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if d.IsList() {
		parts := make([]string, v.List().Len())
		for i := range parts {
			parts[i] = n.scalar(d, v.List().Get(i))
		}
		if last := len(parts) - 1; last > maxPrinted {
			parts = []string{parts[0], parts[1], fmt.Sprintf("(%d more)", last-2), parts[last]}
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return n.scalar(d, v)
}

func (n *names) scalar(d protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch d.Kind() {
	case protoreflect.MessageKind:
		return n.message(v.Message())
	case protoreflect.EnumKind:
		name := string(d.Enum().Values().ByNumber(v.Enum()).Name())
		unset := string(d.Enum().Values().ByNumber(0).Name())
		return strings.TrimPrefix(name, strings.TrimSuffix(unset, "UNSPECIFIED"))
	case protoreflect.BytesKind:
		if strings.HasSuffix(string(d.Name()), "invocation_id") || d.Name() == "restarted_from" {
			return n.name(v.Bytes())
		}
		return strconv.Quote(string(v.Bytes()))
	case protoreflect.StringKind:
		return v.String()
	default:
		if d.Name() == "run" || d.Name() == "created_lsn" {
			return printLSN(v.Uint())
		}
		return v.String()
	}
}

// message prints what occurs everywhere in its own way, and other messages by their fields.
func (n *names) message(m protoreflect.Message) string {
	switch typed := m.Interface().(type) {
	case *journalv1.Result:
		return n.result(typed)
	case *journalv1.Target:
		return target(typed)
	}
	fields := n.fields(m)
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = f.name + "=" + f.value
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// target is <service>/<key>/<handler>, with what is not told by the kind of those that have a key.
func target(t *journalv1.Target) string {
	s := t.GetService() + "/" + string(t.GetKey()) + "/" + t.GetHandler()
	if t.GetKind() == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW {
		s += " workflow"
	}
	if t.GetShared() {
		s += " shared"
	}
	return s
}

func (n *names) result(r *journalv1.Result) string {
	switch result := r.GetResult().(type) {
	case *journalv1.Result_Value:
		return strconv.Quote(string(result.Value))
	case *journalv1.Result_Failure:
		return fmt.Sprintf("failure(%d %s)", result.Failure.GetCode(), result.Failure.GetMessage())
	case *journalv1.Result_Void:
		return "void"
	case *journalv1.Result_InvocationId:
		id, err := ids.ParseInvocationID(result.InvocationId)
		if err != nil {
			return result.InvocationId
		}
		return "id(" + n.name(id[:]) + ")"
	case *journalv1.Result_StateKeys:
		return fmt.Sprintf("keys%q", result.StateKeys.GetKeys())
	default:
		return "unset"
	}
}

// action prints what has to be done.
func (n *names) action(a statemachine.Action) string {
	switch a := a.(type) {
	case statemachine.StartInvocation:
		s := fmt.Sprintf("start %s run=%s", n.name(a.ID[:]), printLSN(a.Run))
		if a.Pin != nil {
			s += " pin=" + n.message(a.Pin.ProtoReflect())
		}
		if a.RandomSeed != a.ID.RandomSeed() {
			s += fmt.Sprintf(" seed=%d", a.RandomSeed)
		}
		if a.IdempotencyKey != nil {
			s += fmt.Sprintf(" idempotency=%q", *a.IdempotencyKey)
		}
		if a.ClientStream != "" {
			s += " stream=" + a.ClientStream
		}
		if a.Input != nil {
			s += fmt.Sprintf(" input=%q", a.Input.GetCommand().GetInput().GetValue())
		}
		return s
	case statemachine.AbortInvocation:
		return fmt.Sprintf("abort %s run=%s", n.name(a.ID[:]), printLSN(a.Run))
	case statemachine.RetryInvocation:
		return fmt.Sprintf("retry %s run=%s", n.name(a.ID[:]), printLSN(a.Run))
	case statemachine.NotifyInvocation:
		return fmt.Sprintf("notify %s run=%s index=%d %s", n.name(a.ID[:]), printLSN(a.Run), a.JournalIndex,
			n.message(a.Notification.ProtoReflect()))
	case statemachine.AckCommand:
		return fmt.Sprintf("ack %s run=%s command=%d", n.name(a.ID[:]), printLSN(a.Run), a.CommandIndex)
	case statemachine.SetTimer:
		return "set timer " + n.timer(a.Timer)
	case statemachine.SendOutbox:
		return fmt.Sprintf("send %d", a.Sequence)
	case statemachine.LeaderChanged:
		return fmt.Sprintf("leader is %s, epoch %d", a.NodeID, a.Epoch)
	}
	return fmt.Sprintf("unknown action %T", a)
}
