package meta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"
)

// orders stands in for the partitions: it keeps what is in the logs, and answers every order with the outcome that is set.
type orders struct {
	mu      sync.Mutex
	outcome storagev1.Outcome
	seen    []*logv1.Record
}

func (o *orders) set(outcome storagev1.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outcome = outcome
}

// last returns the latest record, once there are as many as said.
func (o *orders) last(t testing.TB, count int) *logv1.Record {
	t.Helper()
	var record *logv1.Record
	await.True(t, await.Deadline, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.seen) < count {
			return false
		}
		record = o.seen[len(o.seen)-1]
		return true
	}, fmt.Sprintf("%d records", count))
	return record
}

func (o *orders) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.seen)
}

// obey starts to follow the logs.
func (r *running) obey() *orders {
	r.t.Helper()
	o := &orders{outcome: storagev1.Outcome_OUTCOME_DONE}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for partition := range uint32(partitions) {
		reader, err := cmdlog.OpenReader(ctx, r.conn, partition, 1)
		require.NoError(r.t, err)
		group.Go(func() {
			defer reader.Close()
			for {
				messages, err := reader.Next(ctx)
				if err != nil {
					return
				}
				for _, m := range messages {
					for _, record := range m.Batch.GetRecords() {
						o.follow(r, record)
					}
				}
			}
		})
	}
	r.t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	return o
}

func (o *orders) follow(r *running, record *logv1.Record) {
	o.mu.Lock()
	o.seen = append(o.seen, record)
	outcome := o.outcome
	o.mu.Unlock()
	sink := sinkOf(record).GetIngress()
	if sink == nil {
		return
	}
	data, err := proto.Marshal(&workerv1.ResponseBatch{Responses: []*storagev1.IngressResponse{{
		IngressId: sink.GetIngressId(), RequestId: sink.GetRequestId(), Outcome: outcome,
	}}})
	if err != nil {
		r.t.Error(err)
		return
	}
	if _, err := r.conn.NC.Request(dispatch.ResponseSubject(sink.GetIngressId()), data, await.Deadline); err != nil {
		r.t.Error(err)
	}
}

func sinkOf(record *logv1.Record) *logv1.ResponseSink {
	switch c := record.GetCommand().(type) {
	case *logv1.Record_Terminate:
		return c.Terminate.GetResponseSink()
	case *logv1.Record_Purge:
		return c.Purge.GetResponseSink()
	case *logv1.Record_Pause:
		return c.Pause.GetResponseSink()
	case *logv1.Record_Resume:
		return c.Resume.GetResponseSink()
	case *logv1.Record_RestartAsNew:
		return c.RestartAsNew.GetResponseSink()
	}
	return nil
}

