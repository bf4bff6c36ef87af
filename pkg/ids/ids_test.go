package ids_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
)

func fromHex(t *testing.T, s string) ids.InvocationID {
	t.Helper()
	raw, err := hex.DecodeString(s)
	require.NoError(t, err)
	id, err := ids.InvocationIDFromBytes(raw)
	require.NoError(t, err)
	return id
}

// Ids as restate-server 1.7.12 prints them.
func TestInvocationIDText(t *testing.T) {
	for raw, text := range map[string]string{
		"000000000000000000000000000000000000000000000001": "inv_10000000000001SZwviYzes2mjOamuMJWw",
		"00073cf1ba61d91961a12a637bcefd4458ad1c6d4e2342ac": "inv_12dAQTumRwUU5f2U8b66UrtWhyCXISKaBj",
		"f613627a7bfd674501a2056f55d5d0dd925e5aea86ffa849": "inv_15XrKI6E8WY62eZFG5YKsuF0UqIIL028s9",
		"89a6b2a49133b7b7f4188318ce7afe653ebd1d617cabfdf2": "inv_1fLUFnDokT5T7ow4nk6ryExmjLZV8HLVcM",
	} {
		id := fromHex(t, raw)
		require.Equal(t, text, id.String())
		parsed, err := ids.ParseInvocationID(text)
		require.NoError(t, err)
		require.Equal(t, id, parsed)
	}
}

func TestParseInvocationIDOf2023(t *testing.T) {
	id := fromHex(t, "2b5a9ec79d823d890188f66aeafa71bdbad5c7d92bcc5835")
	for _, text := range []string{"K1qex52CPYkBiPZq6vpxvbrVx9krzFg1", "K1qex52CPYkAYj2aur6cb261cfZK8xYNQ"} {
		parsed, err := ids.ParseInvocationID(text)
		require.NoError(t, err, text)
		require.Equal(t, id, parsed)
	}
}

func TestParseInvocationIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", "inv_1", "inv_2dAQTumRwUU5f2U8b66UrtWhyCXISKaBj", "inv_12dAQTumRwUU5f2U8b66UrtWhyCXISKaB",
		"inv_12dAQTumRwUU5f2U8b66UrtWhyCXISKa-j", "inv_1ZZZZZZZZZZZ5f2U8b66UrtWhyCXISKaBj",
		"inv_12dAQTumRwUUZZZZZZZZZZZZZZZZZZZZZZ", "K1qex52CPYkBiPZq6vpxvbrVx9krzFg", "K1qex52CPYkBiPZq6vpxvbrVx9krzF=1",
	} {
		_, err := ids.ParseInvocationID(text)
		require.ErrorIs(t, err, ids.ErrInvalid, text)
	}
}

func FuzzParseInvocationID(f *testing.F) {
	f.Add("inv_12dAQTumRwUU5f2U8b66UrtWhyCXISKaBj")
	f.Add("K1qex52CPYkBiPZq6vpxvbrVx9krzFg1")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ids.ParseInvocationID(text)
		if err != nil {
			return
		}
		again, err := ids.ParseInvocationID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
