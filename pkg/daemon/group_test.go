package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/daemon"
)

// trail records what happened in which order.
type trail struct {
	mu    sync.Mutex
	steps []string
}

func (tr *trail) add(step string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.steps = append(tr.steps, step)
}

func (tr *trail) component(name string) daemon.Component {
	return daemon.Component{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		tr.add("stop " + name)
		return nil
	}}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestStopsInReverseOrderOfStart(t *testing.T) {
	var tr trail
	parent, cancel := context.WithCancel(t.Context())
	group := daemon.NewGroup(parent, daemon.Config{GracePeriod: time.Minute, Stopping: func() { tr.add("not ready") }}, discard())
	group.Start(tr.component("broker"))
	group.Start(tr.component("worker"))
	group.Start(tr.component("ingress"))
	cancel()
	require.NoError(t, group.Wait())
	require.Equal(t, []string{"not ready", "stop ingress", "stop worker", "stop broker"}, tr.steps)
}

func TestFailureOfAComponentStopsTheRest(t *testing.T) {
	for name, returned := range map[string]error{"with an error": errors.New("disk gone"), "without one": nil} {
		t.Run(name, func(t *testing.T) {
			var tr trail
			group := daemon.NewGroup(t.Context(), daemon.Config{GracePeriod: time.Minute}, discard())
			group.Start(tr.component("broker"))
			group.Start(daemon.Component{Name: "worker", Run: func(context.Context) error { return returned }})
			err := group.Wait()
			require.ErrorContains(t, err, "worker: ")
			if returned != nil {
				require.ErrorIs(t, err, returned)
			}
			require.Equal(t, []string{"stop broker"}, tr.steps)
		})
	}
}

func TestFailureOfTheStart(t *testing.T) {
	var tr trail
	group := daemon.NewGroup(t.Context(), daemon.Config{GracePeriod: time.Minute}, discard())
	group.Start(tr.component("broker"))
	failure := errors.New("port taken")
	group.Fail(failure)
	require.ErrorIs(t, group.Context().Err(), context.Canceled)
	require.ErrorIs(t, group.Wait(), failure)
	require.Equal(t, []string{"stop broker"}, tr.steps)
}

func TestAbandonsWhatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trail
		var logged bytes.Buffer
		// Signals come from outside the bubble; the group ends before its listener could matter.
		parent, cancel := context.WithCancel(t.Context())
		group := daemon.NewGroup(parent, daemon.Config{GracePeriod: time.Minute}, slog.New(slog.NewTextHandler(&logged, nil)))
		release := make(chan struct{})
		group.Start(tr.component("broker"))
		group.Start(daemon.Component{Name: "stuck", Run: func(context.Context) error { <-release; return nil }})
		start := time.Now()
		cancel()
		require.NoError(t, group.Wait())
		require.Equal(t, 30*time.Second, time.Since(start), "its share is half of the minute")
		require.Equal(t, []string{"stop broker"}, tr.steps)
		require.Contains(t, logged.String(), "component=stuck")
		close(release)
	})
}

func TestSignalDrainsAndSecondSignalExits(t *testing.T) {
	group := daemon.NewGroup(t.Context(), daemon.Config{GracePeriod: time.Minute}, discard())
	draining, release := make(chan struct{}), make(chan struct{})
	group.Start(daemon.Component{Name: "slow", Run: func(ctx context.Context) error {
		<-ctx.Done()
		close(draining)
		<-release
		return nil
	}})
	result := make(chan error, 1)
	go func() { result <- group.Wait() }()
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGTERM))
	<-draining
	select {
	case err := <-result:
		t.Fatalf("did not wait for the draining: %v", err)
	default:
	}
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGTERM))
	require.ErrorIs(t, <-result, daemon.ErrInterrupted)
	close(release)
}

func TestSignalAloneExitsCleanly(t *testing.T) {
	var tr trail
	group := daemon.NewGroup(t.Context(), daemon.Config{GracePeriod: time.Minute}, discard())
	group.Start(tr.component("worker"))
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGINT))
	require.NoError(t, group.Wait())
	require.Equal(t, []string{"stop worker"}, tr.steps)
}
