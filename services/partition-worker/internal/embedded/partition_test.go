package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/embedded"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	host "github.com/restate-go/restate/services/partition-worker/internal/embedded"
	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// partition is the one partition of a test: its log, which is applied as it is appended, its state and its host.
type partition struct {
	t       *testing.T
	space   kv.Space
	host    *host.Host
	cfg     host.Config
	invoker invoker.Config
	queue   chan proposal
	applied sync.WaitGroup
	// proposed counts the records so far.
	proposed atomic.Int64

	mu      sync.Mutex
	machine *statemachine.Machine
	tx      *kv.Tx
	last    uint64
	now     time.Time
	// held keeps records from being applied until it is unlocked.
	held sync.Mutex
}

type proposal struct {
	record *logv1.Record
	done   func(uint64, error)
}

// newPartition returns a partition that is led. Its clock stands still.
func newPartition(t *testing.T) *partition {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	machine, err := statemachine.New(0, keyspace.Layout{Partitions: 1}, space)
	require.NoError(t, err)
	p := &partition{
		t: t, space: space, machine: machine, tx: kv.NewTx(space), queue: make(chan proposal, 1<<16),
		now: time.UnixMilli(1_700_000_000_000), cfg: host.Config{StreamTimeout: time.Minute, RecvWait: time.Minute},
		invoker: invoker.DefaultConfig(),
	}
	p.lead()
	p.applied.Go(func() {
		for next := range p.queue {
			p.held.Lock()
			next.done(p.apply(next.record), nil)
			p.held.Unlock()
		}
	})
	t.Cleanup(func() {
		p.host.Close()
		close(p.queue)
		p.applied.Wait()
	})
	return p
}

// lead makes a new leader, which has none of the memory of the one before.
func (p *partition) lead() {
	if p.host != nil {
		p.host.Close()
	}
	p.host = host.New(p.cfg, host.Deps{
		State:   p.space,
		Propose: p.propose,
		Schema:  func() *schema.Snapshot { return &schema.Snapshot{} },
		Bounds:  p.invoker.JournalBounds(),
		Log:     slog.New(slog.DiscardHandler),
		Now:     p.clock,
	})
}

func (p *partition) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *partition) advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

func (p *partition) propose(ctx context.Context, record *logv1.Record, done func(uint64, error)) error {
	select {
	case p.queue <- proposal{record, done}:
		p.proposed.Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// apply does what processor and leader do with a record, and returns its LSN.
func (p *partition) apply(record *logv1.Record) uint64 {
	p.mu.Lock()
	p.last++
	record.Sequence = p.last
	actions, err := p.machine.Apply(p.tx, p.last, &logv1.Batch{
		Producer: "test", ProposedAt: uint64(p.now.UnixMilli()), Records: []*logv1.Record{record},
	})
	err = errors.Join(err, p.tx.Commit())
	lsn := p.last << 16
	p.mu.Unlock()
	if err != nil {
		p.t.Errorf("apply %v: %v", record, err)
	}
	for _, action := range actions {
		switch a := action.(type) {
		case statemachine.StartInvocation:
			p.host.Begin(host.Run{ID: a.ID, Number: a.Run, Stream: a.ClientStream, SpanContext: a.SpanContext})
		case statemachine.AbortInvocation:
			p.host.Abort(a.ID, a.Run)
		case statemachine.NotifyInvocation:
			p.host.Wake(a.ID)
		case statemachine.AckCommand:
			p.host.Wake(a.ID)
		case statemachine.SetTimer, statemachine.SendOutbox, statemachine.LeaderChanged:
		}
	}
	return lsn
}

// append applies a record that somebody else proposes.
func (p *partition) append(record *logv1.Record) {
	done := make(chan struct{})
	require.NoError(p.t, p.propose(p.t.Context(), record, func(uint64, error) { close(done) }))
	<-done
}

// kill is what an operator orders.
func (p *partition) kill(operation string) {
	id := embedded.InvocationID(operation)
	p.append(&logv1.Record{Command: &logv1.Record_Terminate{Terminate: &logv1.Terminate{
		InvocationId: id[:], Mode: logv1.TerminationMode_TERMINATION_MODE_KILL,
	}}})
}

// resolve completes the awakeable with the index.
func (p *partition) resolve(operation string, index uint32, value string) {
	id := embedded.InvocationID(operation)
	p.append(&logv1.Record{Command: &logv1.Record_Notify{Notify: &logv1.Notify{
		InvocationId: id[:], Awakeable: true,
		Notification: &journalv1.Notification{
			Id:     &journalv1.Notification_CompletionId{CompletionId: index},
			Result: &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte(value)}},
		},
	}}})
}

func (p *partition) record(operation string) *storagev1.Invocation {
	record, err := storage.GetInvocation(p.space, embedded.InvocationID(operation))
	require.NoError(p.t, err)
	return record
}

// start begins the operation and returns the frames of its journal.
func (p *partition) start(operation, stream string) []frame.Frame {
	p.t.Helper()
	response, err := p.host.Start(p.t.Context(), &restatev1.StartRequest{
		OperationId: operation, StreamId: stream, Argument: []byte("in"),
	}, nil)
	require.NoError(p.t, err)
	require.Equal(p.t, uint32(60), response.GetStreamTimeoutSec())
	require.NotNil(p.t, response.GetExecuting())
	return parse(p.t, response.GetExecuting())
}

