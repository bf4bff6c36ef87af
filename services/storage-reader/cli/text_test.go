package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"
)

func TestBytesAreShownAsTextWhereTheyAre(t *testing.T) {
	for in, want := range map[string]string{
		"":             "",
		"text":         "text",
		`{"a": "ü"}`:   `{"a": "ü"}`,
		"two\nlines":   `"two\nlines"`,
		"\x08\x96\x01": "0x089601",
		"a\x00b":       "0x610062",
		"\xff\xfe":     "0xfffe",
	} {
		require.Equal(t, want, bytesText([]byte(in)), "%q", in)
	}
}

func TestKeysAreShownAsTheirTypeHasThem(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"\x03abc":                             "abc",
		"\x00":                                "0",
		"plain":                               "plain",
		"\x96\x01":                            "150",
		"\x81\x01" + strings.Repeat("k", 129): strings.Repeat("k", 129),
		"\xee\x00\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x01": "ee000000-0000-7000-8000-000000000001",
		"\x05\x08\x01\x10\x02\x01": "0x050801100201",
	} {
		require.Equal(t, want, keyText([]byte(in)), "%q", in)
	}
}

func TestKeysMayBeWrittenInAnyForm(t *testing.T) {
	for in, want := range map[string][]string{
		"ada":    {"\x03ada", "ada"},
		"150":    {"\x03150", "150", "\x96\x01"},
		"":       {"\x00", ""},
		"0x9601": {"\x96\x01"},
		"ee000000-0000-7000-8000-000000000001": {
			"\x24ee000000-0000-7000-8000-000000000001", "ee000000-0000-7000-8000-000000000001",
			"\xee\x00\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x01",
		},
		"18446744073709551615": {
			"\x1418446744073709551615", "18446744073709551615", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		},
	} {
		values, err := keyValues(in)
		require.NoError(t, err)
		var got []string
		for _, value := range values {
			got = append(got, string(value.Bytes()))
		}
		require.Equal(t, want, got, in)
	}
}

func TestLongValuesAreCut(t *testing.T) {
	require.Equal(t, strings.Repeat("ü", maxShown), shortened(strings.Repeat("ü", maxShown)))
	require.Equal(t, strings.Repeat("ü", maxShown-1)+"…", shortened(strings.Repeat("ü", maxShown+1)))
	require.Equal(t, "two lines of text", shortened("two\nlines\tof text"), "a row has one line")
}

// TestRowsAreNotKeptForLong: a table may have more of them than fit into memory.
func TestRowsAreNotKeptForLong(t *testing.T) {
	kind, err := tableNamed("state")
	require.NoError(t, err)
	var out bytes.Buffer
	shown := newTable(&out, kind)
	for n := range 2*blockRows + 10 {
		require.NoError(t, shown.add(&scanv1.Pair{
			Key:   &scanv1.Key{Key: &scanv1.Key_State{State: &scanv1.State{ServiceName: proto.String("S"), StateKey: fmt.Append(nil, n)}}},
			Value: []byte("v"),
		}))
		require.Less(t, len(shown.cells), blockRows)
	}
	require.Equal(t, 2*blockRows, strings.Count(out.String(), "\n"))
	require.NoError(t, shown.close())
	require.Equal(t, 2*blockRows+11, strings.Count(out.String(), "\n"))
}