// The status of an answer follows from what the partition says became of the order.
func TestOperationsAnswerWhatBecameOfThem(t *testing.T) {
	r := start(t)
	id := newID(t, 1)
	r.work("one", view(id, "S", storagev1.Invocation_STATE_INVOKED)) // which nobody knows: pinned to the version 0 below
	o := r.obey()
	const (
		done      = storagev1.Outcome_OUTCOME_DONE
		signalled = storagev1.Outcome_OUTCOME_SIGNALLED
		unknown   = storagev1.Outcome_OUTCOME_UNKNOWN_INVOCATION
		completed = storagev1.Outcome_OUTCOME_COMPLETED
		running   = storagev1.Outcome_OUTCOME_NOT_COMPLETED
		waiting   = storagev1.Outcome_OUTCOME_NOT_STARTED
	)
	for path, statuses := range map[string]map[storagev1.Outcome]int{
		"kill":          {done: 200, completed: 409, unknown: 404},
		"purge":         {done: 200, running: 409, unknown: 404},
		"purge-journal": {done: 200, running: 409, unknown: 404},
		"pause":         {done: 200, signalled: 202, waiting: 409, completed: 409, unknown: 404},
		"resume":        {done: 200, waiting: 425, completed: 409, unknown: 404, storagev1.Outcome_OUTCOME_CANNOT_MOVE: 409},
		"restart-as-new?deployment=keep": {
			done: 200, waiting: 425, running: 409, unknown: 404, storagev1.Outcome_OUTCOME_UNSUPPORTED: 422,
			storagev1.Outcome_OUTCOME_JOURNAL_GONE: 410, storagev1.Outcome_OUTCOME_BAD_PREFIX: 400, storagev1.Outcome_OUTCOME_ACCEPTED: 500,
		},
	} {
		for outcome, status := range statuses {
			t.Run(path+" "+outcome.String(), func(t *testing.T) {
				o.set(outcome)
				answer := r.call("PATCH", "/invocations/"+id.String()+"/"+path, "")
				require.Equal(t, status, answer.status, answer.body)
				if status >= 400 {
					message, _ := answer.failure(t)
					require.Contains(t, message, id.String())
					require.NotContains(t, message, "GET /openapi", "there is something better to do")
				}
			})
		}
	}
	for _, path := range []string{"kill", "cancel", "resume", "pause"} {
		require.Equal(t, 400, r.call("PATCH", "/invocations/inv_1/"+path, "").status)
	}
	require.Equal(t, 404, r.call("PATCH", "/invocations/"+newID(t, 9).String()+"/cancel", "").status)
}

// viewOf is an invocation pinned to a deployment and a version of the service protocol.
func viewOf(id ids.InvocationID, service, endpoint string, version uint32, state storagev1.Invocation_State) *workerv1.InvocationView {
	v := view(id, service, state)
	v.Invocation.Pin = &logv1.PinnedEndpoint{EndpointId: endpoint, ServiceProtocolVersion: version}
	return v
}

// Handlers of 2023 cannot be told to cancel, and those that a killed one waits for are left alone.
func TestTerminationOfBothGenerations(t *testing.T) {
	r := start(t)
	old, today, waiting, fresh := newID(t, 1), newID(t, 2), newID(t, 3), newID(t, 4)
	unpinned := view(fresh, "S", storagev1.Invocation_STATE_INVOKED)
	unpinned.Invocation.Pin = nil
	r.work("one",
		viewOf(old, "p.S", "e", 0, storagev1.Invocation_STATE_SUSPENDED), viewOf(today, "S", "dp", 6, storagev1.Invocation_STATE_SUSPENDED),
		viewOf(waiting, "p.S", "e", 0, storagev1.Invocation_STATE_INBOXED), unpinned,
	)
	uri, _ := manifestEndpoint(t, smallManifest)
	require.Equal(t, 201, r.deploy(map[string]any{"uri": uri}).status)
	o := r.obey()
	o.set(storagev1.Outcome_OUTCOME_SIGNALLED)
	refused := r.call("PATCH", "/invocations/"+old.String()+"/cancel", "")
	require.Equal(t, 409, refused.status)
	message, _ := refused.failure(t)
	require.Contains(t, message, "Kill it")
	require.Equal(t, 409, r.call("DELETE", "/invocations/"+old.String()+"?mode=Cancel", "").status)
	require.Zero(t, o.count(), "the handler does not get a signal")

	for i, c := range []struct {
		method, path string
		id           ids.InvocationID
		status       int
		mode         logv1.TerminationMode
		cascade      bool
	}{
		{"PATCH", "/cancel", today, 202, logv1.TerminationMode_TERMINATION_MODE_CANCEL, false},
		{"PATCH", "/cancel", waiting, 202, logv1.TerminationMode_TERMINATION_MODE_CANCEL, false},
		{"PATCH", "/cancel", fresh, 202, logv1.TerminationMode_TERMINATION_MODE_CANCEL, false},
		{"PATCH", "/kill", today, 202, logv1.TerminationMode_TERMINATION_MODE_KILL, true},
		{"PATCH", "/kill", old, 202, logv1.TerminationMode_TERMINATION_MODE_KILL, false},
		{"DELETE", "", old, 200, logv1.TerminationMode_TERMINATION_MODE_KILL, false},
		{"DELETE", "", today, 202, logv1.TerminationMode_TERMINATION_MODE_CANCEL, false},
		{"DELETE", "?mode=Kill", today, 202, logv1.TerminationMode_TERMINATION_MODE_KILL, true},
		{"DELETE", "?mode=kill", old, 202, logv1.TerminationMode_TERMINATION_MODE_KILL, false},
		// One that is not found may be of any kind, and have begun a moment ago.
		{"DELETE", "", newID(t, 5), 200, logv1.TerminationMode_TERMINATION_MODE_KILL, true},
	} {
		answer := r.call(c.method, "/invocations/"+c.id.String()+c.path, "")
		require.Equal(t, c.status, answer.status, answer.body)
		command := o.last(t, i+1).GetTerminate()
		require.Equal(t, c.id[:], command.GetInvocationId())
		require.Equal(t, c.mode, command.GetMode(), "%s %s", c.method, c.path)
		require.Equal(t, c.cascade, command.GetCascade(), "%s %s", c.method, c.path)
	}
	require.Equal(t, 202, r.call("DELETE", "/invocations/"+today.String()+"?mode=purge", "").status)
	require.Equal(t, today[:], o.last(t, 11).GetPurge().GetInvocationId())
	require.Equal(t, 400, r.call("DELETE", "/invocations/"+today.String()+"?mode=stop", "").status)
}

