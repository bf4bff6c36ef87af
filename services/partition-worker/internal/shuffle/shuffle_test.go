package shuffle_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/shuffle"
)

// outbox is an outbox table with a shuffle over it, and what came of its messages. Time is that of a synctest bubble.
type outbox struct {
	t       testing.TB
	space   kv.Space
	next    uint64
	shuffle *shuffle.Shuffle[string]

	mu           sync.Mutex
	destinations map[string]*destination
	truncations  []uint64
}

// destination remembers what it was given.
type destination struct {
	mu       sync.Mutex
	received []uint64
	arrived  map[uint64]func()
	// hold keeps back the arrival of what it takes, of which there is room for so many; 0 for any number.
	hold bool
	room int
	// meanwhile lets arrive what is kept back while it says that there is no room.
	meanwhile bool
	// full makes it wait before it takes something, until the channel is closed.
	full chan struct{}
	fail chan error
	// runs counts how often it was opened, running says whether it is.
	runs    int
	running bool
}

func newOutbox(t testing.TB) *outbox {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	return &outbox{t: t, space: space, next: 1, destinations: map[string]*destination{}}
}

// to returns the destination with the name, which takes everything at once unless told otherwise.
func (o *outbox) to(name string) *destination {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.destinations[name]; !ok {
		o.destinations[name] = &destination{arrived: map[uint64]func(){}, fail: make(chan error, 1)}
	}
	return o.destinations[name]
}

func (d *destination) Send(ctx context.Context, sequence uint64, _ *storagev1.OutboxMessage, arrived func()) (bool, error) {
	if d.full != nil {
		select {
		case <-d.full:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	d.mu.Lock()
	if d.room > 0 && len(d.arrived) == d.room {
		meanwhile := d.meanwhile
		d.mu.Unlock()
		if meanwhile {
			d.finish()
		}
		return false, nil
	}
	defer d.mu.Unlock()
	d.received = append(d.received, sequence)
	if d.hold {
		d.arrived[sequence] = arrived
	} else {
		arrived()
	}
	return true, nil
}

// finish lets arrive what is kept back, and release all that comes later too.
func (d *destination) finish() {
	d.mu.Lock()
	held := d.arrived
	d.arrived = map[uint64]func(){}
	d.mu.Unlock()
	for _, arrived := range held {
		arrived()
	}
}

func (d *destination) release() {
	d.mu.Lock()
	d.hold = false
	d.mu.Unlock()
	d.finish()
	synctest.Wait()
}

func (d *destination) Run(ctx context.Context) error {
	d.mu.Lock()
	d.runs, d.running = d.runs+1, true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.running = false
		d.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-d.fail:
		return err
	}
}

// opened returns how often it was opened, and whether it is.
func (d *destination) opened() (runs int, running bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runs, d.running
}

func (d *destination) got() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.received)
}

// commit puts messages to the named receivers into the table, and returns them.
func (o *outbox) commit(receivers ...string) (first uint64, messages []*storagev1.OutboxMessage) {
	first = o.next
	tx := kv.NewTx(o.space)
	for _, name := range receivers {
		message := &storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_IngressResponse{
			IngressResponse: &storagev1.IngressResponse{IngressId: name},
		}}
		require.NoError(o.t, storage.PutOutbox(tx, o.next, message))
		messages = append(messages, message)
		o.next++
	}
	require.NoError(o.t, tx.Commit())
	return first, messages
}

// add commits messages and tells the shuffle of them.
func (o *outbox) add(receivers ...string) {
	first, messages := o.commit(receivers...)
	for i, message := range messages {
		o.shuffle.Add(first+uint64(i), message)
	}
	synctest.Wait()
}

var errRoute = errors.New("nobody has that name")

func (o *outbox) deps() shuffle.Deps[string] {
	return shuffle.Deps[string]{
		State: o.space,
		Route: func(message *storagev1.OutboxMessage) (string, error) {
			if name := message.GetIngressResponse().GetIngressId(); name != "" {
				return name, nil
			}
			return "", errRoute
		},
		Open: func(name string) shuffle.Destination { return o.to(name) },
		Truncate: func(_ context.Context, through uint64) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.truncations = append(o.truncations, through)
			return nil
		},
		Log: slog.New(slog.DiscardHandler),
	}
}

// run starts a shuffle from the sequence on; the test stops it.
func (o *outbox) run(first uint64) (stop func() error) {
	o.shuffle = shuffle.New(first, o.deps())
	ctx, cancel := context.WithCancel(o.t.Context())
	done := make(chan error, 1)
	go func() { done <- o.shuffle.Run(ctx) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-done
	}
}

