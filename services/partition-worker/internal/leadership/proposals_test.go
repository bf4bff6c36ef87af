package leadership

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProposals(t *testing.T) {
	p := &proposals{}
	outcomes := map[uint64][]error{}
	add := func(lsn uint64) {
		p.appended(lsn, func(err error) { outcomes[lsn] = append(outcomes[lsn], err) })
	}
	applied, steppedDown := []error{nil}, []error{errSteppedDown}

	add(1 << 16)
	add(1<<16 | 1)
	add(2 << 16)
	require.Empty(t, outcomes, "nothing is applied yet")

	// A commit ends with a batch, and covers all of its records.
	p.advance(1<<16 | 0xffff)
	require.Equal(t, map[uint64][]error{1 << 16: applied, 1<<16 | 1: applied}, outcomes)

	// The acknowledgement may come after the record was applied.
	add(1<<16 | 2)
	require.Equal(t, applied, outcomes[1<<16|2])
	p.advance(1<<16 | 0xffff)
	require.Len(t, outcomes, 3, "each is reported once")

	add(3 << 16)
	p.close()
	require.Equal(t, steppedDown, outcomes[2<<16])
	require.Equal(t, steppedDown, outcomes[3<<16])
	add(4 << 16)
	require.Equal(t, steppedDown, outcomes[4<<16], "none is accepted afterwards")
	p.advance(9<<16 | 0xffff)
	p.close()
	for lsn, outcome := range outcomes {
		require.Len(t, outcome, 1, "outcomes of %d", lsn)
	}
}

// TestProposalsAreReportedOnce has the appender, the processor and the end of the leadership at work at once.
func TestProposalsAreReportedOnce(t *testing.T) {
	const count = 1000
	p := &proposals{}
	var mu sync.Mutex
	reported := map[uint64]int{}
	var group sync.WaitGroup
	group.Go(func() {
		for lsn := range uint64(count) {
			p.appended(lsn+1, func(error) {
				mu.Lock()
				defer mu.Unlock()
				reported[lsn+1]++
			})
		}
	})
	group.Go(func() {
		for lsn := range uint64(count / 2) {
			p.advance(lsn + 1)
		}
		p.close()
	})
	group.Wait()
	require.Len(t, reported, count)
	for lsn, times := range reported {
		require.Equal(t, 1, times, "proposal %d", lsn)
	}
}
