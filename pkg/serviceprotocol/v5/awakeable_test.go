package v5_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

func TestAwakeables(t *testing.T) {
	for text, want := range map[string]v5.Awakeable{
		someAwakeable: {Invocation: ids.InvocationID(rawID(t)), Index: 17, Signal: true},
		legacy:        {Invocation: ids.InvocationID(rawID(t)), Index: 3},
	} {
		got, err := v5.ParseAwakeable(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, text, got.String())
	}
}

func TestParseAwakeableRefuses(t *testing.T) {
	cancel := v5.Awakeable{Invocation: ids.InvocationID(rawID(t)), Index: 1, Signal: true}.String()
	for _, text := range []string{
		"", "sign_1", "sign_2" + someAwakeable[6:], someAwakeable[6:], someAwakeable[1:], someID,
		someAwakeable + "A", someAwakeable[:len(someAwakeable)-1], someAwakeable + "==",
		someAwakeable[:20] + "+" + someAwakeable[21:], someAwakeable[:20] + "\n" + someAwakeable[21:],
		someAwakeable[:len(someAwakeable)-1] + "R", // bits that stand for nothing
		cancel,
		"sign_1" + strings.Repeat("A", 1<<20),
	} {
		_, err := v5.ParseAwakeable(text)
		require.ErrorIs(t, err, ids.ErrInvalid, "%.80q", text)
		require.Less(t, len(err.Error()), 200)
	}
}

func FuzzParseAwakeable(f *testing.F) {
	f.Add(someAwakeable)
	f.Add(legacy)
	f.Add("sign_1" + base64.RawURLEncoding.EncodeToString(make([]byte, 28)))
	f.Fuzz(func(t *testing.T, text string) {
		a, err := v5.ParseAwakeable(text)
		if err != nil {
			require.ErrorIs(t, err, ids.ErrInvalid)
			return
		}
		require.Equal(t, text, a.String())
	})
}

func TestLengthOfAwakeables(t *testing.T) {
	id := v5.Awakeable{Index: 17, Signal: true}.String()
	_, err := v5.ParseAwakeable("sign_1nonsense")
	require.EqualError(t, err, fmt.Sprintf("invalid id: an awakeable id has %d characters, and this one 14", len(id)))
}
