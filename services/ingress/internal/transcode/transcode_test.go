package transcode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	// The well-known types that the test message uses.
	_ "google.golang.org/protobuf/types/known/anypb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"

	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/restate-go/restate/services/ingress/internal/transcode"
)

// testMessage has a field of every kind that the mapping treats in its own way.
func testMessage(t testing.TB) (protoreflect.MessageDescriptor, transcode.Types) {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Type: &kind,
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	of := func(f *descriptorpb.FieldDescriptorProto, typeName string) *descriptorpb.FieldDescriptorProto {
		f.TypeName = &typeName
		return f
	}
	repeated := func(f *descriptorpb.FieldDescriptorProto) *descriptorpb.FieldDescriptorProto {
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		return f
	}
	optional := func(f *descriptorpb.FieldDescriptorProto) *descriptorpb.FieldDescriptorProto {
		f.Proto3Optional, f.OneofIndex = proto.Bool(true), proto.Int32(0)
		return f
	}
	file := &descriptorpb.FileDescriptorProto{
		Name:    proto.String("test.proto"),
		Package: proto.String("test"),
		Syntax:  proto.String("proto3"),
		Dependency: []string{
			"google/protobuf/struct.proto", "google/protobuf/wrappers.proto", "google/protobuf/any.proto",
		},
		EnumType: []*descriptorpb.EnumDescriptorProto{{
			Name: proto.String("Colour"),
			Value: []*descriptorpb.EnumValueDescriptorProto{
				{Name: proto.String("NONE"), Number: proto.Int32(0)}, {Name: proto.String("RED"), Number: proto.Int32(1)},
			},
		}},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Message"),
			Field: []*descriptorpb.FieldDescriptorProto{
				field("user_id", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING),
				field("count", 2, descriptorpb.FieldDescriptorProto_TYPE_INT64),
				field("data", 3, descriptorpb.FieldDescriptorProto_TYPE_BYTES),
				of(field("colour", 4, descriptorpb.FieldDescriptorProto_TYPE_ENUM), ".test.Colour"),
				of(field("child", 5, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE), ".test.Message"),
				repeated(field("numbers", 6, descriptorpb.FieldDescriptorProto_TYPE_INT32)),
				of(field("any_json", 7, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE), ".google.protobuf.Value"),
				of(field("flag", 8, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE), ".google.protobuf.BoolValue"),
				of(field("any", 9, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE), ".google.protobuf.Any"),
				optional(field("maybe", 10, descriptorpb.FieldDescriptorProto_TYPE_INT32)),
				repeated(field("fixed", 11, descriptorpb.FieldDescriptorProto_TYPE_FIXED64)),
			},
			OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("_maybe")}},
		}},
	}
	built, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	require.NoError(t, err)
	return built.Messages().ByName("Message"), transcode.Pool{File: built}
}

func toJSON(t testing.TB, message protoreflect.MessageDescriptor, types transcode.Types, data []byte) string {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, transcode.ToJSON(&text, message, types, data))
	return text.String()
}

const defaults = `"userId":"","count":"0","data":"","colour":"NONE","numbers":[]`

func TestRoundTrip(t *testing.T) {
	message, types := testMessage(t)
	for name, c := range map[string]struct{ in, out string }{
		"defaults":       {`{}`, `{` + defaults + `,"fixed":[]}`},
		"snake case":     {`{"user_id":"a"}`, `{"userId":"a","count":"0","data":"","colour":"NONE","numbers":[],"fixed":[]}`},
		"camel case":     {` { "userId" : "a" } `, `{"userId":"a","count":"0","data":"","colour":"NONE","numbers":[],"fixed":[]}`},
		"64 bits":        {`{"count":9007199254740993}`, `{"userId":"","count":"9007199254740993","data":"","colour":"NONE","numbers":[],"fixed":[]}`},
		"URL-safe bytes": {`{"data":"-_8"}`, `{"userId":"","count":"0","data":"+/8=","colour":"NONE","numbers":[],"fixed":[]}`},
		"enum":           {`{"colour":1}`, `{"userId":"","count":"0","data":"","colour":"RED","numbers":[],"fixed":[]}`},
		"presence":       {`{"maybe":0,"child":{}}`, `{` + defaults[:len(defaults)-len(`,"numbers":[]`)] + `,"child":{` + defaults + `,"fixed":[]},"numbers":[],"maybe":0,"fixed":[]}`},
		"well-known":     {`{"any_json":{"b":[1,null,"x"]},"flag":true}`, `{` + defaults + `,"anyJson":{"b":[1,null,"x"]},"flag":true,"fixed":[]}`},
		"any": {
			`{"any":{"@type":"type.googleapis.com/test.Message","user_id":"in"}}`,
			`{` + defaults + `,"any":{"@type":"type.googleapis.com/test.Message","userId":"in","count":"0","data":"","colour":"NONE","numbers":[],"fixed":[]},"fixed":[]}`,
		},
		"packed": {`{"numbers":[1,-1],"fixed":["7"]}`, `{"userId":"","count":"0","data":"","colour":"NONE","numbers":[1,-1],"fixed":["7"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := transcode.ToWire(message, types, []byte(c.in))
			require.NoError(t, err)
			require.NoError(t, transcode.Check(message, data))
			require.Equal(t, c.out, toJSON(t, message, types, data))
		})
	}
}

func TestToWireRefuses(t *testing.T) {
	message, types := testMessage(t)
	for name, text := range map[string]string{
		"nothing": ``, "not JSON": `hello`, "another type": `[]`, "text after": `{} {}`, "unknown member": `{"who":1}`,
		"wrong type": `{"userId":1}`, "number range": `{"numbers":[4294967296]}`, "unknown enum": `{"colour":"BLUE"}`,
		"twice": `{"userId":"a","user_id":"b"}`, "no UTF-8": "{\"userId\":\"\xff\"}",
		"unknown any": `{"any":{"@type":"type.googleapis.com/test.Nothing"}}`, "cut off": `{"userId":"a`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := transcode.ToWire(message, types, []byte(text))
			require.ErrorIs(t, err, transcode.ErrInput)
			require.NotContains(t, err.Error(), "\u00a0")
		})
	}
}

