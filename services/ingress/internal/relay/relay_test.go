package relay_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/services/ingress/internal/relay"
)

// worker stands in for a partition-worker.
type worker struct {
	restatev1.UnimplementedRemoteContextServer
	address string
	server  *grpc.Server

	mu sync.Mutex
	// answers are the codes of the answers to come; after them the worker succeeds.
	answers  []codes.Code
	requests int
	// hang makes requests wait for their end.
	hang bool
}

func (w *worker) Ping(ctx context.Context, _ *restatev1.PingRequest) (*restatev1.SendResponse, error) {
	w.mu.Lock()
	w.requests++
	hang := w.hang
	code := codes.OK
	if len(w.answers) > 0 {
		code, w.answers = w.answers[0], w.answers[1:]
	}
	w.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if code != codes.OK {
		return nil, status.Error(code, "as the test says")
	}
	return &restatev1.SendResponse{}, nil
}

func (w *worker) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests
}

func (w *worker) set(hang bool, answers ...codes.Code) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hang, w.answers = hang, answers
}

func startWorker(t *testing.T, address string) *worker {
	t.Helper()
	var listener net.Listener
	await.True(t, await.Deadline, func() (ok bool) {
		var err error
		listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		return err == nil
	}, "the address to be free")
	w := &worker{address: listener.Addr().String(), server: grpc.NewServer()}
	restatev1.RegisterRemoteContextServer(w.server, w)
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(listener) }()
	t.Cleanup(func() {
		w.server.Stop()
		require.NoError(t, <-done)
	})
	return w
}

// leaders says who leads.
type leaders struct {
	mu    sync.Mutex
	node  membership.Node
	err   error
	looks int
}

func (l *leaders) set(w *worker, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	if w != nil {
		l.node = membership.Node{GRPCAddr: w.address}
	}
}

func (l *leaders) leader(context.Context, uint32) (membership.Node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	return l.node, l.err
}

func (l *leaders) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.looks
}

func newRelay(t *testing.T) (*relay.Relay, *leaders) {
	t.Helper()
	known := &leaders{}
	r := relay.New(keyspace.Layout{Partitions: 2}, known.leader)
	t.Cleanup(r.Close)
	return r, known
}

func ping(ctx context.Context, worker restatev1.RemoteContextClient) error {
	_, err := worker.Ping(ctx, &restatev1.PingRequest{})
	return err
}

func TestRequestsGoToTheLeader(t *testing.T) {
	r, known := newRelay(t)
	w := startWorker(t, "127.0.0.1:0")
	known.set(w, nil)
	for range 3 {
		require.NoError(t, r.At(t.Context(), 0, ping))
		require.NoError(t, r.OnceAt(t.Context(), 1<<63, ping))
		require.NoError(t, r.WaitAt(t.Context(), 0, ping))
	}
	require.Equal(t, 9, w.count())
	require.Equal(t, 2, known.count(), "each partition's leader is looked for once")
}

func TestAnotherLeaderIsLookedFor(t *testing.T) {
	for name, c := range map[string]struct {
		code codes.Code
		once bool
	}{
		"a worker that leads no longer":          {codes.FailedPrecondition, false},
		"one that leads no longer, for requests": {codes.FailedPrecondition, true},
		"a worker that steps down":               {codes.Unavailable, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, known := newRelay(t)
			old, next := startWorker(t, "127.0.0.1:0"), startWorker(t, "127.0.0.1:0")
			known.set(old, nil)
			require.NoError(t, r.At(t.Context(), 0, ping))
			old.set(false, c.code, c.code)
			known.set(next, nil)
			at := r.At
			if c.once {
				at = r.OnceAt
			}
			require.NoError(t, at(t.Context(), 0, ping))
			require.Equal(t, 2, old.count())
			require.Equal(t, 1, next.count())
		})
	}
}

