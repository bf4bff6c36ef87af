package statemachine_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"

	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// cluster is two partitions that ship their outboxes to each other, driven by a random source: requests, handlers that
// do anything they may, leaders that change, repeat themselves, or do not know yet that they were replaced.
type cluster struct {
	t       testing.TB
	random  *rand.Rand
	now     uint64
	history *history
	members []*member
	// made counts the ids made, and requests those from the ingress.
	made, requests uint64
}

// member is what the outside of one partition remembers.
type member struct {
	*partition
	epoch uint64
	// sequences are the last of each producer of this partition's log, apart from the other partition.
	sequences map[string]uint64
	// shippers are where a leader, and one that has been replaced, are in the outbox; delivered is how far one of
	// them has got.
	shippers  [2]uint64
	delivered uint64
}

func newCluster(t testing.TB, seed uint64) *cluster {
	t.Helper()
	c := &cluster{t: t, random: rand.New(rand.NewPCG(seed, 0)), now: 1000, history: newHistory()}
	for index := range layout.Partitions {
		c.members = append(c.members, &member{
			partition: newPartition(t, index, c.history), sequences: map[string]uint64{}, shippers: [2]uint64{1, 1},
		})
	}
	for _, m := range c.members {
		for m.epoch == 0 {
			c.announce(m)
		}
	}
	return c
}

// chance is true in n of 100 cases.
func (c *cluster) chance(n int) bool { return c.random.IntN(100) < n }

func pick[T any](c *cluster, from []T) T { return from[c.random.IntN(len(from))] }

// step does one random thing.
func (c *cluster) step() {
	c.now += c.random.Uint64N(20)
	m := pick(c, c.members)
	switch n := c.random.IntN(100); {
	case n < 25:
		c.propose(m, "ingress", c.request)
	case n < 75:
		c.propose(m, statemachine.LeaderProducer, c.leaderRecord)
	case n < 90:
		c.ship(m, c.random.IntN(len(m.shippers)))
	case n < 93:
		c.announce(m)
	case n < 95 && m.epoch > 1:
		// The leader before does not know yet.
		if record := c.leaderRecord(m); record != nil {
			record.Sequence = m.sequences[statemachine.LeaderProducer] + c.random.Uint64N(20)
			before := m.raw()
			m.append(c.t, &logv1.Batch{
				Producer: statemachine.LeaderProducer, LeaderEpoch: m.epoch - 1, ProposedAt: c.now,
				Records: []*logv1.Record{record},
			})
			after := m.raw()
			after[string(storage.MetaKey())] = before[string(storage.MetaKey())]
			require.Equal(c.t, before, after, "what a replaced leader has changed")
		}
	case len(m.log) > 0:
		c.repeat(m)
	}
}

// announce makes a new leader, which begins its sequences and its shipping anew. Now and then one comes too late.
func (c *cluster) announce(m *member) {
	epoch := m.epoch + 1
	if c.chance(20) {
		epoch = m.epoch
	}
	c.append(m, "announce", 0, []*logv1.Record{{Command: &logv1.Record_AnnounceLeader{
		AnnounceLeader: &logv1.AnnounceLeader{LeaderEpoch: epoch, NodeId: "n"},
	}}})
	if epoch > m.epoch {
		m.epoch = epoch
		m.shippers[1], m.shippers[0] = m.shippers[0], c.outboxHead(m)
		m.sequences[statemachine.LeaderProducer] = 0
	}
}

// propose appends a batch of one to four records that were all made from the state before it.
func (c *cluster) propose(m *member, producer string, record func(*member) *logv1.Record) {
	var records []*logv1.Record
	for range 1 + c.random.IntN(4)*c.random.IntN(2) {
		if r := record(m); r != nil {
			records = append(records, r)
		}
	}
	var epoch uint64
	if producer == statemachine.LeaderProducer {
		epoch = m.epoch
	}
	c.append(m, producer, epoch, records)
}

func (c *cluster) append(m *member, producer string, epoch uint64, records []*logv1.Record) {
	for _, r := range records {
		m.sequences[producer] += 1 + c.random.Uint64N(2)
		r.Sequence = m.sequences[producer]
	}
	// Clocks of different processes differ.
	batch := &logv1.Batch{Producer: producer, LeaderEpoch: epoch, ProposedAt: c.now - c.random.Uint64N(5), Records: records}
	if len(records) != 1 {
		m.append(c.t, batch)
		return
	}
	before := c.tables(m)
	m.append(c.t, batch)
	c.checkOrder(before, c.tables(m))
}

