package partitionworker

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"
)

const (
	// maxRequestBytes has room for the largest request that an ingress takes.
	maxRequestBytes = 8 << 20
	// pingsAtMost is how often other daemons may ask whether this one is still there.
	pingsAtMost = 5 * time.Second
)

// serve answers other daemons until the context ends. When it returns, nothing of what they have asked reads the database
// any more, which is closed then: their contexts have ended, and with them what waits or scans.
func serve(
	ctx context.Context, listener net.Listener, queries workerv1.WorkerServiceServer, handlers restatev1.RemoteContextServer,
) error {
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingsAtMost, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)
	workerv1.RegisterWorkerServiceServer(server, queries)
	restatev1.RegisterRemoteContextServer(server, handlers)
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	select {
	case err := <-stopped:
		server.Stop() // who has connected before is still answered
		return fmt.Errorf("serve queries: %w", err)
	case <-ctx.Done():
		server.Stop()
		<-stopped // it was told to stop
		return nil
	}
}
