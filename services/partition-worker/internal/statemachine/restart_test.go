package statemachine

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

// TestCompletionIDs finds the commands that wait for results by the names of their fields.
func TestCompletionIDs(t *testing.T) {
	commands := (&journalv1.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("command").Fields()
	for i := range commands.Len() {
		kind := commands.Get(i)
		command := &journalv1.Command{}
		fields := command.ProtoReflect().Mutable(kind).Message()
		var want []uint32
		for n, name := range []protoreflect.Name{"invocation_id_completion_id", "completion_id"} {
			if field := fields.Descriptor().Fields().ByName(name); field != nil {
				fields.Set(field, protoreflect.ValueOfUint32(uint32(n)+7))
				want = append(want, uint32(n)+7)
			}
		}
		if kind.Name() == "complete_awakeable" { // it names what somebody else waits for
			want = nil
		}
		require.Equal(t, want, completionIDs(command), kind.Name())
	}
}
