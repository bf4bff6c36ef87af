package partitionworker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"

	partitionworker "github.com/restate-go/restate/services/partition-worker"
)

// What cannot work is refused at the start, with the key that has to be changed.
func TestConfigurationIsChecked(t *testing.T) {
	cfg := partitionworker.DefaultConfig()
	_, err := partitionworker.New(cfg, partitionworker.Deps{})
	require.NoError(t, err)
	cfg.Invoker.MemoryLimit = 64 << 20
	_, err = partitionworker.New(cfg, partitionworker.Deps{})
	require.Equal(t, errcode.BadConfiguration, errcode.Of(err, ""), err)
	require.ErrorContains(t, err, "worker.invoker.memory_limit")
}
