package invocation

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

func TestIdempotentIDs(t *testing.T) {
	const keyed, unkeyed = journalv1.ServiceKind_SERVICE_KIND_KEYED, journalv1.ServiceKind_SERVICE_KIND_UNKEYED
	id := func(kind journalv1.ServiceKind, service, key, idempotencyKey string) ids.InvocationID {
		fresh, err := ids.NewInvocationID(keyspace.HashKey([]byte(key)))
		require.NoError(t, err)
		target := &journalv1.Target{Service: service, Key: []byte(key), Kind: kind}
		return idempotency{key: idempotencyKey}.invocationID(target, fresh)
	}
	first, second := id(unkeyed, "s", "", "i"), id(unkeyed, "s", "", "i")
	require.Equal(t, first, second)
	// A golden value: ids must survive an upgrade, for results are kept under them.
	require.Equal(t, "inv_19QSnJsJycHy6Ieprwqg1khxim7Sh1DQVb", id(keyed, "s", "k", "i").String())
	seen := map[ids.InvocationID]bool{}
	for _, parts := range [][3]string{{"ab", "c", "d"}, {"a", "bc", "d"}, {"a", "b", "cd"}, {"abcd", "", ""}, {"", "abcd", ""}} {
		made := id(unkeyed, parts[0], parts[1], parts[2])
		require.False(t, seen[made], parts)
		seen[made] = true
	}
}

func TestRetention(t *testing.T) {
	for text, milliseconds := range map[string]uint64{"": 1800_000, "0": 0, "1": 1000, "4294967295": 4294967295_000} {
		once, err := idempotencyOf(http.Header{idempotencyKeyHeader: {"k"}, retentionHeader: {text}})
		require.NoError(t, err)
		require.Equal(t, milliseconds, once.retention)
	}
	for _, text := range []string{"-1", "1.5", "1s", "4294967296", " 1"} {
		_, err := idempotencyOf(http.Header{idempotencyKeyHeader: {"k"}, retentionHeader: {text}})
		require.Error(t, err, text)
	}
	none, err := idempotencyOf(http.Header{retentionHeader: {"nonsense"}})
	require.NoError(t, err)
	require.Empty(t, none.key)
}
