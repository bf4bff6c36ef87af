package cli

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"
)

// table prints rows in columns.
type table struct {
	out   io.Writer
	cells [][]string
}

// blockRows is how many rows are aligned with each other: so many are kept before they are printed.
const blockRows = 500

func newTable(out io.Writer, kind protoreflect.FieldDescriptor) *table {
	return &table{out: out, cells: [][]string{titles(kind.Number())}}
}

func (t *table) add(row *scanv1.Pair) error {
	cells, err := cellsOf(row)
	if err != nil {
		return err
	}
	for i, cell := range cells {
		cells[i] = shortened(cell)
	}
	t.cells = append(t.cells, cells)
	if len(t.cells) < blockRows {
		return nil
	}
	return t.close()
}

func (t *table) close() error {
	var aligned bytes.Buffer
	w := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, row := range t.cells {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	t.cells = t.cells[:0]
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(aligned.String()) {
		if _, err := fmt.Fprintln(t.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// titles returns those of the columns of a table, by its number.
func titles(number protoreflect.FieldNumber) []string {
	return [][]string{
		1: {"PARTITION", "PRODUCER", "SEQUENCE"},
		2: {"PARTITION", "NEXT IN", "SEQUENCE"},
		3: {"SERVICE", "KEY", "SEQUENCE", "METHOD", "INVOCATION", "INVOKED BY", "ARGUMENT"},
		4: {"SERVICE", "KEY", "INVOCATION", "INDEX", "ENTRY", "DONE", "DETAILS"},
		5: {"PARTITION", "SEQUENCE", "MESSAGE", "TO", "CONTENT"},
		6: {"SERVICE", "KEY", "STATE KEY", "VALUE"},
		7: {"SERVICE", "KEY", "METHOD", "STATUS", "INVOCATION", "ENTRIES", "CREATED", "MODIFIED", "INVOKED BY", "WAITS FOR"},
		8: {"DUE", "WHAT", "SERVICE", "KEY", "INVOCATION", "INDEX", "CALLS"},
	}[number]
}

// cellsOf shows one row.
func cellsOf(row *scanv1.Pair) ([]string, error) {
	switch k := row.GetKey().GetKey().(type) {
	case *scanv1.Key_Deduplication:
		return []string{number(k.Deduplication.GetPartitionId()), number(k.Deduplication.GetProducingPartitionId()), numberIn(row)}, nil
	case *scanv1.Key_PartitionStateMachine:
		what := map[uint64]string{0: "inbox", 1: "outbox"}[k.PartitionStateMachine.GetStateId()]
		return []string{number(k.PartitionStateMachine.GetPartitionId()), what, numberIn(row)}, nil
	case *scanv1.Key_Inbox:
		return inboxCells(k.Inbox, row)
	case *scanv1.Key_Journal:
		m, err := decode[domainv1.JournalEntry](row)
		kind, done, details := entryCells(m)
		j := k.Journal
		return []string{
			j.GetServiceName(), instanceText(j.GetServiceKey(), row.GetPrintableId()), row.GetPrintableId(), number(j.GetJournalIndex()),
			kind, done, details,
		}, err
	case *scanv1.Key_Outbox:
		m, err := decode[domainv1.OutboxMessage](row)
		kind, to, content := outboxCells(m)
		return []string{number(k.Outbox.GetPartitionId()), number(k.Outbox.GetMessageIndex()), kind, to, content}, err
	case *scanv1.Key_State:
		s := k.State
		return []string{s.GetServiceName(), keyText(s.GetServiceKey()), bytesText(s.GetStateKey()), bytesText(row.GetValue())}, nil
	case *scanv1.Key_Status:
		return statusCells(k.Status, row)
	case *scanv1.Key_Timers:
		return timerCells(k.Timers, row)
	default:
		return nil, fmt.Errorf("the storage-reader sends a row of no table: %v", row.GetKey())
	}
}

func decode[T any, M interface {
	*T
	proto.Message
}](row *scanv1.Pair) (M, error) {
	m := M(new(T))
	if err := proto.Unmarshal(row.GetValue(), m); err != nil {
		return m, fmt.Errorf("the value of %v: %w", row.GetKey(), err)
	}
	return m, nil
}

func number[T uint32 | uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }

// numberIn shows a value that is a number.
func numberIn(row *scanv1.Pair) string {
	if len(row.GetValue()) != 8 {
		return bytesText(row.GetValue())
	}
	return number(binary.BigEndian.Uint64(row.GetValue()))
}

func inboxCells(k *scanv1.Inbox, row *scanv1.Pair) ([]string, error) {
	m, err := decode[domainv1.InboxEntry](row)
	waiting := m.GetServiceInvocation()
	return []string{
		k.GetServiceName(), keyText(k.GetServiceKey()), number(k.GetSequenceNumber()), string(waiting.GetMethodName()),
		invocationText(row.GetPrintableId(), waiting.GetId().GetInvocationId()),
		sinkText(waiting.GetResponseSink()), bytesText(waiting.GetArgument()),
	}, err
}

// held is what both kinds of status have in common.
type held interface {
	GetInvocationId() []byte
	GetJournalMeta() *domainv1.JournalMeta
	GetResponseSink() *domainv1.ServiceInvocationResponseSink
	GetCreationTime() uint64
	GetModificationTime() uint64
}

func statusCells(k *scanv1.Status, row *scanv1.Pair) ([]string, error) {
	m, err := decode[domainv1.InvocationStatus](row)
	var by held = m.GetInvoked()
	status, waits := "invoked", ""
	if suspended := m.GetSuspended(); suspended != nil {
		by, status = suspended, "suspended"
		waits = strings.Trim(fmt.Sprint(suspended.GetWaitingForCompletedEntries()), "[]")
	}
	return []string{
		k.GetServiceName(), instanceText(k.GetServiceKey(), row.GetPrintableId()), string(by.GetJournalMeta().GetMethodName()), status,
		invocationText(row.GetPrintableId(), by.GetInvocationId()), number(by.GetJournalMeta().GetLength()),
		timeText(by.GetCreationTime()), timeText(by.GetModificationTime()), sinkText(by.GetResponseSink()), waits,
	}, err
}

func timerCells(k *scanv1.Timers, row *scanv1.Pair) ([]string, error) {
	m, err := decode[domainv1.Timer](row)
	what, calls := "sleep", ""
	if due := m.GetInvoke(); due != nil {
		what, calls = "call", callText(due)
	}
	return []string{
		timeText(k.GetTimestamp()), what, k.GetServiceName(), instanceText(k.GetServiceKey(), row.GetPrintableId()),
		invocationText(row.GetPrintableId(), k.GetInvocationId()), number(k.GetJournalIndex()), calls,
	}, err
}

// targetText names a service instance or one of its methods; an invocation of an unkeyed service by its id.
func targetText(id *domainv1.ServiceInvocationId, method string) string {
	if len(id.GetServiceName()) == 0 {
		return invocationText(id.GetPrintableId(), id.GetInvocationId())
	}
	target := string(id.GetServiceName())
	key := instanceText(id.GetServiceKey(), id.GetPrintableId())
	if key == "" && len(id.GetServiceKey()) > 0 {
		key = id.GetPrintableId()
	}
	if key != "" {
		target += "/" + key
	}
	if method != "" {
		target += "/" + method
	}
	return target
}

func callText(call *domainv1.ServiceInvocation) string {
	return targetText(call.GetId(), string(call.GetMethodName())) + " " + bytesText(call.GetArgument())
}

// sinkText says who waits for a result.
func sinkText(sink *domainv1.ServiceInvocationResponseSink) string {
	switch s := sink.GetResponseSink().(type) {
	case *domainv1.ServiceInvocationResponseSink_Ingress_:
		return "ingress"
	case *domainv1.ServiceInvocationResponseSink_PartitionProcessor_:
		return targetText(s.PartitionProcessor.GetCaller(), "")
	default:
		return ""
	}
}

func outboxCells(m *domainv1.OutboxMessage) (kind, to, content string) {
	switch o := m.GetOutboxMessage().(type) {
	case *domainv1.OutboxMessage_ServiceInvocationCase:
		call := o.ServiceInvocationCase.GetServiceInvocation()
		return "call", targetText(call.GetId(), string(call.GetMethodName())), bytesText(call.GetArgument())
	case *domainv1.OutboxMessage_ServiceInvocationResponse:
		r := o.ServiceInvocationResponse
		return "result of entry " + number(r.GetEntryIndex()), targetText(r.GetServiceInvocationId(), ""), responseText(r.GetResponseResult())
	case *domainv1.OutboxMessage_IngressResponse:
		r := o.IngressResponse
		return "result of " + targetText(r.GetServiceInvocationId(), ""), "ingress " + r.GetIngressId(), responseText(r.GetResponseResult())
	default:
		return "other", "", ""
	}
}

func responseText(result *domainv1.ResponseResult) string {
	if f := result.GetResponseFailure(); f != nil {
		return failureText(f.GetFailureCode(), string(f.GetFailureMessage()))
	}
	return bytesText(result.GetResponseSuccess().GetValue())
}
