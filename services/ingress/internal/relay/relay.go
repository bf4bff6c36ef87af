// Package relay brings requests to the partition-worker that leads the partition they are about.
package relay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"

	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/membership"
)

const (
	// leaderTimeout is how long a leader is looked for. It exceeds the time after which a lease that is not renewed
	// goes to another worker.
	leaderTimeout = 20 * time.Second
	// lookTimeout is how long one look may take.
	lookTimeout  = 5 * time.Second
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
	// connectTimeout is how long a worker may take to accept a connection.
	connectTimeout = 5 * time.Second
	// pingAfter is how long a connection may be silent, with a request waiting, before the worker is asked whether it is
	// there, and pingTimeout how long it may take to say so.
	pingAfter   = 15 * time.Second
	pingTimeout = 10 * time.Second
	// maxResponseBytes has room for the journal of an embedded handler.
	maxResponseBytes = 256 << 20
)

// Call makes one request to a worker.
type Call func(ctx context.Context, worker restatev1.RemoteContextClient) error

// Relay knows the leaders of the partitions.
type Relay struct {
	layout keyspace.Layout
	leader func(ctx context.Context, partition uint32) (membership.Node, error)
	// stopping is closed when nothing is to be waited for any more.
	stopping chan struct{}
	stop     func()

	looking singleflight.Group

	mu sync.Mutex
	// leaders are the addresses where partitions were led when last looked; connections are those to them.
	leaders     map[uint32]string
	connections map[string]*grpc.ClientConn
}

// New returns a relay that finds leaders through the function.
func New(layout keyspace.Layout, leader func(context.Context, uint32) (membership.Node, error)) *Relay {
	stopping := make(chan struct{})
	return &Relay{
		layout: layout, leader: leader, stopping: stopping, stop: sync.OnceFunc(func() { close(stopping) }),
		leaders: map[uint32]string{}, connections: map[string]*grpc.ClientConn{},
	}
}

// Stop ends the waits of WaitAt with unavailable, those that begin later too.
func (r *Relay) Stop() { r.stop() }

// Close ends all requests.
func (r *Relay) Close() {
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, connection := range r.connections {
		_ = connection.Close() // it is not used any more
	}
	r.connections, r.leaders = map[string]*grpc.ClientConn{}, map[uint32]string{}
}

// At makes a request, that may be repeated, to the leader of the partition of the key. While there is none it waits for
// one, for a limited time. The error is a *connect.Error.
func (r *Relay) At(ctx context.Context, partitionKey uint64, call Call) error {
	return r.at(ctx, partitionKey, call, repeatable)
}

// OnceAt is At for requests that must not reach a worker twice. Where it is not known whether the request did, the
// error has the code unavailable.
func (r *Relay) OnceAt(ctx context.Context, partitionKey uint64, call Call) error {
	return r.at(ctx, partitionKey, call, once)
}

// WaitAt is At for requests that wait for something, which Stop ends.
func (r *Relay) WaitAt(ctx context.Context, partitionKey uint64, call Call) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() {
		select {
		case <-r.stopping:
			cancel(errStopping)
		case <-ctx.Done():
		}
	})
	err := r.at(ctx, partitionKey, call, repeatable)
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		return connect.NewError(connect.CodeUnavailable, errStopping)
	}
	return err
}

var errStopping = errors.New("the ingress is stopping; try again at another one")

// repeatable says that what came of a request is not known, or that it had no effect: it may be made again.
func repeatable(code codes.Code) bool { return lost(code) || once(code) }

// lost says that what came of a request is not known. Cancelled, where it was not the caller, is a closed connection.
func lost(code codes.Code) bool { return code == codes.Unavailable || code == codes.Canceled }

// once says that a request had no effect, because the worker does not lead.
func once(code codes.Code) bool { return code == codes.FailedPrecondition }

func (r *Relay) at(ctx context.Context, partitionKey uint64, call Call, again func(codes.Code) bool) error {
	partition := r.layout.PartitionOf(partitionKey)
	pause, deadline := firstPause, time.Now().Add(leaderTimeout)
	for {
		began := time.Now()
		connection, err := r.connection(ctx, partition)
		if err == nil {
			err = call(ctx, restatev1.NewRemoteContextClient(connection))
			if err == nil {
				return nil
			}
			if !again(status.Code(err)) || ctx.Err() != nil {
				return translate(ctx, err)
			}
		}
		r.forget(partition, connection)
		if time.Since(began) > connectTimeout {
			// There was a leader until now.
			pause, deadline = firstPause, time.Now().Add(leaderTimeout)
		}
		if time.Now().After(deadline) {
			return connect.NewError(connect.CodeUnavailable, fmt.Errorf("no worker that leads partition %d answers: %w", partition, err))
		}
		select {
		case <-ctx.Done():
			return translate(ctx, err)
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}

// translate gives the client an error with the code of the worker's.
func translate(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		code := connect.CodeCanceled
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			code = connect.CodeDeadlineExceeded
		}
		return connect.NewError(code, fmt.Errorf("the caller stopped waiting: %w", context.Cause(ctx)))
	}
	s := status.Convert(err)
	if lost(s.Code()) {
		return connect.NewError(connect.CodeUnavailable,
			fmt.Errorf("the worker was lost, and whether the request had an effect is not known: %s", s.Message()))
	}
	return connect.NewError(connect.Code(s.Code()), errors.New(s.Message()))
}

// connection returns the one to the leader.
func (r *Relay) connection(ctx context.Context, partition uint32) (*grpc.ClientConn, error) {
	if connection := r.known(partition); connection != nil {
		return connection, nil
	}
	// Many may wait for a partition that has lost its leader: one of them looks for all.
	found, err, _ := r.looking.Do(strconv.FormatUint(uint64(partition), 10), func() (any, error) {
		if connection := r.known(partition); connection != nil {
			return connection, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		defer cancel()
		node, err := r.leader(ctx, partition)
		if err != nil {
			return nil, err
		}
		return r.connect(partition, node.GRPCAddr)
	})
	connection, _ := found.(*grpc.ClientConn)
	return connection, err
}

func (r *Relay) known(partition uint32) *grpc.ClientConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connections[r.leaders[partition]]
}

// connect notes where the partition is led.
func (r *Relay) connect(partition uint32, address string) (*grpc.ClientConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	connection, ok := r.connections[address]
	if !ok {
		var err error
		connection, err = grpc.NewClient(address,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponseBytes)),
			// A worker that comes back at its address is wanted at once.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 2, Jitter: 0.2, MaxDelay: longestPause},
				MinConnectTimeout: connectTimeout,
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		)
		if err != nil {
			return nil, fmt.Errorf("connect to the partition-worker at %s: %w", address, err)
		}
		r.connections[address] = connection
	}
	r.leaders[partition] = address
	return connection, nil
}

// forget has the leader looked for anew, unless that was done since the connection was given out. A connection that no
// partition needs any more is closed: a worker that was restarted has another address.
func (r *Relay) forget(partition uint32, failed *grpc.ClientConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	address := r.leaders[partition]
	if failed == nil || r.connections[address] != failed {
		return
	}
	delete(r.leaders, partition)
	for _, other := range r.leaders {
		if other == address {
			return
		}
	}
	delete(r.connections, address)
	_ = failed.Close() // what still uses it is told to look again
}
