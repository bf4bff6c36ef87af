package document

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBlocksOfASection(t *testing.T) {
	const content = "# Title\n```sh\nbefore\n```\n## Section\ntext\n```js file.js\n# no heading\n```\n### Part\n```text\nin it\n```\n" +
		"## Next\n```sh\nafter\n```\n"
	require.Equal(t, []Block{
		{Language: "js", Note: "file.js", Text: "# no heading\n", Line: 7},
		{Language: "text", Text: "in it\n", Line: 11},
	}, parse(content, "## Section"))
	require.Len(t, parse(content, ""), 4)
	require.Empty(t, parse(content, "## Nowhere"))
}

func TestMatch(t *testing.T) {
	const first, second = "inv_18nbE8XpOUzK62p4wNbtdfDx2lHayUnr3h", "inv_1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, c := range []struct {
		name, documented, actual string
		matches                  bool
	}{
		{"the same", "a b\nc\n", "a   b\nc", true},
		{"something else", "a b\n", "a c\n", false},
		{"something more", "a\n", "a\nb\n", false},
		{"left out", "a\n...\nd\n", "a\nb\nc\nd\n", true},
		{"left out at the end", "a\n...\n", "a\nb\n", true},
		{"special characters", "a.b [c]* (d)\n", "a.b [c]* (d)\n", true},
		{"no pattern", "a.b\n", "axb\n", false},
		{"an id", "x " + first + " y\n", "x " + second + " y\n", true},
		{"an id twice", first + " " + first + "\n", second + " " + second + "\n", true},
		{"two ids", first + " " + first + "\n", second + " " + first + "\n", false},
		{"an awakeable", "tBBqCViSIBgBohlX-DNzrY5U0AU40-GvAAAAAQ\n", "w1jw-HLqWAEBohlYS2Vx0r9ub_0C5mHZAAAAAQ\n", true},
		{"a time", "at 2026-11-26T19:20:03.422Z\n", "at 2027-01-02T03:04:05Z\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var names Names
			err := names.Match(Block{Language: "text", Text: c.documented}, c.actual)
			if c.matches {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
		})
	}
	require.NoError(t, (&Names{}).Match(Block{Language: "json", Text: "{\n  \"a\": [1]\n}\n"}, `{"a":[1]}`))
}

func TestNamesAreRemembered(t *testing.T) {
	const first, second = "inv_18nbE8XpOUzK62p4wNbtdfDx2lHayUnr3h", "inv_1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	var names Names
	names.Bind("localhost:9090", "127.0.0.1:12345")
	require.NoError(t, names.Match(Block{Language: "text", Text: "to localhost:9090 " + first}, "to 127.0.0.1:12345 "+second))
	require.Equal(t, "kill "+second, names.Translate("kill "+first))
	require.Error(t, names.Match(Block{Language: "text", Text: first}, first), "it is another one now")
}