func TestLeaderIsWaitedFor(t *testing.T) {
	r, known := newRelay(t)
	known.set(nil, membership.ErrNoLeader)
	w := startWorker(t, "127.0.0.1:0")
	done := make(chan error, 1)
	go func() { done <- r.At(context.Background(), 0, ping) }()
	await.True(t, await.Deadline, func() bool { return known.count() > 1 }, "the relay to look again")
	known.set(w, nil)
	require.NoError(t, <-done)
}

func TestWorkerThatComesBackAtItsAddress(t *testing.T) {
	r, known := newRelay(t)
	w := startWorker(t, "127.0.0.1:0")
	known.set(w, nil)
	require.NoError(t, r.At(t.Context(), 0, ping))
	require.NoError(t, r.At(t.Context(), 1<<63, ping))
	w.server.Stop()
	done := make(chan error, 1)
	go func() { done <- r.At(context.Background(), 0, ping) }()
	again := startWorker(t, w.address)
	require.NoError(t, <-done)
	require.NoError(t, r.At(t.Context(), 1<<63, ping))
	require.Equal(t, 2, again.count())
}

// What reached a worker may have had an effect: it must not be made again.
func TestRequestsThatAreMadeOnce(t *testing.T) {
	r, known := newRelay(t)
	w := startWorker(t, "127.0.0.1:0")
	known.set(w, nil)
	w.set(false, codes.Unavailable)
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(r.OnceAt(t.Context(), 0, ping)))
	require.Equal(t, 1, w.count())

	w.set(true)
	done := make(chan error, 1)
	go func() { done <- r.OnceAt(context.Background(), 0, ping) }()
	await.True(t, await.Deadline, func() bool { return w.count() == 2 }, "the request to arrive")
	known.set(startWorker(t, "127.0.0.1:0"), nil)
	w.server.Stop()
	err := <-done
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
	require.ErrorContains(t, err, "not known")
	require.Equal(t, 2, w.count())
}

func TestErrorsKeepTheirCode(t *testing.T) {
	r, known := newRelay(t)
	w := startWorker(t, "127.0.0.1:0")
	known.set(w, nil)
	for _, code := range []codes.Code{
		codes.InvalidArgument, codes.NotFound, codes.Aborted, codes.Unimplemented, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal,
	} {
		w.set(false, code)
		err := r.At(t.Context(), 0, ping)
		require.Equal(t, connect.Code(code), connect.CodeOf(err))
		require.ErrorContains(t, err, "as the test says")
	}
	require.Equal(t, 7, w.count())
}

func TestCallersThatLeave(t *testing.T) {
	r, known := newRelay(t)
	w := startWorker(t, "127.0.0.1:0")
	w.set(true)
	known.set(w, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.WaitAt(ctx, 0, ping) }()
	await.True(t, await.Deadline, func() bool { return w.count() == 1 }, "the request to arrive")
	cancel(errors.New("gone"))
	require.Equal(t, connect.CodeCanceled, connect.CodeOf(<-done))

	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	require.Equal(t, connect.CodeDeadlineExceeded, connect.CodeOf(r.At(short, 0, ping)))

	known.set(nil, membership.ErrNoLeader)
	lost, cancelLost := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelLost()
	require.Equal(t, connect.CodeDeadlineExceeded, connect.CodeOf(r.At(lost, 1<<63, ping)))
}

func TestStopEndsWhatWaits(t *testing.T) {
	r, known := newRelay(t)
	w := startWorker(t, "127.0.0.1:0")
	w.set(true)
	known.set(w, nil)
	done := make(chan error, 2)
	go func() { done <- r.WaitAt(context.Background(), 0, ping) }()
	await.True(t, await.Deadline, func() bool { return w.count() == 1 }, "the request to arrive")
	r.Stop()
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(<-done))
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(r.WaitAt(t.Context(), 0, ping)))
	w.set(false)
	require.NoError(t, r.At(t.Context(), 0, ping), "what does not wait is still answered")
	r.Stop()
	r.Close()
}
