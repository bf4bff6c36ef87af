package statemachine_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzCluster lets two partitions do random things, and replays their logs. As a plain test it does so for the seeds
// below; a failure names the seed.
func FuzzCluster(f *testing.F) {
	for seed := range uint64(25) {
		f.Add(seed, uint16(500))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		c := newCluster(t, seed)
		for step := range steps % 1000 {
			c.step()
			if step%10 == 0 {
				c.check()
			}
			if step%100 == 99 {
				c.settle()
			}
		}
		c.finish()
		for _, m := range c.members {
			replayInGroups(t, m.partition, rand.New(rand.NewPCG(seed, 1)))
			replayWithCrashes(t, m.partition, rand.New(rand.NewPCG(seed, 2)))
		}
	})
}

// replayInGroups applies the log with several batches to a commit.
func replayInGroups(t *testing.T, original *partition, random *rand.Rand) {
	t.Helper()
	p := newPartition(t, original.index, nil)
	for i, batch := range original.log {
		require.Equal(t, original.actions[i], p.apply(t, uint64(i)+1, batch), "actions of batch %d", i+1)
		if random.IntN(8) == 0 {
			require.NoError(t, p.tx.Commit())
		}
	}
	require.NoError(t, p.tx.Commit())
	require.Equal(t, original.raw(), p.raw())
}

// replayWithCrashes loses, now and then, what has not been committed and all memory, and goes on from the tables.
func replayWithCrashes(t *testing.T, original *partition, random *rand.Rand) {
	t.Helper()
	p := newPartition(t, original.index, nil)
	for {
		next := p.machine.AppliedSequence()
		if next == uint64(len(original.log)) {
			require.NoError(t, p.tx.Commit())
			break
		}
		require.Equal(t, original.actions[next], p.apply(t, next+1, original.log[next]), "actions of batch %d", next+1)
		switch random.IntN(6) {
		case 0:
			p.restart(t)
		case 1, 2:
			require.NoError(t, p.tx.Commit())
		case 3:
			require.NoError(t, p.tx.Commit())
			p.restart(t)
		}
	}
	require.Equal(t, original.raw(), p.raw())
}