func TestResumeAndRestartOnDeployments(t *testing.T) {
	r := start(t)
	six, _ := manifestEndpoint(t, smallManifest) // speaks 5 to 6
	seven, _ := manifestEndpoint(t, strings.NewReplacer(":5", ":7", ":6", ":7").Replace(smallManifest))
	first := r.deploy(map[string]any{"uri": six}).member(t, "id").(string)
	latest := r.deploy(map[string]any{"uri": seven}).member(t, "id").(string)
	at6, at7, gone := newID(t, 1), newID(t, 2), newID(t, 3)
	r.work("one",
		viewOf(at6, "S", first, 6, storagev1.Invocation_STATE_PAUSED), viewOf(at7, "S", latest, 7, storagev1.Invocation_STATE_COMPLETED),
		viewOf(gone, "T", "dp", 6, storagev1.Invocation_STATE_PAUSED),
	)
	o := r.obey()
	pin := func(endpoint string, version uint32) *logv1.PinnedEndpoint {
		return &logv1.PinnedEndpoint{EndpointId: endpoint, ServiceProtocolVersion: version}
	}
	count := 0
	for _, c := range []struct {
		id     ids.InvocationID
		query  string
		status int
		says   string
		pin    *logv1.PinnedEndpoint
	}{
		{at6, "", 200, "", nil},
		{at6, "?deployment=keep", 200, "", nil},
		{at6, "?deployment=" + first, 200, "", pin(first, 6)},
		{at7, "?deployment=latest", 200, "", pin(latest, 7)},
		{at7, "?deployment=Latest", 200, "", pin(latest, 7)},
		{at6, "?deployment=latest", 400, "version 6", nil},
		{at6, "?deployment=dp_17HthAY8kaK0Zqwf0ubAbPH", 400, "the id of a deployment", nil},
		{at6, "?deployment=x", 400, "the id of a deployment", nil},
		{gone, "?deployment=latest", 400, "not registered", nil},
		{newID(t, 9), "?deployment=latest", 404, "no invocation", nil},
	} {
		answer := r.call("PATCH", "/invocations/"+c.id.String()+"/resume"+c.query, "")
		require.Equal(t, c.status, answer.status, answer.body)
		if c.status != 200 {
			require.Contains(t, answer.body, c.says)
			continue
		}
		count++
		resumed := o.last(t, count).GetResume()
		require.Equal(t, c.id[:], resumed.GetInvocationId())
		require.True(t, proto.Equal(c.pin, resumed.GetPin()), "%s: %v", c.query, resumed.GetPin())
	}
	for _, c := range []struct {
		query    string
		from     uint32
		pin      *logv1.PinnedEndpoint
		unpinned bool
	}{
		{"", 0, nil, true},
		{"?deployment=latest", 0, nil, true},
		{"?deployment=keep", 0, nil, false},
		{"?deployment=" + latest, 0, pin(latest, 7), false},
		{"?from=4", 4, pin(latest, 7), false},
		{"?from=4&deployment=keep", 4, nil, false},
	} {
		answer := r.call("PATCH", "/invocations/"+at7.String()+"/restart-as-new"+c.query, "")
		require.Equal(t, 200, answer.status, answer.body)
		count++
		restarted := o.last(t, count).GetRestartAsNew()
		require.Equal(t, at7[:], restarted.GetInvocationId())
		fresh, err := ids.InvocationIDFromBytes(restarted.GetNewInvocationId())
		require.NoError(t, err)
		require.Equal(t, at7.PartitionKey(), fresh.PartitionKey())
		require.Equal(t, fresh.String(), answer.member(t, "new_invocation_id"))
		require.Equal(t, c.from, restarted.GetFrom())
		require.Equal(t, c.unpinned, restarted.GetUnpinned(), c.query)
		require.True(t, proto.Equal(c.pin, restarted.GetPin()), "%s: %v", c.query, restarted.GetPin())
	}
	require.Equal(t, 400, r.call("PATCH", "/invocations/"+at7.String()+"/restart-as-new?from=-1", "").status)
}