// checkOrder looks at a step of one record: an instance that is passed on goes to the one that has waited longest.
func (c *cluster) checkOrder(before, after *tables) {
	for name, holder := range after.locks {
		if was, ok := before.locks[name]; ok && was != holder {
			next := slices.IndexFunc(before.inbox[name], func(w waiting) bool { return w.id != (ids.InvocationID{}) })
			require.Equal(c.t, before.inbox[name][next].id, holder, "%s passed on from %s", name, was)
		}
	}
}

// repeat appends a batch of the log once more, or some of its records, as a producer does that got no answer.
func (c *cluster) repeat(m *member) {
	batch := &logv1.Batch{}
	require.NoError(c.t, proto.Unmarshal(pick(c, m.log), batch))
	if records := len(batch.GetRecords()); records > 0 {
		batch.Records = batch.GetRecords()[c.random.IntN(records):]
	}
	if batch.GetLeaderEpoch() != 0 && batch.GetLeaderEpoch() != m.epoch && c.chance(50) {
		return
	}
	m.append(c.t, batch)
}

func (c *cluster) outboxHead(m *member) uint64 { return max(m.machine.OutboxHead(), 1) }

// ship delivers a few messages of the outbox; one for the ingress has arrived when it is passed. A shipper that was
// started anew repeats what has not been truncated.
func (c *cluster) ship(m *member, shipper int) {
	other := c.members[1-m.index]
	next := max(m.shippers[shipper], c.outboxHead(m))
	batch := &logv1.Batch{Producer: storage.PartitionProducer(m.index), ProposedAt: c.now}
	require.NoError(c.t, storage.ScanOutbox(m.space, next, 1+c.random.IntN(5),
		func(sequence uint64, message *storagev1.OutboxMessage) error {
			next = sequence + 1
			switch to := message.GetMessage().(type) {
			case *storagev1.OutboxMessage_Invoke:
				batch.Records = append(batch.Records, &logv1.Record{
					Sequence: sequence, Command: &logv1.Record_Invoke{Invoke: to.Invoke},
				})
			case *storagev1.OutboxMessage_Notify:
				batch.Records = append(batch.Records, &logv1.Record{
					Sequence: sequence, Command: &logv1.Record_Notify{Notify: to.Notify},
				})
			case *storagev1.OutboxMessage_Terminate:
				batch.Records = append(batch.Records, &logv1.Record{
					Sequence: sequence, Command: &logv1.Record_Terminate{Terminate: to.Terminate},
				})
			case *storagev1.OutboxMessage_Attach:
				batch.Records = append(batch.Records, &logv1.Record{
					Sequence: sequence, Command: &logv1.Record_Attach{Attach: to.Attach},
				})
			}
			return nil
		}))
	if len(batch.GetRecords()) > 0 {
		other.append(c.t, batch)
	}
	m.shippers[shipper] = next
	m.delivered = max(m.delivered, next-1)
}

// invocations returns the invocations that satisfy the condition, in order of their ids.
func (c *cluster) invocations(m *member, condition func(*storagev1.Invocation) bool) []ids.InvocationID {
	var found []ids.InvocationID
	require.NoError(c.t, storage.ScanInvocations(m.space, func(row storage.InvocationRow) error {
		id, i, err := row.Decode()
		if err == nil && condition(i) {
			found = append(found, id)
		}
		return err
	}))
	return found
}

func (c *cluster) invocation(m *member, id ids.InvocationID) *storagev1.Invocation {
	invocation, err := storage.GetInvocation(m.space, id)
	require.NoError(c.t, err)
	return invocation
}

// check looks at each partition alone.
func (c *cluster) check() {
	for _, m := range c.members {
		require.NoError(c.t, checkInvariants(m.space), "partition %d", m.index)
	}
	for id, times := range c.history.created {
		require.True(c.t, times == 1 || reusable(id), "%s was created %d times", id, times)
	}
	for to, times := range c.history.results {
		require.True(c.t, times == 1 || reusable(to.invocation), "%v was completed %d times", to, times)
	}
	for request, times := range c.history.responses {
		require.Equal(c.t, 1, times, "responses to request %d", request)
	}
}

// settle ships everything and then looks at both partitions together: who waits for the result of an invocation has it,
// or is known to the invocation.
func (c *cluster) settle() {
	undelivered := func(m *member) bool { return m.delivered+1 < c.outboxHead(m)+uint64(len(c.tables(m).outbox)) }
	for slices.ContainsFunc(c.members, undelivered) {
		for _, m := range c.members {
			c.ship(m, 0) // what arrives may be answered
		}
	}
	c.check()
	all := []*tables{c.tables(c.members[0]), c.tables(c.members[1])}
	for callee := range c.history.called {
		require.True(c.t, c.history.created[callee] == 1 || reusable(callee) && c.history.created[callee] > 0,
			"the callee %s was created %d times", callee, c.history.created[callee])
	}
	for _, t := range all {
		for id, i := range t.invocations {
			if inProgress(i) {
				c.checkWaits(all, t, id, i)
			}
		}
	}
}

