package v0_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	protocolv0 "github.com/restate-go/restate/proto/gen/dev/restate/service"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
	v0 "github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol/v0"
)

// FuzzAttempt has an endpoint send arbitrary bytes: no panic, an error that says what is wrong, and what was taken before
// it can be stored, answered and replayed by the next attempt, which may suspend on the same.
func FuzzAttempt(f *testing.F) {
	message := func(kind frame.Type, m proto.Message) frame.Frame {
		payload, err := proto.Marshal(m)
		require.NoError(f, err)
		return frame.Frame{Type: kind, Payload: payload}
	}
	getState := message(wire.TypeGetState, &protocolv0.GetStateEntryMessage{Key: []byte("k")})
	call := message(wire.TypeInvoke, &protocolv0.InvokeEntryMessage{ServiceName: "S", MethodName: "M"})
	sideEffect := frame.Frame{Type: wire.TypeCustom + 1, Flags: wire.FlagRequiresAck, Payload: []byte("1")}
	output := message(wire.TypeOutputStream, &protocolv0.OutputStreamEntryMessage{
		Result: &protocolv0.OutputStreamEntryMessage_Value{Value: []byte("v")},
	})
	suspension := message(wire.TypeSuspension, &protocolv0.SuspensionMessage{EntryIndexes: []uint32{1, 2, 3}})
	failure := message(wire.TypeError, &protocolv0.ErrorMessage{Code: wire.CodeJournalMismatch, Message: "changed"})
	for _, frames := range [][]frame.Frame{
		{getState, call, sideEffect, suspension}, {sideEffect, output}, {output, output}, {output, suspension}, {call, failure}, {suspension},
	} {
		var stream []byte
		for _, one := range frames {
			stream = frame.Append(stream, one)
		}
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		journal := []*journalv1.Entry{
			{Entry: &journalv1.Entry_Command{Command: &journalv1.Command{Command: &journalv1.Command_Input{Input: &journalv1.Input{}}}}},
		}
		begin := func() protocol.Attempt {
			_, attempt, err := v0.Codec{}.Begin(nil, protocol.Start{
				ID: ids.InvocationID{1}, Entries: journal, CommandCount: uint32(len(journal)),
			})
			require.NoError(t, err)
			return attempt
		}
		attempt := begin()
		decoder := attempt.NewDecoder(bytes.NewReader(stream), 1<<20)
		for {
			message, err := decoder.Next()
			if err != nil {
				requireKnown(t, err)
				break
			}
			if message.Command == nil {
				require.True(t, message.Ended || message.Suspended != nil)
				requireAgain(t, begin(), message)
				break
			}
			require.Equal(t, uint32(len(journal)), message.CommandIndex)
			require.LessOrEqual(t, message.Size, len(stream))
			stored, err := proto.Marshal(message.Command)
			require.NoError(t, err)
			command := &journalv1.Command{}
			require.NoError(t, proto.Unmarshal(stored, command))
			journal = append(journal, &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: command}})
			_, err = attempt.AppendAck(nil, message.CommandIndex)
			require.NoError(t, err)
		}
		begin()
	})
}

func requireKnown(t *testing.T, err error) {
	var service *protocol.ServiceError
	if errors.Is(err, protocol.ErrViolation) || errors.Is(err, protocol.ErrTooLarge) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &service) {
		return
	}
	require.NoError(t, err, "an error that callers do not know")
}

// requireAgain checks that an attempt with all that was stored may end as the one before, and waits for the same.
func requireAgain(t *testing.T, next protocol.Attempt, last protocol.Message) {
	var stream []byte
	if last.Suspended != nil {
		indexes := append(append([]uint32(nil), last.Suspended.GetCompletions()...), last.Suspended.GetCommands()...)
		require.NotEmpty(t, indexes)
		payload, err := proto.Marshal(&protocolv0.SuspensionMessage{EntryIndexes: indexes})
		require.NoError(t, err)
		stream = frame.Append(nil, frame.Frame{Type: wire.TypeSuspension, Payload: payload})
	}
	again, err := next.NewDecoder(bytes.NewReader(stream), 1<<20).Next()
	require.NoError(t, err)
	require.Equal(t, last.Ended, again.Ended)
	require.True(t, proto.Equal(last.Suspended, again.Suspended), "%v instead of %v", again.Suspended, last.Suspended)
}
