package statemachine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/mem"

	"github.com/restate-go/restate/services/partition-worker/internal/statemachine"
)

// TestScripts runs testdata/*.txt; go test -rewrite writes what came out into them. Each directive is a record that is
// applied in a batch of its own (commands_test.go), or one of:
//
//	batch            the records on the following lines, as one batch
//	crowd id= from= to=  one batch, in which the ingress requests with these numbers attach to an invocation
//	repeat           the last batch once more, at the next position of the log
//	dump [tables]    all rows, or those of the tables named
//
// Options of a batch: now=<ms> sets the clock, producer=<name>, epoch=<leader epoch>, seq=<sequence of the first record>.
//
// What is printed: actions ("!"), rows that are new ("+"), gone ("-") or changed ("~", with the fields that differ).
// Deduplication and meta rows are in dumps only.
func TestScripts(t *testing.T) {
	runScripts(t, false)
}

// TestScriptsWithoutMemory runs the same scripts with a new machine for each batch: what comes out may depend on
// nothing but the tables.
func TestScriptsWithoutMemory(t *testing.T) {
	runScripts(t, true)
}

func runScripts(t *testing.T, forgetful bool) {
	t.Helper()
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := newScript(t, forgetful)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			out, err := s.directive(d)
			if err != nil {
				return out + "error: " + err.Error() + "\n"
			}
			require.NoError(t, checkInvariants(s.space), "after %s", d.Pos)
			return out
		})
	})
}

// script is the state of partition 0 that a script works on.
type script struct {
	*names
	forgetful bool
	space     kv.Space
	tx        *kv.Tx
	machine   *statemachine.Machine
	// position of the last batch in the log, and the time of it.
	position, now uint64
	// sequences are the last of each producer and epoch.
	sequences map[string]uint64
	last      *logv1.Batch
	// fired is the key of the timer that fired last.
	fired []byte
}

func newScript(t *testing.T, forgetful bool) *script {
	t.Helper()
	space, err := mem.New(1).Space(0)
	require.NoError(t, err)
	s := &script{
		names: newNames(), forgetful: forgetful, space: space, tx: kv.NewTx(space), now: 1000,
		sequences: map[string]uint64{},
	}
	s.machine, err = statemachine.New(0, layout, space)
	require.NoError(t, err)
	return s
}

func (s *script) directive(d *datadriven.TestData) (string, error) {
	a := newArguments(d.CmdArgs)
	defer a.reset()
	switch d.Cmd {
	case "dump":
		return s.dump(a)
	case "repeat":
		return s.apply(s.last)
	case "crowd":
		lines, err := crowd(a)
		if err != nil {
			return "", err
		}
		return s.batch(newArguments(nil), lines)
	case "batch":
		return s.batch(a, strings.FieldsFunc(d.Input, func(r rune) bool { return r == '\n' }))
	default:
		return s.batch(a, []string{d.Cmd})
	}
}

// batch applies the records on the lines; the arguments of a single one are those of the batch too.
func (s *script) batch(a *arguments, lines []string) (string, error) {
	batch := &logv1.Batch{
		Producer:    a.text("producer", ""),
		LeaderEpoch: a.number("epoch", 0),
	}
	s.now = a.number("now", s.now)
	batch.ProposedAt = s.now
	if batch.GetProducer() == "" {
		batch.Producer = "test"
		if batch.GetLeaderEpoch() != 0 {
			batch.Producer = statemachine.LeaderProducer
		}
	}
	from := fmt.Sprintf("%s/%d", batch.GetProducer(), batch.GetLeaderEpoch())
	next := a.number("seq", s.sequences[from]+1)
	b := newBuilder(s)
	for _, line := range lines {
		command, own, err := parseRecord(line)
		if err != nil {
			return "", err
		}
		if len(lines) == 1 && len(own.given) == 0 {
			own = a
		}
		record, err := b.record(command, own)
		if err != nil {
			return "", fmt.Errorf("%s: %w", line, err)
		}
		if err := own.unused(); err != nil {
			return "", err
		}
		record.Sequence = next
		next++
		batch.Records = append(batch.Records, record)
	}
	s.sequences[from] = max(s.sequences[from], next-1)
	if err := a.unused(); err != nil {
		return "", err
	}
	return s.apply(batch)
}

func crowd(a *arguments) (lines []string, err error) {
	id, to := a.text("id", ""), a.number("to", 0)
	for n := a.number("from", 0); n <= to; n++ {
		lines = append(lines, fmt.Sprintf("attach id=%s sink=ingress:%d wait", id, n))
	}
	return lines, a.unused()
}

func (s *script) apply(batch *logv1.Batch) (string, error) {
	s.last = batch
	before, err := s.rows(s.space)
	if err != nil {
		return "", err
	}
	if s.forgetful {
		if s.machine, err = statemachine.New(0, layout, s.space); err != nil {
			return "", err
		}
	}
	s.position++
	actions, err := s.machine.Apply(s.tx, s.position, batch)
	if err != nil {
		// A real partition parks. The script goes on from what was committed.
		s.tx.Reset()
		s.position--
		s.machine, _ = statemachine.New(0, layout, s.space)
		return "", err
	}
	if err := s.tx.Commit(); err != nil {
		return "", err
	}
	after, err := s.rows(s.space)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, action := range actions {
		fmt.Fprintf(&out, "! %s\n", s.action(action))
	}
	difference(&out, before, after)
	return out.String(), nil
}

func (s *script) dump(a *arguments) (string, error) {
	rows, err := s.rows(s.space)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	tables := slices.Collect(a.words())
	for _, r := range rows {
		if table, _, _ := strings.Cut(r.name, " "); len(tables) == 0 || slices.Contains(tables, table) {
			fmt.Fprintln(&out, r)
		}
	}
	return out.String(), nil
}

// difference prints how the tables have changed; both lists are in order of the keys.
func difference(out *strings.Builder, before, after []row) {
	old := map[string]row{}
	for _, r := range before {
		old[r.name] = r
	}
	for _, r := range after {
		if r.table == storage.TableMeta || r.table == storage.TableDeduplication {
			continue
		}
		if was, ok := old[r.name]; !ok {
			fmt.Fprintf(out, "+ %s\n", r)
		} else if changed := changes(was.fields, r.fields); changed != "" {
			fmt.Fprintf(out, "~ %s:%s\n", r.name, changed)
		}
		delete(old, r.name)
	}
	for _, r := range before {
		if _, gone := old[r.name]; gone && r.table != storage.TableMeta && r.table != storage.TableDeduplication {
			fmt.Fprintf(out, "- %s\n", r.name)
		}
	}
}

func changes(before, after []field) string {
	old := map[string]string{}
	for _, f := range before {
		old[f.name] = f.value
	}
	var out strings.Builder
	for _, f := range after {
		if was, ok := old[f.name]; !ok {
			fmt.Fprintf(&out, " %s=%s", f.name, f.value)
		} else if was != f.value {
			fmt.Fprintf(&out, " %s=%s>%s", f.name, was, f.value)
		}
		delete(old, f.name)
	}
	for _, f := range before {
		if _, gone := old[f.name]; gone {
			fmt.Fprintf(&out, " %s=%s>none", f.name, f.value)
		}
	}
	return out.String()
}