func (c *cluster) checkWaits(all []*tables, t *tables, id ids.InvocationID, i *storagev1.Invocation) {
	for _, entry := range t.journals[id] {
		command := entry.GetCommand()
		callee, waits := command.GetCall().GetRequest().GetInvocationId(), command.GetCall().GetCompletionId()
		switch {
		case command.GetAttachInvocation() != nil:
			callee = command.GetAttachInvocation().GetInvocation().GetInvocationId()
			waits = command.GetAttachInvocation().GetCompletionId()
		case command.GetGetInvocationOutput() != nil:
			waits = command.GetGetInvocationOutput().GetCompletionId()
		}
		if waits == 0 || t.completed(id, waits) {
			continue
		}
		require.NotEmpty(c.t, callee, "%s has not been answered to %v", id, command)
		of := ids.InvocationID(callee)
		known := false
		for _, sink := range all[layout.PartitionOf(of.PartitionKey())].invocations[of].GetResponseSinks() {
			to := sink.GetCaller()
			known = known || bytes.Equal(to.GetInvocationId(), id[:]) && to.GetCompletionId() == waits &&
				to.GetCreatedLsn() == i.GetCreatedLsn()
		}
		require.True(c.t, known, "%s waits for %s, which does not know: %v", id, of, command)
	}
}

func (c *cluster) tables(m *member) *tables {
	t, err := readTables(m.space)
	require.NoError(c.t, err)
	return t
}

// finish brings all invocations to their end and checks that nothing of them is left.
func (c *cluster) finish() {
	c.finishAll()
	// With the last run of a key goes what the workflow has, even if only its shared handlers have worked.
	for _, m := range c.members {
		for key := range uint64(workflowKeys) {
			c.append(m, "ingress", 0, []*logv1.Record{c.invoke(workflow(uint64(m.index)<<63, key))})
		}
	}
	c.finishAll()
	for _, m := range c.members {
		c.append(m, statemachine.LeaderProducer, m.epoch, []*logv1.Record{{Command: &logv1.Record_TruncateOutbox{
			TruncateOutbox: &logv1.TruncateOutbox{Through: m.delivered},
		}}})
		stay := []storage.Table{storage.TableState, storage.TableDeduplication, storage.TableMeta}
		for key := range m.raw() {
			require.Contains(c.t, stay, storage.Table(key[0]), "left over: %x", key)
			if storage.Table(key[0]) == storage.TableState {
				instance, _, err := storage.ParseStateKey([]byte(key))
				require.NoError(c.t, err)
				require.Contains(c.t, []string{"keyed", "singleton"}, instance.Service, "state of %v", instance)
			}
		}
	}
	for request := range c.requests {
		require.Equal(c.t, 1, c.history.responses[request+1], "responses to request %d", request+1)
	}
}

func (c *cluster) finishAll() {
	alive := func(m *member) bool { return len(c.all(m)) > 0 }
	for round := 0; slices.ContainsFunc(c.members, alive); round++ {
		require.Less(c.t, round, 10000, "invocations that do not end")
		for _, m := range c.members {
			c.finishSome(m)
		}
		c.settle()
	}
	c.settle()
}

// finishSome fires the first timer and ends what runs. One that waits for what never comes, as for a call to the key
// that it holds itself, is killed.
func (c *cluster) finishSome(m *member) {
	var records []*logv1.Record
	require.NoError(c.t, storage.ScanTimers(m.space, nil, 1, func(timer storage.TimerID) error {
		records = append(records, &logv1.Record{Command: &logv1.Record_TimerFired{
			TimerFired: &logv1.TimerFired{Key: timer.Key()},
		}})
		return nil
	}))
	for _, id := range c.invocations(m, func(i *storagev1.Invocation) bool {
		return i.GetState() == storagev1.Invocation_STATE_INVOKED
	}) {
		records = append(records, c.effect(id, c.invocation(m, id), &logv1.InvokerEffect{
			Effect: &logv1.InvokerEffect_Ended{Ended: &logv1.Ended{Output: &journalv1.Result{
				Result: &journalv1.Result_Value{Value: []byte("done")},
			}}},
		}))
	}
	if len(records) == 0 {
		if suspended := c.invocations(m, inProgress); len(suspended) > 0 {
			records = append(records, kill(suspended[0], nil))
		}
	}
	c.append(m, statemachine.LeaderProducer, m.epoch, records)
}
