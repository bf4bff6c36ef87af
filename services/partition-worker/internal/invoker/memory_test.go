package invoker

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/fairshare"
)

// claimOf returns the claim of an attempt that has no other.
func claimOf(m *fairshare.Pool, service string) claim {
	return (&account{memory: m, service: service}).claim(errcode.JournalTooLarge)
}

func TestMemoryIsShared(t *testing.T) {
	const limit = 100 << 20
	m := fairshare.NewPool(limit)
	greedy := make([]claim, 200)
	covered := 0
	for i := range greedy {
		greedy[i] = claimOf(m, "greedy")
		if err := greedy[i].cover(1 << 20); err != nil {
			require.Equal(t, errcode.MemoryExhausted, errcode.Of(err, ""))
			continue
		}
		covered++
	}
	require.Equal(t, 70, covered, "seven tenths")
	modest := claimOf(m, "modest")
	require.NoError(t, modest.cover(8<<20))
	require.Error(t, modest.cover(limit))
	require.Equal(t, limit-78<<20, m.Free(), "what is refused takes nothing")
	modest.release()
	for i := range greedy {
		greedy[i].release()
		greedy[i].release()
	}
	require.Equal(t, limit, m.Free())
}

func TestClaims(t *testing.T) {
	m := fairshare.NewPool(4 << 20)
	c := claimOf(m, "s")
	require.NoError(t, c.cover(unclaimed))
	require.Zero(t, c.held, "so much is everybody's")
	require.NoError(t, c.cover(unclaimed+1))
	require.Equal(t, claimStep, c.held)
	require.NoError(t, c.cover(unclaimed+claimStep))
	require.Equal(t, claimStep, c.held)
	require.NoError(t, c.cover(1<<20))
	require.Equal(t, 1<<20, c.held)
	require.NoError(t, c.cover(1))
	require.Equal(t, 1<<20, c.held, "it is kept until it is released")
	c.release()
	require.NoError(t, c.cover(1<<20))
	c.release()
	require.Equal(t, 4<<20, m.Free())
}

func TestMeteredReads(t *testing.T) {
	m := fairshare.NewPool(1 << 20)
	r := &metered{Reader: bytes.NewReader(make([]byte, 1<<20)), claim: claimOf(m, "s")}
	read := func(n int) error {
		_, err := io.ReadFull(r, make([]byte, n))
		return err
	}
	for range 5 { // messages, one after the other
		require.NoError(t, read(100<<10))
		r.forget()
	}
	require.Equal(t, 1<<20, m.Free())
	taken := m.Take("other", 700<<10)
	require.True(t, taken)
	require.Equal(t, errcode.MemoryExhausted, errcode.Of(read(400<<10), ""))
	r.forget()
	m.Release("other", 700<<10)
	require.Equal(t, 1<<20, m.Free())
}

// What would not fit if everything were free is too large: to wait for memory would be in vain.
func TestClaimsThatNeverFit(t *testing.T) {
	m := fairshare.NewPool(100 << 20)
	require.InDelta(t, 70<<20, m.Most(), 1<<20, "seven tenths")
	require.True(t, m.Take("other", 40<<20))
	a := &account{memory: m, service: "s"}
	journal, message := a.claim(errcode.JournalTooLarge), a.claim(errcode.MessageTooLarge)
	require.Equal(t, errcode.JournalTooLarge, errcode.Of(journal.cover(80<<20), ""))
	require.Equal(t, errcode.MemoryExhausted, errcode.Of(journal.cover(60<<20), ""))
	m.Release("other", 40<<20)
	require.NoError(t, journal.cover(60<<20))
	require.NoError(t, message.cover(5<<20))
	require.Equal(t, errcode.MessageTooLarge, errcode.Of(message.cover(20<<20), ""), "beside what the attempt holds already")
	journal.release()
	require.NoError(t, message.cover(20<<20))
	message.release()
	require.Zero(t, a.held.Load())
	require.NoError(t, journal.cover(m.Most()))
	journal.release()
}