// What an SDK has drawn before version 6 of the protocol, it cannot draw again under another id.
func TestRestartFromPrefixNeedsASeed(t *testing.T) {
	r := start(t)
	r2023, r5, r6, none := newID(t, 1), newID(t, 2), newID(t, 3), newID(t, 4)
	killed := view(none, "S", storagev1.Invocation_STATE_COMPLETED)
	killed.Invocation.Pin = nil
	r.work("one",
		viewOf(r2023, "S", "e", 0, storagev1.Invocation_STATE_COMPLETED), viewOf(r5, "S", "dp", 5, storagev1.Invocation_STATE_COMPLETED),
		viewOf(r6, "S", "dp", 6, storagev1.Invocation_STATE_COMPLETED), killed,
	)
	o := r.obey()
	for _, c := range []struct {
		id     ids.InvocationID
		from   string
		status int
	}{
		{r2023, "0", 200}, {r2023, "1", 422}, {r5, "0", 200}, {r5, "1", 422}, {r6, "1", 200}, {none, "1", 200},
	} {
		before := o.count()
		answer := r.call("PATCH", "/invocations/"+c.id.String()+"/restart-as-new?deployment=keep&from="+c.from, "")
		require.Equal(t, c.status, answer.status, answer.body)
		if c.status == 200 {
			continue
		}
		message, code := answer.failure(t)
		require.Equal(t, "META0403", code)
		require.Contains(t, message, "random numbers")
		require.Equal(t, before, o.count(), "no order is given")
	}
}

