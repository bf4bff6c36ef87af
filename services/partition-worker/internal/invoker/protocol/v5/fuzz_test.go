package v5_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	"github.com/restate-go/restate/pkg/serviceprotocol/v5/recorded"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// FuzzAttempt has an endpoint send arbitrary bytes, in each version: no panic, an error that says what is wrong, and what
// was taken before it can be stored, answered and replayed by the next attempt.
func FuzzAttempt(f *testing.F) {
	for _, e := range recorded.Exchanges(f) {
		var stream []byte
		for _, r := range e.Frames {
			if !r.FromRuntime() {
				stream = frame.Append(stream, r.Frame(f))
			}
		}
		f.Add(uint8(e.Version), uint8(e.N), stream)
	}
	targets := []*journalv1.Target{plain, object, sharedOne, workflow, sharedWorkflow}
	f.Fuzz(func(t *testing.T, n, kind uint8, stream []byte) {
		version, target := 5+uint32(n)%3, targets[int(kind)%len(targets)]
		messages, err := drain(begin(t, version, target), stream)
		var service *protocol.ServiceError
		switch {
		case errors.Is(err, protocol.ErrViolation), errors.Is(err, protocol.ErrTooLarge), errors.Is(err, io.ErrUnexpectedEOF):
		case errors.As(err, &service), errcode.Of(err, "") != "":
		default:
			require.NoError(t, err, "an error that callers do not know")
		}
		attempt := begin(t, version, target)
		decoder := attempt.NewDecoder(bytes.NewReader(stream), 1<<20)
		var journal []*journalv1.Entry
		for range messages {
			message, err := decoder.Next()
			require.NoError(t, err)
			switch {
			case message.Command != nil:
				require.Equal(t, 1+commands(journal), message.CommandIndex)
				journal = append(journal, entryOf(stored(t, message.Command)))
			case message.RunCompletion != nil:
				n := completion(message.RunCompletion.GetCompletionId(), message.RunCompletion.GetResult())
				journal = append(journal, arrived(stored(t, n)))
				_, err := attempt.AppendNotification(nil, n)
				require.NoError(t, err)
			}
		}
		begin(t, version, target, journal...)
	})
}

func commands(journal []*journalv1.Entry) uint32 {
	var count uint32
	for _, entry := range journal {
		if entry.GetCommand() != nil {
			count++
		}
	}
	return count
}

// stored returns a message as it comes out of the store.
func stored[M proto.Message](t *testing.T, m M) M {
	encoded, err := proto.Marshal(m)
	require.NoError(t, err)
	out := m.ProtoReflect().New().Interface().(M)
	require.NoError(t, proto.Unmarshal(encoded, out))
	return out
}
