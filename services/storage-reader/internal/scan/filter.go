package scan

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/pkg/storage"
)

// ErrFilter is wrapped by every error of a filter that cannot be used.
var ErrFilter = errors.New("the filter cannot be used")

// Filter says which rows of which table are asked for.
type Filter struct {
	// table is a field of scanv1.Key.
	table protoreflect.FieldDescriptor
	// The keys are in [lower, upper); nil is no bound.
	lower, upper []byte
	// exact has for each field of the key the only value that is asked for, encoded; nil where there is none.
	exact [][]byte
}

// NewFilter reads the filter of a request. The error wraps ErrFilter.
func NewFilter(request *scanv1.ScanRequest) (*Filter, error) {
	switch filter := request.GetFilter().(type) {
	case *scanv1.ScanRequest_Key:
		return keyFilter(filter.Key)
	case *scanv1.ScanRequest_Prefix:
		return prefixFilter(filter.Prefix)
	case *scanv1.ScanRequest_Range:
		return rangeFilter(filter.Range)
	default:
		return nil, fmt.Errorf("%w: the request has none; set key, prefix or range", ErrFilter)
	}
}

// given is a key of which some fields may be missing.
type given struct {
	table  protoreflect.FieldDescriptor
	fields [][]byte
	// leading is the encoded form of the fields before the first that is missing, whole whether none is.
	leading []byte
	whole   bool
}

func readKey(name string, key *scanv1.Key) (given, error) {
	m := key.ProtoReflect()
	table := m.WhichOneof(m.Descriptor().Oneofs().ByName("key"))
	if table == nil {
		return given{}, fmt.Errorf("%w: %s names no table", ErrFilter, name)
	}
	fields := table.Message().Fields()
	g := given{table: table, fields: make([][]byte, fields.Len()), whole: true}
	values := m.Get(table).Message()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !values.Has(field) {
			g.whole = false
			continue
		}
		g.fields[i] = appendField(nil, field, values.Get(field))
		if g.whole {
			g.leading = append(g.leading, g.fields[i]...)
		}
	}
	return g, nil
}

func keyFilter(key *scanv1.Key) (*Filter, error) {
	g, err := readKey("key", key)
	if err != nil {
		return nil, err
	}
	for i, encoded := range g.fields {
		if encoded == nil {
			return nil, fmt.Errorf("%w: key lacks %s, and has to have every field of the table %s",
				ErrFilter, g.table.Message().Fields().Get(i).Name(), g.table.Name())
		}
	}
	return g.below(), nil
}

func prefixFilter(key *scanv1.Key) (*Filter, error) {
	g, err := readKey("prefix", key)
	if err != nil {
		return nil, err
	}
	return g.below(), nil
}

// below is the filter for all rows that have the fields. One that is missing before others makes these a condition of
// their own, instead of a part of the bounds.
func (g given) below() *Filter {
	return &Filter{table: g.table, lower: g.leading, upper: storage.PrefixEnd(g.leading), exact: g.fields}
}

func rangeFilter(bounds *scanv1.Range) (*Filter, error) {
	start, err := readKey("the start of the range", bounds.GetStart())
	if err != nil {
		return nil, err
	}
	end, err := readKey("the end of the range", bounds.GetEnd())
	if err != nil {
		return nil, err
	}
	if start.table != end.table {
		return nil, fmt.Errorf("%w: the range goes from the table %s to the table %s", ErrFilter, start.table.Name(), end.table.Name())
	}
	f := &Filter{
		table: start.table, lower: start.leading, upper: storage.PrefixEnd(end.leading), exact: make([][]byte, len(start.fields)),
	}
	// A field that both sides give the same value is a condition, as long as it is not one that the order of the keys
	// makes meaningless: after fields in which the sides differ, any value is between them.
	compared := true
	for i := range start.fields {
		same := start.fields[i] != nil && bytes.Equal(start.fields[i], end.fields[i])
		missing := start.fields[i] == nil && end.fields[i] == nil
		if same && compared {
			f.exact[i] = start.fields[i]
		}
		compared = compared && (same || missing)
	}
	return f, nil
}

// empty says that no key can be within the bounds.
func (f *Filter) empty() bool { return f.upper != nil && bytes.Compare(f.lower, f.upper) >= 0 }

// admits says whether there may be keys that begin so; for a whole key, whether it passes.
func (f *Filter) admits(prefix []byte) bool {
	if f.behind(prefix) || bytes.Compare(prefix, f.lower) < 0 && !bytes.HasPrefix(f.lower, prefix) {
		return false
	}
	fields := f.table.Message().Fields()
	for i, want := range f.exact {
		var part []byte
		var ok bool
		if part, prefix, ok = cutField(fields.Get(i), prefix); !ok {
			return true
		}
		if want != nil && !bytes.Equal(part, want) {
			return false
		}
	}
	return true
}

// behind says whether all keys that begin so, and all after them, are behind the upper bound.
func (f *Filter) behind(prefix []byte) bool {
	return f.upper != nil && bytes.Compare(prefix, f.upper) >= 0
}

// after returns the filter for what is left behind the key; nil when nothing can be.
func (f *Filter) after(key []byte) *Filter {
	lower := storage.PrefixEnd(key)
	if lower == nil {
		return nil
	}
	rest := *f
	rest.lower = lower
	return &rest
}

// Table is the name of the table, as the field of a key has it.
func (f *Filter) Table() string { return string(f.table.Name()) }
