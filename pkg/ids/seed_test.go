package ids_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
)

// Seeds as restate-server 1.7.12 gives them.
func TestRandomSeed(t *testing.T) {
	for printed, seed := range map[string]uint64{
		"inv_12dAQTumRwUU5f2U8b66UrtWhyCXISKaBj": 16112587677447950555,
		"inv_12kpUQONmeFb2WqsVOkAjH4phS34cOyIC8": 2819727852034133028,
		"inv_12kpUQONmeFb6oppXjW9ObG6F4HiyaMZbE": 4090610065690476743,
		"inv_13WvOUs2fV5m5WGmpDF8rqqrmWueosykyE": 5190843767980592585,
	} {
		id, err := ids.ParseInvocationID(printed)
		require.NoError(t, err)
		require.Equal(t, seed, id.RandomSeed(), printed)
	}
}