func TestBatches(t *testing.T) {
	r := start(t)
	known, unknown := newID(t, 1), newID(t, 2)
	r.work("one", viewOf(known, "S", "dp", 6, storagev1.Invocation_STATE_COMPLETED))
	o := r.obey()
	batch := func(operation string, ids ...string) response {
		body, err := json.Marshal(map[string]any{"invocation_ids": ids, "deployment": "Keep"})
		require.NoError(t, err)
		return r.call("POST", "/internal/invocations_batch_operations/"+operation, string(body))
	}
	for _, operation := range []string{"kill", "purge", "purge-journal", "pause", "resume"} {
		answer := batch(operation, known.String(), known.String())
		require.Equal(t, 200, answer.status, answer.body)
		require.JSONEq(t, fmt.Sprintf(`{"succeeded":[%q,%q],"failed":[]}`, known, known), answer.body)
	}
	half := batch("cancel", known.String(), unknown.String())
	require.Equal(t, []any{known.String()}, half.member(t, "succeeded"))
	failed := half.member(t, "failed").([]any)[0].(map[string]any)
	require.Equal(t, unknown.String(), failed["invocation_id"])
	require.Contains(t, failed["error"], "META0404")
	restarted := batch("restart-as-new", known.String()).member(t, "succeeded").([]any)[0].(map[string]any)
	require.Equal(t, known.String(), restarted["old_invocation_id"])
	require.Regexp(t, "^inv_1", restarted["new_invocation_id"])
	o.set(storagev1.Outcome_OUTCOME_JOURNAL_GONE)
	require.Contains(t, batch("restart-as-new", known.String()).body, "no journal")

	require.JSONEq(t, `{"succeeded":[],"failed":[]}`, batch("kill").body)
	require.Equal(t, 422, batch("kill", "x").status)
	require.Equal(t, 400, batch("kill", make([]string, 1001)...).status)
	require.Equal(t, 404, batch("stop").status)
}

func TestPatchState(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, manifestOf(t, "go"))
	require.Equal(t, 201, r.deploy(map[string]any{"uri": uri}).status)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(sdk(t, typedServices), false)).status)
	o := r.obey()
	answer := r.call("POST", "/services/Counter/state", `{"object_key":"k","new_state":{"b":[0,255],"a":"text"},"version":"v"}`)
	require.Equal(t, 202, answer.status, answer.body)
	require.Empty(t, answer.body)
	patch := o.last(t, 1).GetPatchState()
	require.True(t, proto.Equal(&logv1.PatchState{
		Target:       &journalv1.Target{Service: "Counter", Key: []byte("k"), Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED},
		PartitionKey: keyspace.HashText("k"), Version: "v",
		Entries: []*logv1.StateEntry{{Key: []byte("a"), Value: []byte("text")}, {Key: []byte("b"), Value: []byte{0, 255}}},
	}, patch), patch.String())
	require.Equal(t, 202, r.call("POST", "/services/Nobody/state", `{"object_key":"k","new_state":{}}`).status)
	require.Empty(t, o.last(t, 2).GetPatchState().GetEntries())
	require.Equal(t, 202, r.call("POST", "/services/Signup/state", `{"object_key":"k","new_state":{},"scope":"s"}`).status)
	scoped := o.last(t, 3).GetPatchState()
	require.Equal(t, keyspace.HashText("s"), scoped.GetPartitionKey())
	require.Equal(t, journalv1.ServiceKind_SERVICE_KIND_WORKFLOW, scoped.GetTarget().GetKind())
	for body, status := range map[string]int{
		`/services/Nobody/state {"object_key":"k","new_state":{"a":[]}}`:       404,
		`/services/Greeter/state {"object_key":"k","new_state":{}}`:            400,
		`/services/seedera.Counter/state {"object_key":"k","new_state":{}}`:    400,
		`/services/Counter/state {"new_state":{}}`:                             422,
		`/services/Counter/state {"object_key":"k","new_state":{"a":[256]}}`:   422,
		`/services/Counter/state {"object_key":"k","new_state":{"a":[-1]}}`:    422,
		`/services/Counter/state {"object_key":"k","new_state":{"a":null}}`:    422,
		`/services/Counter/state {"object_key":"k","new_state":{"a":{"b":1}}}`: 422,
		`/services/Counter/state {"object_key":"k","new_state":{"a":[1]}`:      400,
		`/services/Counter/state {"object_key":7,"new_state":{"a":[1]}}`:       422,
	} {
		path, text, _ := strings.Cut(body, " ")
		require.Equal(t, status, r.call("POST", path, text).status, body)
	}
	// More than a record of the log holds.
	large := `{"object_key":"k","new_state":{"a":"` + strings.Repeat("x", 9<<20) + `"}}`
	require.Equal(t, 400, r.call("POST", "/services/Counter/state", large).status)
	require.Equal(t, 3, o.count())
}
