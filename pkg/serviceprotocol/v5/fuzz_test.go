package v5_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
	"github.com/restate-go/restate/pkg/serviceprotocol/v5/recorded"
)

// versionOf maps any number to a version.
func versionOf(n uint8) v5.Version {
	return v5.MinVersion + v5.Version(n)%(v5.MaxVersion-v5.MinVersion+1)
}

// FuzzDecode reads arbitrary frames, in each version: no panic, an error that says what is wrong, or a message that can
// be stored. A command is the same after it has been sent to the endpoint and back, which is what a replay does.
func FuzzDecode(f *testing.F) {
	for _, e := range recorded.Exchanges(f) {
		for _, r := range e.Frames {
			one := r.Frame(f)
			f.Add(uint8(e.Version-v5.MinVersion), uint16(one.Type), one.Flags, one.Payload)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, kind, flags uint16, payload []byte) {
		version := versionOf(n)
		message, err := version.Decode(frame.Frame{Type: frame.Type(kind), Flags: flags, Payload: payload})
		if err != nil {
			requireKnown(t, err)
			return
		}
		switch m := message.(type) {
		case *journalv1.Command:
			requireReplayed(t, version, m)
		case v5.RunProposal:
			requireStorable(t, m.Result)
		case v5.Suspension:
			requireStorable(t, m.Future)
		case v5.AwaitingOn:
			requireStorable(t, m.Future)
		}
	})
}

// FuzzCommand encodes arbitrary commands. One that a handler could have given comes back as it is.
func FuzzCommand(f *testing.F) {
	for _, c := range append(append(stateCases(), promiseCases()...), callCases()...) {
		encoded, err := proto.Marshal(c.command)
		require.NoError(f, err)
		f.Add(uint8(2), encoded)
	}
	f.Fuzz(func(t *testing.T, n uint8, stored []byte) {
		version := versionOf(n)
		command := &journalv1.Command{}
		if proto.Unmarshal(stored, command) != nil {
			return
		}
		encoded, err := version.AppendCommand(nil, command)
		if err != nil {
			return
		}
		decoded, err := version.Decode(only(t, encoded))
		if err != nil {
			requireKnown(t, err)
			return
		}
		requireReplayed(t, version, decoded.(*journalv1.Command))
	})
}

func requireKnown(t *testing.T, err error) {
	for _, known := range []error{frame.ErrViolation, v5.ErrRefused, v5.ErrScope, v5.ErrTooDeep} {
		if errors.Is(err, known) {
			return
		}
	}
	require.NoError(t, err, "an error that callers do not know")
}

func requireReplayed(t *testing.T, version v5.Version, command *journalv1.Command) {
	requireStorable(t, command)
	encoded, err := version.AppendCommand(nil, command)
	require.NoError(t, err)
	again, err := version.Decode(only(t, encoded))
	require.NoError(t, err)
	want := proto.CloneOf(command)
	want.AckRequested = false
	require.True(t, proto.Equal(want, again.(*journalv1.Command)), "%v instead of %v", again, want)
}

func requireStorable(t *testing.T, m proto.Message) {
	stored, err := proto.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(stored, m.ProtoReflect().New().Interface()))
}

// only reads the one frame that was encoded.
func only(t *testing.T, encoded []byte) frame.Frame {
	frames := frame.NewReader(bytes.NewReader(encoded), math.MaxUint32)
	f, err := frames.Next()
	require.NoError(t, err)
	require.Len(t, encoded, frame.HeaderSize+len(f.Payload))
	return f
}
