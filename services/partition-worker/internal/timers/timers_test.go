package timers_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/timers"
)

// table is a table of timers, with what was proposed of them. Time is that of a synctest bubble.
type table struct {
	t     testing.TB
	space kv.Space
	start time.Time
	// keepFired leaves the row of a timer that has fired, as if its record were still on its way.
	keepFired bool

	mu    sync.Mutex
	fired []firing
}

// firing is a timer and when it fired, in milliseconds after the start.
type firing struct{ due, at uint64 }

func newTable(t testing.TB) *table {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	return &table{t: t, space: space, start: time.Now()}
}

// timer is due after the given number of milliseconds; the number tells apart those of one time.
func (b *table) timer(after uint64, number uint32) storage.TimerID {
	return storage.TimerID{
		FireAt: uint64(b.start.UnixMilli()) + after, Invocation: ids.InvocationID{1}, Kind: storage.TimerSleep, CompletionID: number,
	}
}

func (b *table) put(id storage.TimerID) storage.TimerID {
	tx := kv.NewTx(b.space)
	require.NoError(b.t, storage.PutTimer(tx, id, &storagev1.Timer{}))
	require.NoError(b.t, tx.Commit())
	return id
}

func (b *table) fire(_ context.Context, key []byte) error {
	id, err := storage.ParseTimerKey(key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fired = append(b.fired, firing{id.FireAt - uint64(b.start.UnixMilli()), uint64(time.Since(b.start).Milliseconds())})
	if b.keepFired {
		return nil
	}
	tx := kv.NewTx(b.space)
	tx.Delete(key)
	return tx.Commit()
}

// due returns when the timers that have fired were due, in the order of firing.
func (b *table) due() []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	due := make([]uint64, len(b.fired))
	for i, f := range b.fired {
		due[i] = f.due
	}
	return due
}

// run starts timers over the table; the test stops them.
func (b *table) run(window int) (running *timers.Timers, stop func() error) {
	running = timers.New(timers.Config{Window: window}, timers.Deps{State: b.space, Fire: b.fire, Now: time.Now})
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- running.Run(ctx) }()
	synctest.Wait()
	return running, func() error {
		cancel()
		return <-done
	}
}

// pass lets the time go by.
func pass(milliseconds int) {
	<-time.After(time.Duration(milliseconds) * time.Millisecond)
	synctest.Wait()
}

func TestTimersFireWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTable(t)
		b.put(b.timer(3000, 0))
		b.put(b.timer(0, 0))
		running, stop := b.run(10)
		running.Add(b.put(b.timer(2000, 0)))
		running.Add(b.put(b.timer(1000, 0)))
		pass(1500)
		running.Add(b.put(b.timer(1600, 0)))
		running.Add(b.put(b.timer(500, 0))) // overdue: the proposer's clock is not this one
		pass(10000)
		require.Equal(t, []firing{{0, 0}, {1000, 1000}, {500, 1500}, {1600, 1600}, {2000, 2000}, {3000, 3000}}, b.fired)
		require.NoError(t, stop())
	})
}

func TestTimersOfOneTimeAllFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTable(t)
		for n := range uint32(7) {
			b.put(b.timer(5, n))
		}
		_, stop := b.run(3)
		pass(5)
		require.Len(t, b.due(), 7)
		require.NoError(t, stop())
	})
}

// TestWindow has more timers than fit: those that come later are read from the table in their turn.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTable(t)
		for _, after := range []uint64{40, 60, 80, 100} {
			b.put(b.timer(after, 0))
		}
		running, stop := b.run(2)
		for _, after := range []uint64{
			90,     // beyond the window
			50,     // within: 60 has to go
			10, 20, // 40 and 50 too
			70,
		} {
			running.Add(b.put(b.timer(after, 0)))
		}
		pass(1000)
		require.Equal(t, []uint64{10, 20, 40, 50, 60, 70, 80, 90, 100}, b.due())
		require.NoError(t, stop())
	})
}

// TestAddAfterLoad tells of timers that have been read from the table already, and of some when the window is empty.
func TestAddAfterLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTable(t)
		first := b.put(b.timer(10, 0))
		running, stop := b.run(1)
		running.Add(first)
		pass(20)
		running.Add(b.put(b.timer(30, 0)))
		running.Add(b.put(b.timer(40, 0)))
		pass(100)
		require.Equal(t, []uint64{10, 30, 40}, b.due())
		require.NoError(t, stop())
	})
}

// TestFiredTimersAreNotReloaded leaves the rows in the table, as they are until the record is applied.
func TestFiredTimersAreNotReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTable(t)
		b.keepFired = true
		for after := range uint64(10) {
			b.put(b.timer(after, 0))
		}
		_, stop := b.run(3)
		pass(100)
		require.Equal(t, []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, b.due())
		require.NoError(t, stop())
	})
}

func TestFarFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTable(t)
		b.put(storage.TimerID{FireAt: math.MaxUint64})
		const year = 365 * 24 * 60 * 60 * 1000
		b.put(b.timer(year, 0))
		_, stop := b.run(10)
		pass(year)
		require.Equal(t, []firing{{year, year}}, b.fired)
		require.NoError(t, stop())
	})
}

// TestRandomTimers adds timers at random times for random times: each fires once, when it is due or added.
func TestRandomTimers(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			b := newTable(t)
			running, stop := b.run(1 + random.IntN(8))
			added := map[uint64]uint64{} // when, by when it is due
			for range 200 {
				for range random.IntN(4) {
					now := uint64(time.Since(b.start).Milliseconds())
					after := now + random.Uint64N(300) - min(now, random.Uint64N(20))
					if _, ok := added[after]; !ok {
						added[after] = now
						running.Add(b.put(b.timer(after, 0)))
					}
				}
				pass(random.IntN(10))
			}
			pass(1000)
			require.Len(t, b.fired, len(added), "seed %d", seed)
			for _, f := range b.fired {
				require.Equal(t, max(f.due, added[f.due]), f.at, "seed %d: timer %d, added at %d", seed, f.due, added[f.due])
			}
			require.NoError(t, stop())
		})
	}
}

func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTable(t)
		b.put(b.timer(0, 0))
		failed := errors.New("the log is gone")
		fail := timers.New(timers.Config{Window: 1}, timers.Deps{
			State: b.space, Now: time.Now,
			Fire: func(context.Context, []byte) error { return failed },
		})
		require.ErrorIs(t, fail.Run(t.Context()), failed)

		stopped, cancel := context.WithCancel(t.Context())
		block := timers.New(timers.Config{Window: 1}, timers.Deps{
			State: b.space, Now: time.Now,
			Fire: func(ctx context.Context, _ []byte) error {
				cancel()
				<-ctx.Done()
				return ctx.Err()
			},
		})
		require.NoError(t, block.Run(stopped))

		batch := kv.NewBatch(0)
		batch.Put([]byte{byte(storage.TableTimer), 0}, nil)
		require.NoError(t, b.space.Write(batch))
		damaged := timers.New(timers.Config{Window: 1}, timers.Deps{State: b.space, Now: time.Now, Fire: b.fire})
		require.ErrorIs(t, damaged.Run(t.Context()), storage.ErrCorrupt)
	})
}
