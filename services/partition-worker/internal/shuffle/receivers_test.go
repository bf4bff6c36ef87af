package shuffle_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/services/partition-worker/internal/shuffle"
)

// last is up to where the outbox is truncated.
func (o *outbox) last() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.truncations) == 0 {
		return 0
	}
	return o.truncations[len(o.truncations)-1]
}

// TestReceiverThatTakesNothing does not hold up the others, and gets all that has waited for it, in order, among more of
// others' than are read at a time.
func TestReceiverThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t)
		slow := o.to("slow")
		slow.hold, slow.room = true, 3
		stop := o.run(1)
		var receivers []string
		var toSlow, toOthers []uint64
		for n := range uint64(12000) {
			if n%1000 < 5 || n == 11999 {
				receivers, toSlow = append(receivers, "slow"), append(toSlow, n+1)
			} else {
				receivers, toOthers = append(receivers, "a"), append(toOthers, n+1)
			}
		}
		o.add(receivers...)
		require.Equal(t, toOthers, o.to("a").got())
		require.Equal(t, toSlow[:3], slow.got())
		pass()
		require.Zero(t, o.last(), "the first has not arrived")

		// Those that are left wait though there is room for one.
		slow.mu.Lock()
		arrived := slow.arrived[1]
		delete(slow.arrived, 1)
		slow.mu.Unlock()
		arrived()
		synctest.Wait()
		require.Equal(t, toSlow[:4], slow.got())
		pass()
		require.Equal(t, uint64(1), o.last())
		o.add("slow", "a")
		require.Equal(t, toSlow[:4], slow.got(), "not before the others")

		slow.release()
		require.Equal(t, append(toSlow, 12001), slow.got())
		pass()
		require.Equal(t, uint64(12002), o.last())
		o.add("slow")
		require.Equal(t, append(toSlow, 12001, 12003), slow.got(), "as they come again")
		require.NoError(t, stop())
	})
}

// TestRoomThatIsMadeMeanwhile has all arrive that was under way before it is known that another one waits for that.
func TestRoomThatIsMadeMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t)
		a := o.to("a")
		a.hold, a.room, a.meanwhile = true, 1, true
		stop := o.run(1)
		o.add("a", "a")
		require.Equal(t, count(1, 2), a.got())
		require.NoError(t, stop())
	})
}

// TestReceiverThatIsGone loses what was for it, and is tried anew when there is more.
func TestReceiverThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t)
		lost := o.to("lost")
		lost.hold, lost.room = true, 2
		stop := o.run(1)
		o.add("a", "lost", "lost", "lost", "a", "lost", "a")
		pass()
		require.Equal(t, uint64(1), o.last())
		lost.fail <- fmt.Errorf("the ingress: %w", shuffle.ErrGone)
		pass()
		require.Equal(t, uint64(7), o.last())
		lost.mu.Lock()
		require.False(t, lost.running)
		late := lost.arrived[2]
		lost.arrived = map[uint64]func(){}
		lost.mu.Unlock()

		o.add("lost", "a")
		late()
		pass()
		require.Equal(t, []uint64{2, 3, 8}, lost.got())
		runs, _ := lost.opened()
		require.Equal(t, 2, runs)
		require.Equal(t, uint64(7), o.last())
		lost.release()
		pass()
		require.Equal(t, uint64(9), o.last())
		require.NoError(t, stop())
	})
}

// TestReceiverWithNothingToDo is let go, one for which something waits is not.
func TestReceiverWithNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(t)
		o.to("slow").hold = true
		running := func(name string) bool {
			_, running := o.to(name).opened()
			return running
		}
		stop := o.run(1)
		o.add("a", "slow")
		pass()
		require.True(t, running("a"))
		<-time.After(time.Hour)
		synctest.Wait()
		require.False(t, running("a"))
		require.True(t, running("slow"))
		o.add("a")
		require.Equal(t, []uint64{1, 3}, o.to("a").got())
		require.True(t, running("a"))
		require.Equal(t, uint64(1), o.last())
		require.NoError(t, stop())
	})
}

// TestMessagesArriveInAnyOrder has receivers of any size take, finish and leave as they like.
func TestMessagesArriveInAnyOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			o := newOutbox(t)
			names := []string{"a", "b", "c"}
			for n, name := range names {
				o.to(name).hold, o.to(name).room = true, 1+n*3
			}
			stop := o.run(1)
			sent, open := map[string][]uint64{}, map[uint64]bool{}
			for range 300 {
				name := names[random.IntN(len(names))]
				d := o.to(name)
				if random.IntN(2) == 0 {
					sent[name] = append(sent[name], o.next)
					open[o.next] = true
					o.add(name)
				} else {
					d.mu.Lock()
					for sequence, arrived := range d.arrived {
						delete(d.arrived, sequence)
						delete(open, sequence)
						d.mu.Unlock()
						arrived()
						d.mu.Lock()
						break
					}
					d.mu.Unlock()
				}
				if random.IntN(10) == 0 {
					pass()
					for sequence := range open {
						require.Greater(t, sequence, o.last(), "truncated before it arrived")
					}
				}
			}
			for _, name := range names {
				o.to(name).release()
				require.Equal(t, sent[name], o.to(name).got(), name)
			}
			pass()
			require.Equal(t, o.next-1, o.last())
			require.NoError(t, stop())
		})
	}
}