func count(from, to uint64) (sequences []uint64) {
	for n := from; n <= to; n++ {
		sequences = append(sequences, n)
	}
	return sequences
}

func TestMessagesGoToTheirReceiversInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t)
		o.commit("a", "b", "a") // of the leader before
		stop := o.run(0)
		require.Equal(t, []uint64{1, 3}, o.to("a").got())
		require.Equal(t, []uint64{2}, o.to("b").got())
		o.add("b", "a")
		o.add("c")
		require.Equal(t, []uint64{1, 3, 5}, o.to("a").got())
		require.Equal(t, []uint64{2, 4}, o.to("b").got())
		require.Equal(t, []uint64{6}, o.to("c").got())
		require.NoError(t, stop())
	})
}

func TestShuffleBeginsWhereItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t)
		o.next = 40
		o.commit("a", "a", "a")
		stop := o.run(40)
		require.Equal(t, count(40, 42), o.to("a").got())
		require.NoError(t, stop())
	})
}

// TestMessagesReadFromTheTableAreNotSentAgain tells of messages that the shuffle has found in the table before.
func TestMessagesReadFromTheTableAreNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t)
		first, messages := o.commit("a", "a")
		stop := o.run(1)
		for i, message := range messages {
			o.shuffle.Add(first+uint64(i), message)
		}
		o.add("a")
		require.Equal(t, count(1, 3), o.to("a").got())
		require.NoError(t, stop())
	})
}

// TestMoreMessagesThanFit leaves those in the table that come while a receiver is behind.
func TestMoreMessagesThanFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 10000
		o := newOutbox(t)
		full := make(chan struct{})
		o.to("a").full = full
		stop := o.run(1)
		for range many {
			o.add("a")
		}
		require.Empty(t, o.to("a").got())
		close(full)
		synctest.Wait()
		require.Equal(t, count(1, many), o.to("a").got())
		o.add("a")
		require.Equal(t, count(1, many+1), o.to("a").got())
		require.NoError(t, stop())
	})
}

// pass lets a while pass.
func pass() {
	<-time.After(10 * time.Second)
	synctest.Wait()
}

func TestArrivedMessagesAreTruncated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t)
		slow := o.to("slow")
		slow.hold = true
		stop := o.run(1)
		o.add("a", "slow", "a", "a")
		pass()
		require.Equal(t, []uint64{1}, o.truncations, "the second has not arrived")
		pass()
		require.Equal(t, []uint64{1}, o.truncations, "there is nothing new")
		slow.arrived[2]()
		pass()
		require.Equal(t, []uint64{1, 4}, o.truncations)

		// A good number is not left to wait.
		for range 600 {
			o.add("a")
		}
		require.Len(t, o.truncations, 3)
		require.GreaterOrEqual(t, o.truncations[2], uint64(4+512))
		require.NoError(t, stop())
	})
}

func TestShuffleEnds(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(*outbox)
		want   error
	}{
		"a receiver fails":      {func(o *outbox) { o.to("a").fail <- errors.ErrUnsupported }, errors.ErrUnsupported},
		"a message for nobody":  {func(o *outbox) { o.commit("") }, errRoute},
		"a message is missing":  {func(o *outbox) { o.next++; o.commit("a") }, storage.ErrCorrupt},
		"a message is damaged":  {func(o *outbox) { o.damage() }, storage.ErrCorrupt},
		"it is told to":         {func(*outbox) {}, nil},
		"it is, while it waits": {func(o *outbox) { o.to("b").full = make(chan struct{}); o.commit("b") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox(t)
				o.commit("a")
				c.damage(o)
				stop := o.run(1)
				require.ErrorIs(t, stop(), c.want)
			})
		})
	}
}

func (o *outbox) damage() {
	batch := kv.NewBatch(0)
	batch.Put(storage.OutboxKey(2), []byte{0xff})
	require.NoError(o.t, o.space.Write(batch))
}

func TestRecordOf(t *testing.T) {
	invoke, notify := &logv1.Invoke{Argument: []byte("x")}, &logv1.Notify{Awakeable: true}
	record := shuffle.RecordOf(7, &storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_Invoke{Invoke: invoke}})
	require.Equal(t, uint64(7), record.GetSequence())
	require.Same(t, invoke, record.GetInvoke())
	record = shuffle.RecordOf(8, &storagev1.OutboxMessage{Message: &storagev1.OutboxMessage_Notify{Notify: notify}})
	require.Equal(t, uint64(8), record.GetSequence())
	require.Same(t, notify, record.GetNotify())
}
