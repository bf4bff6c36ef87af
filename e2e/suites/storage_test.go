package suites

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/proto/gen/dev/restate"
	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/e2e/discovery"
	"github.com/restate-go/restate/e2e/process"
)

// stringKey is how the key of a keyed service is stored whose type is string.
func stringKey(key string) []byte { return append([]byte{byte(len(key))}, key...) }

func stateOf(service, key string) *scanv1.Key {
	return &scanv1.Key{Key: &scanv1.Key_State{State: &scanv1.State{
		PartitionKey: proto.Uint32(uint32(keyspace.HashKey(stringKey(key)))), ServiceName: &service, ServiceKey: stringKey(key),
	}}}
}

func statusOf(service string) *scanv1.Key {
	return &scanv1.Key{Key: &scanv1.Key_Status{Status: &scanv1.Status{ServiceName: &service}}}
}

func decoded[T any, M interface {
	*T
	proto.Message
}](t *testing.T, row *scanv1.Pair) M {
	t.Helper()
	m := M(new(T))
	require.NoError(t, proto.Unmarshal(row.GetValue(), m))
	return m
}

// TestStorageShowsWhatACallWrote: a scan right after the reply has the state that the call left, though the worker is busy.
func TestStorageShowsWhatACallWrote(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var busy sync.WaitGroup
		// Large names, so that a few hundred calls fill a table, which a slow machine gets done too.
		name := strings.Repeat("busy ", 2<<10)
		for range 2 {
			busy.Go(func() {
				for ctx.Err() == nil {
					_, _ = s.Call("e2e.Greeter/Hello", `{"name": "`+name+`"}`) // only to keep it busy
				}
			})
		}
		client := scanv1.NewStorageClient(process.Dial(t, s.Storage))
		// It goes on until the worker has written tables some times: before that, reading its log would do.
		tables, deadline := map[string]bool{}, time.Now().Add(10*time.Minute)
		for n := 0; n < 60 || len(tables) < 3; n++ {
			require.True(t, time.Now().Before(deadline), "the worker has written %d tables", len(tables))
			for _, table := range s.Tables() {
				tables[table] = true
			}
			key := fmt.Sprintf("counter %d", n%7)
			var answer struct{ Value string }
			require.NoError(t, json.Unmarshal([]byte(s.MustCall("e2e.Counter/Add", `{"counter_id": "`+key+`", "amount": 1}`)), &answer))
			rows, err := process.Rows(t.Context(), client, stateOf("e2e.Counter", key))
			require.NoError(t, err)
			require.Len(t, rows, 1)
			require.Equal(t, answer.Value, string(rows[0].GetValue()))
		}
		s.MustCall("e2e.Counter/Clear", `{"counter_id": "counter 0"}`)
		require.Empty(t, s.Rows(t, stateOf("e2e.Counter", "counter 0")))
		stop()
		busy.Wait()
		// Small buffers, so that the worker writes tables all the time, yet not faster than they can be opened (ADR 009).
	}, "RESTATE_WORKER__STORAGE__WRITE_BUFFER_BYTES", "3MiB", "RESTATE_WORKER__STORAGE__MAX_WAL_BYTES", "8MiB")
}

