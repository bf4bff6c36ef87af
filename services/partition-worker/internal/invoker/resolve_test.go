package invoker

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// never is a log of which nothing is applied.
type never struct{ proposed []*logv1.InvokerEffect }

func (n *never) Propose(_ context.Context, effect *logv1.InvokerEffect, _ func(error)) error {
	n.proposed = append(n.proposed, effect)
	return nil
}

// A record that asks for keys says how many there may be, and counts as much as the answer may have until it is applied: the
// answers to all that an attempt has under way may be in memory at a time.
func TestKeysAreAskedForWithinBounds(t *testing.T) {
	const size = 10
	log := &never{}
	x := &exchange{task: newTask(&Invoker{deps: Deps{Proposer: log}}, Invocation{}, nil)}
	command := &journalv1.Command{Command: &journalv1.Command_GetStateKeys{GetStateKeys: &journalv1.GetStateKeys{}}}
	require.NoError(t, Resolver{}.Resolve(command))
	require.NoError(t, x.proposeCommand(t.Context(), protocol.Message{Command: command, Size: size}))
	require.Len(t, log.proposed, 1)
	list := log.proposed[0].GetAppendCommand().GetCommand().GetGetStateKeys()
	require.Equal(t, []uint32{maxStateKeys, maxStateKeyBytes}, []uint32{list.GetMaxKeys(), list.GetMaxBytes()})
	require.False(t, x.task.unapplied.TryAcquire(maxUnapplied-maxStateKeyBytes-size+1))
	require.True(t, x.task.unapplied.TryAcquire(maxUnapplied-maxStateKeyBytes-size))
}