// send sends frames and returns the name of the answer: ok, invalid_stream or invocation_completed.
func (p *partition) send(operation, stream string, frames ...frame.Frame) string {
	p.t.Helper()
	response, err := p.trySend(operation, stream, encode(frames...))
	require.NoError(p.t, err)
	return nameOf(response)
}

func (p *partition) trySend(operation, stream string, messages []byte) (*restatev1.SendResponse, error) {
	return p.host.Send(p.t.Context(), &restatev1.SendRequest{OperationId: operation, StreamId: stream, Messages: messages})
}

func (p *partition) ping(operation, stream string) string {
	p.t.Helper()
	response, err := p.host.Ping(&restatev1.PingRequest{OperationId: operation, StreamId: stream})
	require.NoError(p.t, err)
	return nameOf(response)
}

// recv waits for completions. It returns the frames, and the name of the answer.
func (p *partition) recv(operation, stream string) ([]frame.Frame, string) {
	p.t.Helper()
	response, err := p.host.Recv(p.t.Context(), &restatev1.RecvRequest{OperationId: operation, StreamId: stream})
	require.NoError(p.t, err)
	return parse(p.t, response.GetMessages()), nameOf(response)
}

// hold keeps records from being applied until the function that it returns is called.
func (p *partition) hold() (release func()) {
	p.held.Lock()
	p.proposed.Store(0)
	return p.held.Unlock
}

// awaitProposed waits until so many records have been proposed since hold.
func (p *partition) awaitProposed(n int64) {
	p.t.Helper()
	await.True(p.t, await.Deadline, func() bool { return p.proposed.Load() == n }, "records to be proposed")
}

// receiving begins a Recv, and returns when it waits.
func (p *partition) receiving(operation, stream string) <-chan received {
	p.t.Helper()
	before := host.Receivers(p.host, operation)
	result := later(p.t, func() received {
		response, err := p.host.Recv(p.t.Context(), &restatev1.RecvRequest{OperationId: operation, StreamId: stream})
		if err != nil {
			return received{err: err}
		}
		frames, err := decodeAll(response.GetMessages())
		return received{frames, nameOf(response), err}
	})
	await.True(p.t, await.Deadline, func() bool { return host.Receivers(p.host, operation) == before+1 }, "Recv to wait")
	return result
}

type received struct {
	frames []frame.Frame
	answer string
	err    error
}

// later calls the function in a goroutine. The channel gets what it returns.
func later[T any](t *testing.T, call func() T) <-chan T {
	t.Helper()
	result := make(chan T, 1)
	go func() { result <- call() }()
	return result
}

// nameOf returns the name of the member of the oneof "response" that is set.
func nameOf(response proto.Message) string {
	m := response.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

func parse(t *testing.T, messages []byte) []frame.Frame {
	t.Helper()
	frames, err := decodeAll(messages)
	require.NoError(t, err)
	return frames
}

func makeFrame(kind frame.Type, flags uint16, m proto.Message) frame.Frame {
	payload, err := proto.Marshal(m)
	if err != nil {
		return frame.Frame{}
	}
	return frame.Frame{Type: kind, Flags: flags, Payload: payload}
}

func encode(frames ...frame.Frame) []byte {
	var messages []byte
	for _, f := range frames {
		messages = frame.Append(messages, f)
	}
	return messages
}

// The frames of a handler.

func setState(key, value string) frame.Frame {
	return makeFrame(wire.TypeSetState, 0, &protocol.SetStateEntryMessage{Key: []byte(key), Value: []byte(value)})
}

func getState(key string) frame.Frame {
	return makeFrame(wire.TypeGetState, 0, &protocol.GetStateEntryMessage{Key: []byte(key)})
}

func sideEffect(payload string) frame.Frame {
	return frame.Frame{Type: wire.TypeCustom + 1, Flags: wire.FlagRequiresAck, Payload: []byte(payload)}
}

func awakeable() frame.Frame { return frame.Frame{Type: wire.TypeAwakeable} }

func call(service string) frame.Frame {
	return makeFrame(wire.TypeInvoke, 0, &protocol.InvokeEntryMessage{ServiceName: service, MethodName: "M"})
}

func output(value string) frame.Frame {
	return makeFrame(wire.TypeOutputStream, 0, &protocol.OutputStreamEntryMessage{
		Result: &protocol.OutputStreamEntryMessage_Value{Value: []byte(value)},
	})
}

// The frames that a client gets.

func completion(index uint32, value string) frame.Frame {
	return makeFrame(wire.TypeCompletion, 0, &protocol.CompletionMessage{
		EntryIndex: index, Result: &protocol.CompletionMessage_Value{Value: []byte(value)},
	})
}

func ack(index uint32) frame.Frame {
	messages, err := wire.AppendAck(nil, index)
	if err != nil {
		return frame.Frame{}
	}
	frames, err := decodeAll(messages)
	if err != nil {
		return frame.Frame{}
	}
	return frames[0]
}

func decodeAll(messages []byte) ([]frame.Frame, error) {
	reader := frame.NewReader(bytes.NewReader(messages), uint32(len(messages)))
	var frames []frame.Frame
	for {
		f, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		frames = append(frames, f)
	}
}
