package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

var (
	// identifier matches ids of invocations and awakeables, which are others each time.
	identifier = regexp.MustCompile(`inv_1[0-9A-Za-z]{33}|[0-9A-Za-z_-]{32}AAAA[0-9A-Za-z_-]{2}`)
	moment     = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)
	space      = regexp.MustCompile(`\s+`)
)

// Names are what a document calls something, and what that is called in this run.
type Names struct {
	// pairs are a name of the document and the actual one, one after the other.
	pairs []string
}

// Bind notes what a name of the document is called in fact.
func (n *Names) Bind(documented, actual string) { n.pairs = append(n.pairs, documented, actual) }

// Translate returns a text of the document with the actual names.
func (n *Names) Translate(text string) string { return strings.NewReplacer(n.pairs...).Replace(text) }

// Match compares what was printed with what the document says, and binds the ids in it. White space counts as a separator
// only, any time matches any other, and a line that says ... stands for any number of lines.
func (n *Names) Match(documented Block, actual string) error {
	want := documented.Text
	if documented.Language == "json" {
		want, actual = compact(want), compact(actual)
	}
	pattern, ids, err := n.pattern(n.Translate(want))
	if err != nil {
		return err
	}
	differs := fmt.Errorf("line %d of the document says\n%s\nand this was printed:\n%s", documented.Line, documented.Text, actual)
	found := pattern.FindStringSubmatch(actual)
	if found == nil {
		return differs
	}
	bound := map[string]string{}
	for i, id := range ids {
		if before, ok := bound[id]; ok && before != found[i+1] {
			return differs
		}
		bound[id] = found[i+1]
	}
	for id, actual := range bound {
		n.Bind(id, actual)
	}
	return nil
}

// compact makes JSON texts comparable. What is no JSON stays as it is, and matches nothing.
func compact(text string) string {
	var out bytes.Buffer
	if json.Compact(&out, []byte(text)) != nil {
		return text
	}
	return out.String()
}

// pattern returns what matches the text, and the ids of the document that its groups stand for.
func (n *Names) pattern(text string) (pattern *regexp.Regexp, ids []string, err error) {
	known := map[string]bool{}
	for i := 1; i < len(n.pairs); i += 2 {
		known[n.pairs[i]] = true
	}
	var out strings.Builder
	out.WriteString(`^\s*`)
	for line := range strings.Lines(strings.TrimSpace(text)) {
		if strings.TrimSpace(line) == "..." {
			out.WriteString(`(?s:.*)`)
			continue
		}
		for {
			at := identifier.FindStringIndex(line)
			if at == nil {
				break
			}
			out.WriteString(literal(line[:at[0]]))
			if id := line[at[0]:at[1]]; known[id] {
				out.WriteString(regexp.QuoteMeta(id))
			} else {
				ids = append(ids, id)
				out.WriteString(`(` + identifier.String() + `)`)
			}
			line = line[at[1]:]
		}
		out.WriteString(literal(line))
	}
	out.WriteString(`\s*$`)
	pattern, err = regexp.Compile(out.String())
	return pattern, ids, err
}

// literal matches the text, with any white space where it has some, and any time where it has one.
func literal(text string) string {
	times := moment.Split(text, -1)
	for i, part := range times {
		words := space.Split(part, -1)
		for j, word := range words {
			words[j] = regexp.QuoteMeta(word)
		}
		times[i] = strings.Join(words, space.String())
	}
	return strings.Join(times, moment.String())
}