func TestToJSONRefusesGarbage(t *testing.T) {
	message, types := testMessage(t)
	var text bytes.Buffer
	require.ErrorContains(t, transcode.ToJSON(&text, message, types, []byte{0xff}), "test.Message")
}

func TestCheck(t *testing.T) {
	message, _ := testMessage(t)
	field := func(number protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), content)
	}
	deep := func(levels int) []byte {
		var data []byte
		for range levels {
			data = field(5, data)
		}
		return data
	}
	for name, c := range map[string]struct {
		data []byte
		fits bool
	}{
		"empty":                       {nil, true},
		"unknown field":               {field(99, []byte{0xff}), true},
		"wire type of another kind":   {protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1), true},
		"packed":                      {field(6, []byte{1, 0xff, 0x01}), true},
		"deep":                        {deep(900), true},
		"too deep":                    {deep(1100), false},
		"cut off":                     {field(1, []byte("abc"))[:3], false},
		"bad tag":                     {[]byte{0x07}, false},
		"child that is no message":    {field(5, []byte{0xff}), false},
		"grandchild":                  {field(5, field(5, []byte{0x0a, 0x05})), false},
		"packed varint cut off":       {field(6, []byte{0xff}), false},
		"packed fixed of odd length":  {field(11, []byte{1, 2, 3}), false},
		"end of a group not begun":    {protowire.AppendTag(nil, 1, protowire.EndGroupType), false},
		"group without end":           {protowire.AppendTag(nil, 1, protowire.StartGroupType), false},
		"varint of more than 64 bits": {append(protowire.AppendTag(nil, 2, protowire.VarintType), bytes.Repeat([]byte{0xff}, 11)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := transcode.Check(message, c.data)
			if c.fits {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, transcode.ErrInput)
			}
		})
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	message, types := testMessage(t)
	data, err := transcode.ToWire(message, types, []byte(`{"userId":"a","numbers":[1,2],"child":{"count":1},"any_json":{"a":[1]}}`))
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = transcode.Check(message, data) }))
}

// FuzzToWire looks for text that is accepted and then cannot be printed, or is printed as another message.
func FuzzToWire(f *testing.F) {
	message, types := testMessage(f)
	for _, seed := range []string{
		`{}`, `{"user_id":"a","count":"1","data":"AA==","colour":"RED","numbers":[1],"maybe":0}`,
		`{"child":{"child":{}},"any_json":[{"a":null}],"flag":false}`, `{"any":{"@type":"type.googleapis.com/test.Message"}}`,
		strings.Repeat(`{"child":`, 50), `{"fixed":["18446744073709551615"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		data, err := transcode.ToWire(message, types, text)
		if err != nil {
			require.ErrorIs(t, err, transcode.ErrInput)
			return
		}
		if transcode.Check(message, data) != nil {
			return // nested too deep
		}
		printed := toJSON(t, message, types, data)
		require.True(t, json.Valid([]byte(printed)))
		again, err := transcode.ToWire(message, types, []byte(printed))
		require.NoError(t, err)
		require.Equal(t, printed, toJSON(t, message, types, again))
	})
}

// FuzzCheck compares with the decoder of the protobuf library, which also looks at the encoding of strings.
func FuzzCheck(f *testing.F) {
	message, types := testMessage(f)
	for _, seed := range []string{`{"user_id":"a","numbers":[1],"child":{"fixed":[1]}}`, `{"any_json":{"a":[1]},"flag":true}`} {
		data, err := transcode.ToWire(message, types, []byte(seed))
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checked := transcode.Check(message, data)
		decoded := decode(message, types, data)
		if checked != nil {
			require.Error(t, decoded)
		} else if decoded != nil {
			require.Regexp(t, "UTF-8|"+mapKeyTwice, decoded.Error())
		}
	})
}

// mapKeyTwice is what the library says when it panics at the key of a map.
const mapKeyTwice = "cannot convert nil to map key"

// decode returns what the library says, panics included.
func decode(message protoreflect.MessageDescriptor, types transcode.Types, data []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	return proto.UnmarshalOptions{Resolver: types, RecursionLimit: 1000}.Unmarshal(data, dynamicpb.NewMessage(message))
}

// A response of a service at which the library panics is an error of its caller's, not the end of its connection.
func TestToJSONOfWhatTheLibraryPanicsAt(t *testing.T) {
	message, types := testMessage(t)
	data := []byte(":\x16*\x14\n\x12\n\b\x14\x14\x14\x14\x14\x14\x145\r2\v\n\t\xe8a\x00")
	require.ErrorContains(t, transcode.ToJSON(&bytes.Buffer{}, message, types, data), mapKeyTwice)
}
