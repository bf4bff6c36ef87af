package schema

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	restate "github.com/restate-go/restate/proto/gen/dev/restate"
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
)

// captured returns what SDK 0.4.1 answered to discovery, by the name of the case.
func captured(t testing.TB) map[string]*protocol.ServiceDiscoveryResponse {
	t.Helper()
	text, err := os.ReadFile("testdata/discovery.json")
	require.NoError(t, err)
	var file struct {
		Cases []struct {
			Name string `json:"name"`
			Body string `json:"body_base64"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(text, &file))
	responses := map[string]*protocol.ServiceDiscoveryResponse{}
	for _, c := range file.Cases {
		body, err := base64.StdEncoding.DecodeString(c.Body)
		require.NoError(t, err)
		responses[c.Name] = &protocol.ServiceDiscoveryResponse{}
		require.NoError(t, proto.Unmarshal(body, responses[c.Name]))
	}
	require.Len(t, responses, 2)
	return responses
}

// describe renders services as lines.
func describe(services []*Service) string {
	var out strings.Builder
	for _, s := range services {
		fmt.Fprintf(&out, "%s %s\n", s.Name, KindName(s.Kind))
		for _, m := range s.Methods {
			fmt.Fprintf(&out, "  %s(%s) %s", m.Name, m.Input.FullName(), m.Output.FullName())
			if m.KeyField != 0 {
				fmt.Fprintf(&out, " key %d", m.KeyField)
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func TestLoadTakesWhatSDKsSend(t *testing.T) {
	for name, want := range map[string]string{
		"bidi-grpc-and-routers":     "testdata/bidi.golden",
		"lambda-dotted-router-name": "testdata/lambda.golden",
	} {
		t.Run(name, func(t *testing.T) {
			response := captured(t)[name]
			before := proto.CloneOf(response)
			discovered, err := Load(response.GetFiles(), response.GetServices())
			require.NoError(t, err)
			require.True(t, proto.Equal(before, response), "the set was changed")
			golden(t, want, describe(discovered.Services))
			for _, s := range discovered.Services {
				// What is given to clients loads in a strict loader.
				_, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: DescriptorsOf(s)})
				require.NoError(t, err)
			}
		})
	}
}

// golden compares with the file; with -update the file is written anew.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// The annotations, as a proper compiler writes them, and what else the files of the tests below need.
const extensions = `file { name: "dev/restate/ext.proto" package: "dev.restate.ext" syntax: "proto3" dependency: "google/protobuf/descriptor.proto" }
`

const (
	asText    = `uninterpreted_option { name { name_part: "dev.restate.ext.%s" is_extension: true } identifier_value: %q }`
	keyedText = `options { uninterpreted_option { name { name_part: "dev.restate.ext.service_type" is_extension: true } identifier_value: "KEYED" } }`
	keyText   = `options { uninterpreted_option { name { name_part: "dev.restate.ext.field" is_extension: true } identifier_value: "KEY" } }`
)

func set(t testing.TB, text string) *descriptorpb.FileDescriptorSet {
	t.Helper()
	s := &descriptorpb.FileDescriptorSet{}
	require.NoError(t, prototext.Unmarshal([]byte(extensions+text), s))
	return s
}

// keyedFile is a file with a keyed service test.S, whose methods take the messages named.
func keyedFile(messages string, inputs ...string) string {
	var methods strings.Builder
	for i, input := range inputs {
		fmt.Fprintf(&methods, `method { name: "M%d" input_type: ".test.%s" output_type: ".test.%s" }`, i, input, input)
	}
	return `file { name: "test.proto" package: "test" syntax: "proto3" ` + messages +
		` service { name: "S" ` + keyedText + methods.String() + `} }`
}

func key(name string, number int, kind string) string {
	return fmt.Sprintf(`field { name: %q number: %d %s %s }`, name, number, kind, keyText)
}

func TestLoadRefuses(t *testing.T) {
	const stringKey = "type: TYPE_STRING"
	message := func(name string, fields ...string) string {
		return `message_type { name: "` + name + `" ` + strings.Join(fields, " ") + `}`
	}
	ext := func(number int, value string) string {
		return fmt.Sprintf("options { "+asText+" }", "field", value) + fmt.Sprintf(` number: %d`, number)
	}
	recursive := message("R", `field { name: "r" number: 1 type: TYPE_MESSAGE type_name: ".test.R" }`)
	for name, c := range map[string]struct {
		text  string
		names []string
		code  errcode.Code
		says  string
	}{
		"a reserved name":         {names: []string{"dev.restate.X"}, code: errcode.BadService, says: "dev.restate.X"},
		"another reserved name":   {names: []string{"grpc.health.v1.Health"}, code: errcode.BadService, says: "reserved"},
		"an undeclared service":   {names: []string{"test.Nobody"}, code: errcode.DiscoveryFailed, says: "test.Nobody"},
		"a message for a service": {text: `file { name: "a" package: "test" message_type { name: "S" } }`, code: errcode.DiscoveryFailed, says: "test.S"},
		"a service without a type": {
			text: `file { name: "a" package: "test" service { name: "S" } }`, code: errcode.BadService, says: "no service type",
		},
		"a type that is none": {
			text: `file { name: "a" package: "test" service { name: "S" options { ` + fmt.Sprintf(asText, "service_type", "WHATEVER") + ` } } }`,
			code: errcode.BadService, says: "no service type",
		},
		"a keyed service without methods": {text: keyedFile(""), code: errcode.BadService, says: "no methods"},
		"a keyed method without a key":    {text: keyedFile(message("A"), "A"), code: errcode.BadKey, says: "no key field"},
		"a repeated key": {
			text: keyedFile(message("A", key("k", 1, stringKey+" label: LABEL_REPEATED")), "A"), code: errcode.BadKey, says: "repeated",
		},
		"keys of different types": {
			text: keyedFile(message("A", key("k", 1, stringKey))+message("B", key("k", 1, "type: TYPE_INT32")), "A", "B"),
			code: errcode.BadKey, says: "int32",
		},
		"keys of different messages": {
			text: keyedFile(message("K")+message("L")+
				message("A", key("k", 1, `type: TYPE_MESSAGE type_name: ".test.K"`))+
				message("B", key("k", 1, `type: TYPE_MESSAGE type_name: ".test.L"`)), "A", "B"),
			code: errcode.BadKey, says: "test.L",
		},
		"a recursive key": {
			text: keyedFile(recursive+message("A", key("k", 1, `type: TYPE_MESSAGE type_name: ".test.R"`)), "A"),
			code: errcode.BadKey, says: "recursive type test.R",
		},
		"a key that unfolds without end": {
			text: keyedFile(unfolding(30)+message("A", key("k", 1, `type: TYPE_MESSAGE type_name: ".test.U0"`)), "A"),
			code: errcode.BadKey, says: "more than 65536 fields",
		},
		"a key that is deep": {
			text: keyedFile(deep(40)+message("A", key("k", 1, `type: TYPE_MESSAGE type_name: ".test.D0"`)), "A"),
			code: errcode.BadKey, says: "deep",
		},
		"two keys": {
			text: keyedFile(message("A", key("k", 1, stringKey), key("l", 2, stringKey)), "A"), code: errcode.RepeatedAnnotation, says: "KEY",
		},
		"a payload that is a number": {
			text: keyedFile(message("A", key("k", 1, stringKey), `field { name: "p" type: TYPE_INT32 `+ext(2, "EVENT_PAYLOAD")+` }`), "A"),
			code: errcode.BadEventField, says: "payload",
		},
		"metadata that is text": {
			text: keyedFile(message("A", key("k", 1, stringKey), `field { name: "p" type: TYPE_STRING `+ext(2, "EVENT_METADATA")+` }`), "A"),
			code: errcode.BadEventField, says: "metadata",
		},
		"a missing message": {
			text: keyedFile(message("A", key("k", 1, stringKey), `field { name: "x" number: 2 type: TYPE_MESSAGE type_name: ".test.Gone" }`), "A"),
			code: errcode.DiscoveryFailed, says: "test.Gone",
		},
		"a missing type of no kind": {
			text: keyedFile(message("A", key("k", 1, stringKey), `field { name: "x" number: 2 type_name: ".test.Gone" }`), "A"),
			code: errcode.DiscoveryFailed, says: "test.Gone",
		},
		"a missing request": {text: keyedFile("", "Gone"), code: errcode.DiscoveryFailed, says: "test.Gone"},
		"files that contradict each other": {
			text: keyedFile(message("A", key("k", 1, stringKey)), "A") + `file { name: "b" package: "test" message_type { name: "A" } }`,
			code: errcode.DiscoveryFailed, says: "do not fit together",
		},
		"files that need each other": {
			text: `file { name: "a" package: "test" dependency: "b" message_type { name: "A" field { name: "b" number: 1 type: TYPE_MESSAGE type_name: ".test.B" } }
				service { name: "S" ` + keyedText + ` method { name: "M" input_type: ".test.A" output_type: ".test.A" } } }
				file { name: "b" package: "test" dependency: "a" message_type { name: "B" field { name: "a" number: 1 type: TYPE_MESSAGE type_name: ".test.A" } } }`,
			code: errcode.DiscoveryFailed, says: "test.A",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.names == nil {
				c.names = []string{"test.S"}
			}
			_, err := Load(set(t, c.text), c.names)
			require.Error(t, err)
			require.Equal(t, c.code, errcode.Of(err, ""), err.Error())
			require.ErrorContains(t, err, c.says)
		})
	}
	t.Run("a set without the annotations' file", func(t *testing.T) {
		_, err := Load(&descriptorpb.FileDescriptorSet{}, []string{"test.S"})
		require.ErrorContains(t, err, "dev/restate/ext.proto")
	})
	t.Run("a name that is too long", func(t *testing.T) {
		_, err := Load(set(t, ""), []string{strings.Repeat("a.", maxServiceName)})
		require.ErrorContains(t, err, "more than 512 bytes")
	})
	t.Run("too many files", func(t *testing.T) {
		_, err := Load(&descriptorpb.FileDescriptorSet{File: make([]*descriptorpb.FileDescriptorProto, maxFiles+1)}, nil)
		require.ErrorContains(t, err, "10001 files")
	})
}

// unfolding declares messages each of which has the next one twice.
func unfolding(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `message_type { name: "U%d" `, i)
		if i < n-1 {
			for f := 1; f <= 2; f++ {
				fmt.Fprintf(&out, `field { name: "f%d" number: %d type: TYPE_MESSAGE type_name: ".test.U%d" } `, f, f, i+1)
			}
		}
		out.WriteString("} ")
	}
	return out.String()
}

// deep declares messages each of which has the next one.
func deep(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `message_type { name: "D%d" field { name: "f" number: 1 type: TYPE_MESSAGE type_name: ".test.D%d" } } `, i, i+1)
	}
	fmt.Fprintf(&out, `message_type { name: "D%d" } `, n)
	return out.String()
}

// Protoc and its plugins write the annotations as extensions. Whether a decoder knows the extension depends on what is
// linked.
func TestLoadTakesAnnotationsAsExtensions(t *testing.T) {
	for _, form := range []string{"known", "unknown"} {
		t.Run(form, func(t *testing.T) {
			s := set(t, keyedFile(`message_type { name: "A" field { name: "k" number: 3 type: TYPE_STRING } }`, "A"))
			service, field := s.GetFile()[1].GetService()[0], s.GetFile()[1].GetMessageType()[0].GetField()[0]
			service.Options, field.Options = &descriptorpb.ServiceOptions{}, &descriptorpb.FieldOptions{}
			if form == "known" {
				proto.SetExtension(service.Options, restate.E_ServiceType, restate.ServiceType_KEYED)
				proto.SetExtension(field.Options, restate.E_Field, restate.FieldType_KEY)
			} else {
				service.Options.ProtoReflect().SetUnknown([]byte{0x0a, 0x01, 0x00, 0x92, 0x82, 0x19, 0x00, 0x90, 0x82, 0x19, 0x01})
				field.Options.ProtoReflect().SetUnknown([]byte{0x90, 0x82, 0x19, 0x00})
			}
			discovered, err := Load(s, []string{"test.S"})
			require.NoError(t, err)
			require.Equal(t, "test.S Keyed\n  M0(test.A) test.A key 3\n", describe(discovered.Services))
		})
	}
}

func TestLoadMendsNames(t *testing.T) {
	service := func(name string, methods ...string) string {
		text := fmt.Sprintf(`service { name: %q options { `+asText+` }`, name, "service_type", "UNKEYED")
		for _, m := range methods {
			text += fmt.Sprintf(` method { name: %q input_type: ".A" output_type: ".A" }`, m)
		}
		return text + " }"
	}
	s := set(t, `file { name: "r" syntax: "proto3" message_type { name: "A" } `+
		service("a", "do-it", "do_it", "1st", "", "ünï", "ok")+service("a.b", "m")+service("a.b.c", "m")+service("my-svc.v1", "m")+`}`)
	discovered, err := Load(s, []string{"a.b.c", "a", "a.b", "my-svc.v1", "a"})
	require.NoError(t, err)
	require.Equal(t, "a.b.c Unkeyed\n  m(A) A\n"+
		"a Unkeyed\n  do-it(A) A\n  do_it(A) A\n  1st(A) A\n  (A) A\n  ünï(A) A\n  ok(A) A\n"+
		"a.b Unkeyed\n  m(A) A\nmy-svc.v1 Unkeyed\n  m(A) A\n", describe(discovered.Services))
	require.Equal(t, "a.b.c", string(discovered.Services[0].Descriptor.FullName()))
	require.Equal(t, "my_svc.v1", string(discovered.Services[3].Descriptor.FullName()))
	_, err = protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: DescriptorsOf(discovered.Services[0])})
	require.NoError(t, err)
}

func TestLoadMendsFields(t *testing.T) {
	s := set(t, keyedFile(`
		message_type { name: "A" oneof_decl { name: "lost" } oneof_decl { name: "kept" } oneof_decl { name: "_opt" }
			field { name: "k" number: 1 type: TYPE_STRING `+keyText+` }
			field { name: "double" number: 2 }
			field { name: "was_in_lost" number: 3 type: TYPE_STRING }
			field { name: "in_kept" number: 4 type: TYPE_STRING oneof_index: 1 }
			field { name: "enum" number: 5 type_name: ".test.E" }
			field { name: "opt" number: 6 type: TYPE_STRING proto3_optional: true oneof_index: 2 } }
		message_type { name: "B" oneof_decl { name: "_opt" }
			field { name: "k" number: 1 type: TYPE_STRING `+keyText+` }
			field { name: "opt" number: 2 type: TYPE_INT32 proto3_optional: true } }
		enum_type { name: "E" value { name: "ZERO" } value { name: "ONE" number: 1 } }`, "A", "B"))
	discovered, err := Load(s, []string{"test.S"})
	require.NoError(t, err)
	a, b := discovered.Services[0].Methods[0].Input, discovered.Services[0].Methods[1].Input
	require.Equal(t, "double", a.Fields().ByName("double").Kind().String())
	require.Equal(t, "optional", a.Fields().ByName("double").Cardinality().String())
	require.Nil(t, a.Fields().ByName("was_in_lost").ContainingOneof())
	require.Equal(t, "kept", string(a.Fields().ByName("in_kept").ContainingOneof().Name()))
	require.True(t, a.Fields().ByName("opt").HasOptionalKeyword())
	require.Zero(t, a.Fields().ByName("enum").Enum().Values().ByName("ZERO").Number())
	require.True(t, b.Fields().ByName("opt").HasPresence())
}

// protobuf.js leaves is_extension out where it is false, though the field is required.
func TestOptionsThatLackRequiredFields(t *testing.T) {
	response := captured(t)["bidi-grpc-and-routers"]
	option := &descriptorpb.UninterpretedOption{Name: []*descriptorpb.UninterpretedOption_NamePart{{NamePart: proto.String("http")}}}
	for _, file := range response.GetFiles().GetFile() {
		for _, service := range file.GetService() {
			service.Options.UninterpretedOption = append(service.Options.UninterpretedOption, option)
		}
	}
	body, err := proto.MarshalOptions{AllowPartial: true}.Marshal(response)
	require.NoError(t, err)
	_, err = ReadDescriptors(body)
	require.NoError(t, err)
}

func TestReadDescriptorsRefuses(t *testing.T) {
	nobody, err := proto.MarshalOptions{AllowPartial: true}.Marshal(&protocol.ServiceDiscoveryResponse{
		Files: set(t, keyedFile(`message_type { name: "A" `+key("k", 1, "type: TYPE_STRING")+` }`, "A")), Services: []string{"test.Nobody"},
	})
	require.NoError(t, err)
	for says, body := range map[string]string{"no discovery response": "\xff\xff", "lack": "", "test.Nobody": string(nobody)} {
		_, err := ReadDescriptors([]byte(body))
		require.Equal(t, errcode.DiscoveryFailed, errcode.Of(err, ""))
		require.ErrorContains(t, err, says)
	}
}

func TestLoadPassesOverMissingFilesThatNothingNeeds(t *testing.T) {
	s := set(t, strings.Replace(keyedFile(`message_type { name: "A" `+key("k", 1, "type: TYPE_STRING")+` }`, "A"),
		`syntax`, `dependency: "google/api/annotations.proto" syntax`, 1))
	_, err := Load(s, []string{"test.S"})
	require.NoError(t, err)
}

func TestEndpointsDoNotShareDescriptors(t *testing.T) {
	text := func(kind string) string {
		return keyedFile(`message_type { name: "A" `+key("k", 1, kind)+` }`, "A")
	}
	one, err := Load(set(t, text("type: TYPE_STRING")), []string{"test.S"})
	require.NoError(t, err)
	other, err := Load(set(t, text("type: TYPE_INT32")), []string{"test.S"})
	require.NoError(t, err)
	require.Equal(t, "string", one.Services[0].Methods[0].Input.Fields().ByNumber(1).Kind().String())
	require.Equal(t, "int32", other.Services[0].Methods[0].Input.Fields().ByNumber(1).Kind().String())
}

func TestCheckCompatible(t *testing.T) {
	load := func(text string) *Service {
		discovered, err := Load(set(t, text), []string{"test.S"})
		require.NoError(t, err)
		return discovered.Services[0]
	}
	const nested = `message_type { name: "K" field { name: "a" number: 1 type: TYPE_STRING } %s } message_type { name: "A" `
	messageKey := key("k", 1, `type: TYPE_MESSAGE type_name: ".test.K"`) + "}"
	scalar := `message_type { name: "A" ` + key("k", 1, "type: TYPE_STRING") + ` }`
	base := load(keyedFile(scalar, "A"))
	for name, c := range map[string]struct {
		before, after *Service
		says          string
	}{
		"the same":         {before: base, after: base},
		"a method more":    {before: base, after: load(keyedFile(scalar, "A", "A"))},
		"a method less":    {before: load(keyedFile(scalar, "A", "A")), after: base},
		"another scalar":   {before: base, after: load(keyedFile(`message_type { name: "A" `+key("k", 1, "type: TYPE_INT32")+` }`, "A"))},
		"another field":    {before: base, after: load(keyedFile(`message_type { name: "A" `+key("k", 2, "type: TYPE_STRING")+` }`, "A")), says: "key of test.S/M0"},
		"a message as key": {before: base, after: load(keyedFile(fmt.Sprintf(nested, "")+messageKey, "A")), says: "key of test.S/M0"},
		"a field more in the key": {
			before: load(keyedFile(fmt.Sprintf(nested, "")+messageKey, "A")),
			after:  load(keyedFile(fmt.Sprintf(nested, `field { name: "b" number: 2 type: TYPE_STRING }`)+messageKey, "A")),
			says:   "key of test.S/M0",
		},
		"another kind": {
			before: base, after: load(strings.Replace(keyedFile(scalar, "A"), "KEYED", "SINGLETON", 1)), says: "was Keyed and would become Singleton",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckCompatible(c.before, c.after)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, errcode.Incompatible, errcode.Of(err, ""))
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestResolve(t *testing.T) {
	keyed, err := Load(set(t, keyedFile(`message_type { name: "A" `+key("k", 1, "type: TYPE_STRING")+` }`, "A")), []string{"test.S"})
	require.NoError(t, err)
	service := keyed.Services[0]
	request := []byte{0x0a, 0x03, '1', '2', '3'}
	resolved, err := service.Resolve(Call{Method: "M0", Payload: request})
	require.NoError(t, err)
	require.True(t, proto.Equal(&journalv1.Target{
		Service: "test.S", Handler: "M0", Key: []byte{3, '1', '2', '3'}, Kind: journalv1.ServiceKind_SERVICE_KIND_KEYED,
	}, resolved.Target))
	// The partition key of this key is in an id that the tutorial of 2023 prints.
	require.Equal(t, uint64(0x2b5a9ec79d823d89), resolved.ID.PartitionKey())
	again, err := service.Resolve(Call{Method: "M0", Payload: request})
	require.NoError(t, err)
	require.NotEqual(t, resolved.ID, again.ID)
	_, err = service.Resolve(Call{Method: "Nothing", Payload: request})
	require.ErrorIs(t, err, ErrUnknownMethod)
	_, err = service.Resolve(Call{Method: "M0", Payload: []byte{0x0a, 0x05, '1'}})
	require.ErrorIs(t, err, ErrKey)

	text := strings.Replace(keyedFile(`message_type { name: "A" }`, "A"), "KEYED", "UNKEYED", 1)
	unkeyed, err := Load(set(t, text), []string{"test.S"})
	require.NoError(t, err)
	resolved, err = unkeyed.Services[0].Resolve(Call{Method: "M0", Payload: []byte("any bytes at all")})
	require.NoError(t, err)
	require.Empty(t, resolved.Target.GetKey())
	other, err := unkeyed.Services[0].Resolve(Call{Method: "M0"})
	require.NoError(t, err)
	require.NotEqual(t, resolved.ID.PartitionKey(), other.ID.PartitionKey(), "calls of unkeyed services are spread")
}
