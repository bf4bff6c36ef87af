package schema

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// person is the key structure of a message with three scalars, and a message in field 4.
var person = &keyStructure{fields: map[protowire.Number]*keyStructure{
	1: scalar, 2: scalar, 3: scalar, 4: {fields: map[protowire.Number]*keyStructure{1: scalar, 2: scalar}},
}}

func TestExtractKey(t *testing.T) {
	for name, c := range map[string]struct {
		request   []byte
		structure *keyStructure
		key       []byte
	}{
		"text":                              {request: []byte("\x12\x03123"), key: []byte("\x03123")},
		"nothing":                           {request: nil, key: nil},
		"other fields only":                 {request: []byte("\x08\x05\x1a\x01x\x25abcd\x29abcdefgh"), key: nil},
		"text that is empty on the wire":    {request: []byte("\x12\x00"), key: []byte("\x00")},
		"a number":                          {request: []byte("\x10\x05"), key: []byte("\x05")},
		"a number that is not canonical":    {request: []byte("\x10\x85\x00"), key: []byte("\x85\x00")},
		"fixed32":                           {request: []byte("\x15abcd"), key: []byte("abcd")},
		"fixed64":                           {request: []byte("\x11abcdefgh"), key: []byte("abcdefgh")},
		"a length that is not canonical":    {request: []byte("\x12\x83\x00abc"), key: []byte("\x03abc")},
		"a tag that is not canonical":       {request: []byte("\x92\x00\x01a"), key: []byte("\x01a")},
		"the first of two":                  {request: []byte("\x12\x01a\x12\x01b"), key: []byte("\x01a")},
		"after others":                      {request: []byte("\x0a\x02\x12\x00\x1b\x12\x01x\x1c\x12\x01b"), key: []byte("\x01b")},
		"garbage after it is not looked at": {request: []byte("\x12\x01a\xff"), key: []byte("\x01a")},
		"another wire type than declared":   {request: []byte("\x10\x07"), structure: person, key: []byte("\x07")},
		"a message":                         {request: []byte("\x12\x03\x0a\x01a"), structure: person, key: []byte("\x03\x0a\x01a")},
		"a message without fields":          {request: []byte("\x12\x00"), structure: person, key: []byte("\x00")},
		"a message with an unknown field":   {request: []byte("\x12\x06\x4a\x01x\x0a\x01a"), structure: person, key: []byte("\x03\x0a\x01a")},
		"a message in another order":        {request: []byte("\x12\x08\x18\x07\x12\x01b\x0a\x01a"), structure: person, key: []byte("\x08\x0a\x01a\x12\x01b\x18\x07")},
		"repeated fields keep their order":  {request: []byte("\x12\x08\x12\x00\x0a\x01b\x0a\x01a"), structure: person, key: []byte("\x08\x0a\x01b\x0a\x01a\x12\x00")},
		"nested messages are canonical too": {request: []byte("\x12\x0a\x22\x08\x12\x01b\x0a\x01a\x18\x01"), structure: person, key: []byte("\x08\x22\x06\x0a\x01a\x12\x01b")},
		"a group":                           {request: []byte("\x13\x0a\x01a\x14"), structure: person, key: []byte("\x03\x0a\x01a")},
		"a group within becomes a message":  {request: []byte("\x12\x05\x23\x0a\x01a\x24"), structure: person, key: []byte("\x05\x22\x03\x0a\x01a")},
		"a scalar on the wire as a group":   {request: []byte("\x13\x08\x01\x14"), key: []byte("\x02\x08\x01")},
	} {
		t.Run(name, func(t *testing.T) {
			if c.structure == nil {
				c.structure = scalar
			}
			key, err := extractKey(c.request, 2, c.structure)
			require.NoError(t, err)
			require.Equal(t, c.key, key)
		})
	}
}

func TestExtractKeyRefuses(t *testing.T) {
	for name, request := range map[string]string{
		"a tag that ends early":             "\x92",
		"a field that ends early":           "\x12\x05abc",
		"an earlier field that ends early":  "\x0a\x7fabc",
		"a length beyond all bounds":        "\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"field number 0":                    "\x02\x01a",
		"an unknown wire type":              "\x17\x01",
		"a group that does not end":         "\x13\x0a\x01a",
		"a group that ends as another":      "\x13\x1c",
		"the end of a group":                "\x14",
		"damage within the message":         "\x12\x02\x0a\x05",
		"damage deeper within the message":  "\x12\x04\x22\x02\x0a\x05",
		"damage in a field nobody asks for": "\x12\x02\x4a\x05",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := extractKey([]byte(request), 2, person)
			require.ErrorIs(t, err, ErrKey)
		})
	}
}

// The captured services' composite key, through the descriptors.
func TestKeyOfACapturedService(t *testing.T) {
	response := captured(t)["bidi-grpc-and-routers"]
	discovered, err := Load(response.GetFiles(), response.GetServices())
	require.NoError(t, err)
	i := slices.IndexFunc(discovered.Services, func(s *Service) bool { return s.Name == "seedera.Composite" })
	method, ok := discovered.Services[i].Method("Do")
	require.True(t, ok)
	// CompositeRequest{x: "x", person: {n: 5, unknown 9: "?", first: "A"}}
	key, err := method.Key([]byte("\x0a\x01x\x12\x08\x18\x05\x4a\x01?\x0a\x01A"))
	require.NoError(t, err)
	require.Equal(t, []byte("\x05\x0a\x01A\x18\x05"), key)
}

func FuzzExtractKey(f *testing.F) {
	for _, seed := range []string{
		"", "\x12\x03123", "\x12\x08\x18\x07\x12\x01b\x0a\x01a", "\x13\x0a\x01a\x14", "\x12\x0a\x22\x08\x12\x01b\x0a\x01a\x18\x01", "\x12\x83\x00abc",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		before := bytes.Clone(request)
		for _, structure := range []*keyStructure{scalar, person} {
			key, err := extractKey(request, 2, structure)
			require.Equal(t, before, request, "the request was changed")
			if err != nil {
				require.ErrorIs(t, err, ErrKey)
				continue
			}
			if len(key) == 0 {
				continue
			}
			// A request with nothing but the key has the same key, which is how keys are shown.
			kind := kindOf(request)
			if kind == protowire.StartGroupType {
				kind = protowire.BytesType
			}
			again, err := extractKey(append(protowire.AppendTag(nil, 2, kind), key...), 2, structure)
			require.NoError(t, err)
			require.Equal(t, key, again)
		}
	})
}

// kindOf returns the wire type of the first field 2.
func kindOf(request []byte) protowire.Type {
	for len(request) > 0 {
		number, kind, n := protowire.ConsumeTag(request)
		if number == 2 {
			return kind
		}
		request = request[n+protowire.ConsumeFieldValue(number, kind, request[n:]):]
	}
	return -1
}
