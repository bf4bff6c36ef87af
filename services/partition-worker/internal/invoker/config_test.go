package invoker

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"
)

func TestValidate(t *testing.T) {
	require.NoError(t, DefaultConfig().Validate())
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"no places":            {func(c *Config) { c.ConcurrencyLimit = 0 }, "worker.invoker.concurrency_limit is 0, and has to be 1 or more"},
		"fewer than no places": {func(c *Config) { c.ConcurrencyLimit = -1 }, "concurrency_limit is -1"},
		"a shrinking pause":    {func(c *Config) { c.RetryPolicy.Factor = 0.5 }, "worker.invoker.retry_policy.factor is 0.5, and has to be from 1"},
		"a pause without end":  {func(c *Config) { c.RetryPolicy.Factor = math.Inf(1) }, "retry_policy.factor is +Inf"},
		"a factor that is none": {
			func(c *Config) { c.RetryPolicy.Factor = math.NaN() }, "retry_policy.factor is NaN",
		},
		"no memory": {func(c *Config) { c.MemoryLimit = 0 }, "worker.invoker.memory_limit is 0"},
		"journals that do not fit": {
			func(c *Config) { c.MemoryLimit = 64 << 20 }, "memory_limit is 64MiB, and seven tenths of it have to have room for journal_size_limit (128MiB)",
		},
		"messages that do not fit": {
			func(c *Config) { c.JournalSizeLimit, c.MemoryLimit = 0, 8<<20 }, "message_size_limit (7MiB)",
		},
		"more than can be counted": {
			func(c *Config) { c.JournalSizeLimit, c.EagerStateLimit = math.MaxInt64, math.MaxInt64 }, "raise it, or lower them",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			c.change(&cfg)
			err := cfg.Validate()
			require.Equal(t, errcode.BadConfiguration, errcode.Of(err, ""), err)
			require.ErrorContains(t, err, c.says)
		})
	}
	cfg := DefaultConfig()
	cfg.MemoryLimit = config.Size(math.MaxInt64)
	require.NoError(t, cfg.Validate())
	cfg = DefaultConfig()
	cfg.JournalSizeLimit, cfg.MemoryLimit = 0, 16<<20
	require.NoError(t, cfg.Validate(), "a journal without a limit ends where the memory does")
}