// TestStorageShowsWhatIsInProgress: a sleep, and a delayed call.
func TestStorageShowsWhatIsInProgress(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		const hour = "3600000"
		began := time.Now()
		s.invoke(t, "e2e.Workflow", "Sleep", `{"millis": `+hour+`}`)
		invocation := s.AwaitInvocation("e2e.Workflow", "Sleep", "suspended")

		rows := s.Rows(t, statusOf("e2e.Workflow"))
		require.Len(t, rows, 1)
		id := rows[0].GetKey().GetStatus().GetServiceKey()
		suspended := decoded[domainv1.InvocationStatus](t, rows[0]).GetSuspended()
		require.Equal(t, "Sleep", string(suspended.GetJournalMeta().GetMethodName()))
		require.Equal(t, []uint32{1}, suspended.GetWaitingForCompletedEntries())
		require.Equal(t, uint32(2), suspended.GetJournalMeta().GetLength())
		require.Equal(t, invocation.Endpoint, suspended.GetJournalMeta().GetValue())
		require.Equal(t, id, suspended.GetInvocationId(), "an unkeyed service has an instance for each invocation")

		rows = s.Rows(t, &scanv1.Key{Key: &scanv1.Key_Journal{Journal: &scanv1.Journal{ServiceKey: id}}})
		require.Len(t, rows, 2)
		require.True(t, decoded[domainv1.JournalEntry](t, rows[0]).GetEntry().GetHeader().GetPollInputStream().GetIsCompleted())
		sleep := decoded[domainv1.JournalEntry](t, rows[1]).GetEntry().GetHeader().GetSleep()
		require.NotNil(t, sleep)
		require.False(t, sleep.GetIsCompleted())

		rows = s.Rows(t, &scanv1.Key{Key: &scanv1.Key_Timers{Timers: &scanv1.Timers{ServiceName: proto.String("e2e.Workflow")}}})
		require.Len(t, rows, 1)
		timer := rows[0].GetKey().GetTimers()
		require.Equal(t, id, timer.GetInvocationId())
		require.Equal(t, uint32(1), timer.GetJournalIndex())
		due := time.UnixMilli(int64(timer.GetTimestamp()))
		require.WithinRange(t, due, began.Add(time.Hour-time.Millisecond), time.Now().Add(time.Hour))
		require.NotNil(t, decoded[domainv1.Timer](t, rows[0]).GetCompleteSleepEntry())

		s.MustCall("e2e.Workflow/Delayed", `{"add": {"counter_id": "later", "amount": 1}, "millis": `+hour+`}`)
		rows = s.Rows(t, &scanv1.Key{Key: &scanv1.Key_Timers{Timers: &scanv1.Timers{}}})
		require.Len(t, rows, 2)
		var call *domainv1.ServiceInvocation
		for _, row := range rows {
			invoke := decoded[domainv1.Timer](t, row).GetInvoke()
			if invoke == nil {
				continue
			}
			call = invoke
			key := row.GetKey().GetTimers()
			require.Equal(t, "e2e.Workflow", key.GetServiceName(), "the caller, which is over by now")
			require.Equal(t, key.GetServiceKey(), key.GetInvocationId())
			require.Equal(t, uint32(1), key.GetJournalIndex())
		}
		require.Equal(t, "e2e.Counter", string(call.GetId().GetServiceName()))
		require.Equal(t, stringKey("later"), call.GetId().GetServiceKey())

		// The commands show the same.
		printed := s.Command(t, "storage", "scan", "status", "--service", "e2e.Workflow")
		require.Contains(t, printed, invocation.ID)
		require.Contains(t, printed, "suspended")
		require.Contains(t, s.Command(t, "storage", "scan", "journal"), "sleep", printed)
		require.Contains(t, s.Command(t, "storage", "scan", "timers"), "e2e.Counter/later/Add")

		require.Equal(t, http.StatusOK, s.MetaDo(http.MethodDelete, "/invocations/"+invocation.ID, "").Status)
		await.True(t, await.Deadline, func() bool { return len(s.Rows(t, statusOf("e2e.Workflow"))) == 0 }, "the killed one to be gone")
	}, suspendEarly...)
}

