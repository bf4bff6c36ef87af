package invoker

import (
	"io"
	"sync/atomic"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/fairshare"
)

const (
	// unclaimed is what each claim may have without asking, in bytes: most attempts, which have two, never need more.
	unclaimed = 32 << 10
	// claimStep is by how much a claim grows at least, in bytes, so that it seldom has to ask.
	claimStep = 256 << 10
)

// account is what one attempt holds of the memory, which the attempts of a partition share for journals, results and
// messages that are large. A service may hold of it what it may of places. Who gets none is not kept waiting, since it may
// hold some: the attempt is made again later.
type account struct {
	memory  *fairshare.Pool
	service string
	held    atomic.Int64
}

// claim returns an empty claim. excess is the code of what would never fit, however much the others give back.
func (a *account) claim(excess errcode.Code) claim { return claim{account: a, excess: excess} }

// claim is what one attempt holds of the memory, for one purpose. It is not safe for concurrent use; other claims of the
// attempt may be used meanwhile.
type claim struct {
	account *account
	excess  errcode.Code
	held    int
}

// cover makes sure that the claim is good for n bytes in all. The error has a code: MemoryExhausted when the memory may be
// had later.
func (c *claim) cover(n int) error {
	if n <= c.held+unclaimed {
		return nil
	}
	m, service := c.account.memory, c.account.service
	more := max(n-c.held, claimStep)
	if m.Take(service, more) {
		c.held += more
		c.account.held.Add(int64(more))
		return nil
	}
	if int64(more) > int64(m.Most())-c.account.held.Load() {
		return errcode.New(c.excess, "the attempt needs more memory than the %d bytes that one service gets of worker.invoker.memory_limit", m.Most())
	}
	return errcode.New(errcode.MemoryExhausted, "the attempts of %s have all the memory that they may, of %d bytes for all services",
		service, m.Limit())
}

// release gives everything back. The claim can be used anew.
func (c *claim) release() {
	if c.held > 0 {
		c.account.memory.Release(c.account.service, c.held)
		c.account.held.Add(int64(-c.held))
		c.held = 0
	}
}

// metered claims memory for what is read, as it comes.
type metered struct {
	io.Reader
	claim claim
	read  int
}

// Read implements io.Reader.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.read += n
	if err := m.claim.cover(m.read); err != nil {
		return 0, err
	}
	return n, err
}

// forget gives back what was claimed: nothing is kept of what has been read.
func (m *metered) forget() {
	m.read = 0
	m.claim.release()
}
