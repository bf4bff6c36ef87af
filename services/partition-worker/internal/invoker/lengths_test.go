package invoker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
)

func TestLengthsOfCommands(t *testing.T) {
	withKey := func(key string) []*journalv1.Command {
		calls := &journalv1.CallRequest{Headers: []*journalv1.Header{{Key: "h", Value: key[1:]}}}
		return []*journalv1.Command{
			{Name: key, Command: &journalv1.Command_Run{Run: &journalv1.Run{}}},
			{Command: &journalv1.Command_GetState{GetState: &journalv1.GetState{Key: []byte(key)}}},
			{Command: &journalv1.Command_GetEagerState{GetEagerState: &journalv1.GetEagerState{Key: []byte(key)}}},
			{Command: &journalv1.Command_SetState{SetState: &journalv1.SetState{Key: []byte(key)}}},
			{Command: &journalv1.Command_ClearState{ClearState: &journalv1.ClearState{Key: []byte(key)}}},
			{Command: &journalv1.Command_GetPromise{GetPromise: &journalv1.GetPromise{Key: key}}},
			{Command: &journalv1.Command_PeekPromise{PeekPromise: &journalv1.PeekPromise{Key: key}}},
			{Command: &journalv1.Command_CompletePromise{CompletePromise: &journalv1.CompletePromise{Key: key}}},
			{Command: &journalv1.Command_SendSignal{SendSignal: &journalv1.SendSignal{Signal: &journalv1.SendSignal_Name{Name: key}}}},
			{Command: &journalv1.Command_Call{Call: &journalv1.Call{Request: calls}}},
			{Command: &journalv1.Command_OneWayCall{OneWayCall: &journalv1.OneWayCall{Request: calls}}},
		}
	}
	for _, command := range withKey(strings.Repeat("x", maxText)) {
		require.NoError(t, checkLengths(command), "%T", command.GetCommand())
	}
	for _, command := range withKey(strings.Repeat("x", maxText+1)) {
		require.Equal(t, errcode.CommandRefused, errcode.Of(checkLengths(command), ""), "%T", command.GetCommand())
	}
	request := &journalv1.CallRequest{Headers: make([]*journalv1.Header, maxHeaders)}
	require.NoError(t, checkHeaders(request))
	request.Headers = append(request.Headers, &journalv1.Header{})
	require.Equal(t, errcode.CommandRefused, errcode.Of(checkHeaders(request), ""))
}
