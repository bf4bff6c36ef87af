package invoker

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/fairshare"
	"github.com/restate-go/restate/pkg/schema"
)

// Config of the calls to service endpoints.
type Config struct {
	// ConcurrencyLimit is how many attempts of one partition run at a time, 1 or more. Services share them: one alone gets seven of
	// ten, so that one that does not answer leaves some to the others. Default 1000.
	ConcurrencyLimit int `yaml:"concurrency_limit" split_words:"true"`
	// InactivityTimeout is how long an attempt may go without a message before the service is asked to suspend it.
	// Default 1m.
	InactivityTimeout config.Duration `yaml:"inactivity_timeout" split_words:"true"`
	// AbortTimeout is how long the service then has to do so before the attempt is aborted. A step that takes longer
	// than both is done again. Default 10m.
	AbortTimeout config.Duration `yaml:"abort_timeout" split_words:"true"`
	// MessageSizeWarning is the size of a message, in bytes, from which on a warning is logged. Default 4 MiB.
	MessageSizeWarning config.Size `yaml:"message_size_warning" split_words:"true"`
	// MessageSizeLimit is the largest message accepted from a service, in bytes. Default 7 MiB, which a record of the
	// log has room for.
	MessageSizeLimit config.Size `yaml:"message_size_limit" split_words:"true"`
	// JournalLengthLimit is how many entries the journal of an invocation may have, and JournalSizeLimit how many bytes:
	// commands and results together. One that would have more is paused. 0: without bound. Defaults 100000 and 128 MiB.
	JournalLengthLimit uint32      `yaml:"journal_length_limit" split_words:"true"`
	JournalSizeLimit   config.Size `yaml:"journal_size_limit" split_words:"true"`
	// MemoryLimit is how much the attempts of one partition hold in memory of journals, messages and results, in bytes,
	// beside 64 KiB for each; a journal that is being encoded is there twice, and counts once. Services share it as they do
	// places; an attempt that gets none is made again later. What one alone gets has to have room for JournalSizeLimit,
	// EagerStateLimit and MessageSizeLimit together. Default 256 MiB.
	MemoryLimit config.Size `yaml:"memory_limit" split_words:"true"`
	// EagerStateLimit is how much state goes along with the start of an attempt, in bytes, where each entry counts 64 beside
	// its key and value; the service asks for the rest. Default 1 MiB.
	EagerStateLimit config.Size `yaml:"eager_state_limit" split_words:"true"`
	// RetryPolicy says when a failed attempt is followed by the next.
	RetryPolicy RetryPolicy `yaml:"retry_policy" ignored:"true"`
}

// RetryPolicy is exponential.
type RetryPolicy struct {
	// InitialInterval precedes the second attempt. Default 50ms.
	InitialInterval config.Duration `yaml:"initial_interval" split_words:"true"`
	// Factor multiplies the interval after each attempt, 1 to 2147483647. Default 2.
	Factor float64 `yaml:"factor"`
	// MaxInterval bounds the interval. Default 10s.
	MaxInterval config.Duration `yaml:"max_interval" split_words:"true"`
	// MaxAttempts counts the first attempt too; after the last the invocation fails. 0 is without end, the default.
	MaxAttempts uint32 `yaml:"max_attempts" split_words:"true"`
}

// DefaultConfig is what is in force where nothing else is said.
func DefaultConfig() Config {
	return Config{
		ConcurrencyLimit:   1000,
		InactivityTimeout:  config.Duration(time.Minute),
		AbortTimeout:       config.Duration(10 * time.Minute),
		MessageSizeWarning: 4 << 20,
		MessageSizeLimit:   7 << 20,
		JournalLengthLimit: 100_000,
		JournalSizeLimit:   128 << 20,
		MemoryLimit:        256 << 20,
		EagerStateLimit:    1 << 20,
		RetryPolicy: RetryPolicy{
			InitialInterval: config.Duration(50 * time.Millisecond), Factor: 2, MaxInterval: config.Duration(10 * time.Second),
		},
	}
}

// Validate returns what cannot be in force, as an *errcode.Error with BadConfiguration.
func (c Config) Validate() error {
	if c.ConcurrencyLimit < 1 {
		return errcode.New(errcode.BadConfiguration, "worker.invoker.concurrency_limit is %d, and has to be 1 or more", c.ConcurrencyLimit)
	}
	if f := c.RetryPolicy.Factor; !schema.ValidFactor(f) {
		return errcode.New(errcode.BadConfiguration, "worker.invoker.retry_policy.factor is %g, and has to be from 1 to %d", f, schema.MaxFactor)
	}
	// An attempt that needs more than it can ever get would be made again and again.
	left := config.Size(fairshare.NewPool(int(c.MemoryLimit)).Most())
	for _, size := range []config.Size{c.JournalSizeLimit, c.EagerStateLimit, c.MessageSizeLimit} {
		if size > left {
			return errcode.New(errcode.BadConfiguration, "worker.invoker.memory_limit is %s, and seven tenths of it have to have room for "+
				"journal_size_limit (%s), eager_state_limit (%s) and message_size_limit (%s) together: raise it, or lower them",
				c.MemoryLimit, c.JournalSizeLimit, c.EagerStateLimit, c.MessageSizeLimit)
		}
		left -= size
	}
	return nil
}

// jitter is by how much an interval is stretched at most, so that invocations that failed together do not all come
// back together.
const jitter = 0.3

// policy returns the policy in the form in which handlers have theirs.
func (p RetryPolicy) policy() schema.RetryPolicy {
	return schema.RetryPolicy{
		InitialInterval: time.Duration(p.InitialInterval), Factor: p.Factor, MaxInterval: time.Duration(p.MaxInterval),
		MaxAttempts: p.MaxAttempts, Exhausted: schema.ExhaustedKill,
	}
}

// delayOf returns the time between the attempt with the number (from 1) and the next; false when there is no next.
func delayOf(p schema.RetryPolicy, attempt uint32) (time.Duration, bool) {
	if p.MaxAttempts != 0 && attempt >= p.MaxAttempts {
		return 0, false
	}
	interval := float64(max(p.InitialInterval, shortestDelay)) * math.Pow(p.Factor, float64(attempt-1))
	interval = min(interval, float64(max(p.MaxInterval, shortestDelay)))
	interval *= 1 + jitter*rand.Float64() //nolint:gosec // not a secret
	if interval >= math.MaxInt64 {        // as a duration it would be negative, and the next attempt be made at once
		return math.MaxInt64, true
	}
	return time.Duration(interval), true
}