// TestStorageShowsWhatWaits has two calls for one key, of which the first never ends.
func TestStorageShowsWhatWaits(t *testing.T) {
	s := start(t, process.Apart)
	endpoint := &process.Endpoint{
		Services: []discovery.Service{{Name: "Stuck", Kind: restate.ServiceType_KEYED, Methods: []string{"Do"}}},
		Invoke: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/restate")
			_ = http.NewResponseController(w).Flush() // the runtime sees the end of the stream
			<-r.Context().Done()
		},
	}
	s.Register(process.Registration{URI: process.Serve(t, endpoint)})
	for _, value := range []string{"first", "second", "third"} {
		s.invoke(t, "scripted.Stuck", "Do", `{"key": "k", "value": "`+value+`"}`)
	}
	key := &scanv1.Key{Key: &scanv1.Key_Inbox{Inbox: &scanv1.Inbox{ServiceName: proto.String("scripted.Stuck"), ServiceKey: stringKey("k")}}}
	var rows []*scanv1.Pair
	await.True(t, await.Deadline, func() bool { rows = s.Rows(t, key); return len(rows) == 2 }, "two to wait")
	for i, value := range []string{"second", "third"} {
		require.Contains(t, string(decoded[domainv1.InboxEntry](t, rows[i]).GetServiceInvocation().GetArgument()), value)
	}
	holders := s.Rows(t, statusOf("scripted.Stuck"))
	require.Len(t, holders, 1)
	require.NotNil(t, decoded[domainv1.InvocationStatus](t, holders[0]).GetInvoked())
}

// TestStorageOutlivesTheWorker reads while there is no worker, while it comes and goes, and after its database was lost.
func TestStorageOutlivesTheWorker(t *testing.T) {
	s := start(t, process.Apart)
	value := func() string {
		rows := s.Rows(t, stateOf("e2e.Counter", "lasting"))
		require.Len(t, rows, 1)
		return string(rows[0].GetValue())
	}
	for n := range 2 {
		require.Equal(t, n, s.count(t, "lasting"))
		s.MustCall("e2e.Counter/Add", `{"counter_id": "lasting", "amount": 1}`)
		want := strconv.Itoa(n + 1)
		require.Equal(t, want, value())
		if n%2 == 0 {
			s.Processes[process.Worker].Kill()
		} else {
			require.NoError(t, s.Processes[process.Worker].Terminate())
		}
		require.Equal(t, want, value(), "while there is no worker")
		s.Processes[process.Worker].Start()
		require.Equal(t, want, value(), "while it starts")
		s.AwaitReady()
		require.Equal(t, want, value())
	}
	s.Processes[process.StorageReader].Kill()
	s.MustCall("e2e.Counter/Add", `{"counter_id": "lasting", "amount": 1}`)
	s.Processes[process.StorageReader].Start()
	s.AwaitReady()
	require.Equal(t, "3", value())
	require.NoError(t, s.Processes[process.StorageReader].Terminate())
	s.Processes[process.StorageReader].Start()
	s.AwaitReady()
	require.Equal(t, "3", value())
}

// TestStorageCommand reads the state of a service with the command, for people and for programs.
func TestStorageCommand(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		s.MustCall("e2e.Counter/Add", `{"counter_id": "ada", "amount": 7}`)
		require.Equal(t, "SERVICE      KEY  STATE KEY  VALUE\ne2e.Counter  ada  value      7\n",
			s.Command(t, "storage", "scan", "state", "--service", "e2e.Counter", "--key", "ada"))
		var row struct {
			Table   string
			Service string `json:"service_name"`
			Key     string `json:"service_key_text"`
			Value   string
		}
		printed := s.Command(t, "storage", "scan", "state", "--json", "--key", "ada")
		require.Equal(t, 1, strings.Count(printed, "\n"))
		require.NoError(t, json.Unmarshal([]byte(printed), &row))
		require.Equal(t, []string{"state", "e2e.Counter", "ada", "7"}, []string{row.Table, row.Service, row.Key, row.Value})
		require.NotEmpty(t, s.Command(t, "storage", "scan", "partition_state_machine"))

		listed, err := process.Grpcurl(t, s.Storage, nil, "list")
		require.NoError(t, err, listed)
		require.Contains(t, listed, "dev.restate.storage.scan.v1.Storage")
		answer, err := process.Do(http.MethodGet, "http://"+s.Storage+"/ready", "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	})
}
