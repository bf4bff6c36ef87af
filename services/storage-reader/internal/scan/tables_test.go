package scan_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/pkg/keyspace"

	"github.com/restate-go/restate/services/storage-reader/internal/rowstest"
	"github.com/restate-go/restate/services/storage-reader/internal/scan"
)

// update has the golden file written anew: go test ./internal/scan -update.
var update = flag.Bool("update", false, "write the golden file")

// valueOf returns a message of the type that the table's values have, nil where they are no message.
func valueOf(key *scanv1.Key) proto.Message {
	switch key.GetKey().(type) {
	case *scanv1.Key_Inbox:
		return &domainv1.InboxEntry{}
	case *scanv1.Key_Journal:
		return &domainv1.JournalEntry{}
	case *scanv1.Key_Outbox:
		return &domainv1.OutboxMessage{}
	case *scanv1.Key_Status:
		return &domainv1.InvocationStatus{}
	case *scanv1.Key_Timers:
		return &domainv1.Timer{}
	default:
		return nil
	}
}

func compact(t *testing.T, m proto.Message) string {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, json.Compact(&out, text))
	return out.String()
}

func render(t *testing.T, pairs []*scanv1.Pair) string {
	t.Helper()
	var out bytes.Buffer
	for _, pair := range pairs {
		fmt.Fprintln(&out, strings.TrimSpace(compact(t, pair.GetKey())+" "+pair.GetPrintableId()))
		m := valueOf(pair.GetKey())
		switch {
		case m != nil:
			require.NoError(t, proto.Unmarshal(pair.GetValue(), m))
			fmt.Fprintln(&out, "  ", compact(t, m))
		case pair.GetKey().GetState() != nil:
			fmt.Fprintf(&out, "   %q\n", pair.GetValue())
		default:
			require.Len(t, pair.GetValue(), 8)
			fmt.Fprintln(&out, "  ", binary.BigEndian.Uint64(pair.GetValue()))
		}
	}
	return out.String()
}

func fill(t *testing.T) *source {
	t.Helper()
	s := newSource(t)
	rowstest.Fill(t, s.space)
	return s
}

func TestTables(t *testing.T) {
	s := fill(t)
	var out bytes.Buffer
	for _, key := range wholeTables() {
		rows := render(t, s.scan(prefix(key), scan.DefaultLimits()))
		require.Equal(t, rows, render(t, s.scan(prefix(key), tiny)), "a row at a time")
		require.Equal(t, rows, render(t, s.scan(between(key, key), small)), "as a range without bounds")
		m := key.ProtoReflect()
		fmt.Fprintf(&out, "--- %s\n%s", m.WhichOneof(m.Descriptor().Oneofs().ByName("key")).Name(), rows)
	}
	const golden = "testdata/tables.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

// TestEveryRowIsFoundByItsKey takes each row of each table, and looks for it alone.
func TestEveryRowIsFoundByItsKey(t *testing.T) {
	s := fill(t)
	for _, table := range wholeTables() {
		rows := s.scan(prefix(table), small)
		require.NotEmpty(t, rows)
		for _, row := range rows {
			requireSame(t, []*scanv1.Pair{row}, s.scan(exactly(row.GetKey()), small), row.GetKey().String())
			requireSame(t, []*scanv1.Pair{row}, s.scan(between(row.GetKey(), row.GetKey()), small), row.GetKey().String())
		}
		if len(rows) > 2 {
			first, last := rows[1].GetKey(), rows[len(rows)-2].GetKey()
			requireSame(t, rows[1:len(rows)-1], s.scan(between(first, last), small), "but the first and the last")
		}
	}
}

func TestPartitionKeysAreTheLowHalf(t *testing.T) {
	s := fill(t)
	rows := s.scan(prefix(&scanv1.Key{Key: &scanv1.Key_Status{Status: &scanv1.Status{}}}), small)
	require.Equal(t, uint32(keyspace.HashKey([]byte("\x01a"))), rows[0].GetKey().GetStatus().GetPartitionKey())
	require.Equal(t, uint32(0x12345678), rows[1].GetKey().GetStatus().GetPartitionKey())
}
