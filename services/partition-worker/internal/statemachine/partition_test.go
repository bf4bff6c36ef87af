package statemachine_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// partition is a partition of a simulated cluster, with its log.
type partition struct {
	index   uint32
	space   kv.Space
	tx      *recorder
	machine *statemachine.Machine
	// log holds the encoded batches; the first has the position 1. actions are what each of them led to.
	log     [][]byte
	actions [][]string
}

func newPartition(t testing.TB, index uint32, history *history) *partition {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	p := &partition{index: index, space: space, tx: &recorder{Tx: kv.NewTx(space), history: history}}
	p.restart(t)
	return p
}

// restart drops what has not been committed and what is in memory.
func (p *partition) restart(t testing.TB) {
	t.Helper()
	p.tx.Reset()
	var err error
	p.machine, err = statemachine.New(p.index, layout, p.space)
	require.NoError(t, err)
}

// apply applies a batch without committing it, and returns the actions in readable form.
func (p *partition) apply(t testing.TB, position uint64, encoded []byte) []string {
	t.Helper()
	batch := &logv1.Batch{}
	require.NoError(t, proto.Unmarshal(encoded, batch))
	actions, err := p.machine.Apply(p.tx, position, batch)
	require.NoError(t, err)
	names := newNames()
	printed := make([]string, len(actions))
	for i, action := range actions {
		printed[i] = names.action(action)
	}
	return printed
}

// append puts the batch at the end of the log, applies and commits it.
func (p *partition) append(t testing.TB, batch *logv1.Batch) {
	t.Helper()
	encoded, err := proto.Marshal(batch)
	require.NoError(t, err)
	p.log = append(p.log, encoded)
	p.actions = append(p.actions, p.apply(t, uint64(len(p.log)), encoded))
	require.NoError(t, p.tx.Commit())
}

// raw returns all rows as they are stored.
func (p *partition) raw() map[string]string {
	rows := map[string]string{}
	it := p.space.Scan(nil, nil)
	defer it.Close()
	for it.Next() {
		rows[string(it.Key())] = string(it.Value())
	}
	return rows
}

// history is what has happened in a cluster that the final tables do not show.
type history struct {
	// created counts how often each invocation was created, results how often each of its commands was completed.
	created map[ids.InvocationID]int
	results map[completion]int
	// called has the callee of each call.
	called map[ids.InvocationID]bool
	// responses counts the results sent to each request at the ingress.
	responses map[uint64]int
}

type completion struct {
	invocation ids.InvocationID
	id         uint32
}

func newHistory() *history {
	return &history{
		created: map[ids.InvocationID]int{}, results: map[completion]int{},
		called: map[ids.InvocationID]bool{}, responses: map[uint64]int{},
	}
}

// recorder is a transaction that writes history.
type recorder struct {
	*kv.Tx
	// history is nil where a log is replayed.
	history *history
}

func (r *recorder) Put(key, value []byte) {
	r.Tx.Put(key, value)
	if r.history == nil {
		return
	}
	switch storage.Table(key[0]) { //nolint:exhaustive // the others are not written down
	case storage.TableJournal:
		entry := &journalv1.Entry{}
		if proto.Unmarshal(value, entry) == nil {
			id, index, _ := storage.ParseJournalKey(key)
			r.history.entry(id, index, entry)
		}
	case storage.TableOutbox:
		message := &storagev1.OutboxMessage{}
		if proto.Unmarshal(value, message) == nil && message.GetIngressResponse() != nil {
			r.history.responses[message.GetIngressResponse().GetRequestId()]++
		}
	}
}

func (h *history) entry(id ids.InvocationID, index uint32, entry *journalv1.Entry) {
	if index == 0 {
		h.created[id]++
	}
	if n := entry.GetNotification(); n.GetCompletionId() != 0 {
		h.results[completion{id, n.GetCompletionId()}]++
	}
	command := entry.GetCommand()
	for _, request := range []*journalv1.CallRequest{
		command.GetCall().GetRequest(), command.GetOneWayCall().GetRequest(),
		command.GetCall().GetBuiltinOneWayCall().GetRequest(),
	} {
		if request != nil {
			h.called[ids.InvocationID(request.GetInvocationId())] = true
		}
	}
}
