// Package workers asks the partition-workers about invocations.
package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/membership"
)

const queryTimeout = 5 * time.Second

// Client asks the workers.
type Client struct{ conn *broker.Conn }

// New returns a client.
func New(conn *broker.Conn) *Client { return &Client{conn} }

// Filter chooses invocations, those that are not over unless State says so; empty fields match all.
type Filter struct {
	Service    string
	EndpointID string
	// NotBegun chooses those that have not begun on any endpoint.
	NotBegun bool
	// State chooses those in that state, completed ones too; BackingOff those that wait for their next attempt, or that do
	// not.
	State      storagev1.Invocation_State
	BackingOff *bool
	// Limit is how many are returned at most, 1 to 10000.
	Limit uint32
}

// List returns invocations of all workers that answer, and names those that do not. What nobody leads at the moment is
// left out. The error is an *errcode.Error: none of them answers.
func (c *Client) List(ctx context.Context, filter Filter) (found []*workerv1.InvocationView, unreachable []string, err error) {
	found, _, unreachable, err = c.list(ctx, filter, false)
	return found, unreachable, err
}

// ListAll is List for those who have to know that there are no others: unseen says why there may be, apart from the
// limit. It is empty when all workers answer, and each partition is listed by one that leads it.
func (c *Client) ListAll(ctx context.Context, filter Filter) (found []*workerv1.InvocationView, unseen []string, err error) {
	found, partitions, unseen, err := c.list(ctx, filter, true)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	layout, err := membership.Layout(ctx, c.conn)
	if err != nil {
		return nil, nil, errcode.Wrap(errcode.Unavailable, err)
	}
	missing := 0
	for partition := range layout.Partitions {
		if !partitions[partition] {
			missing++
		}
	}
	if missing > 0 {
		unseen = append(unseen, fmt.Sprintf("of %d partitions, %d have no leader that lists them", layout.Partitions, missing))
	}
	return found, unseen, nil
}

// list returns the partitions too that were listed to their end, if the workers are to tell them.
func (c *Client) list(ctx context.Context, filter Filter, tell bool) (
	found []*workerv1.InvocationView, partitions map[uint32]bool, unreachable []string, err error,
) {
	answers, err := ask(ctx, c, func(ctx context.Context, worker workerv1.WorkerServiceClient) ([]*workerv1.ListInvocationsResponse, error) {
		stream, err := worker.ListInvocations(ctx, &workerv1.ListInvocationsRequest{
			Service: filter.Service, EndpointId: filter.EndpointID, NotBegun: filter.NotBegun, Limit: filter.Limit, TellPartitions: tell,
			State: filter.State, BackingOff: filter.BackingOff, IncludeCompleted: filter.State == storagev1.Invocation_STATE_COMPLETED,
		})
		if err != nil {
			return nil, err
		}
		var listed []*workerv1.ListInvocationsResponse
		for {
			response, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return listed, nil
			}
			if err != nil {
				return nil, err
			}
			listed = append(listed, response)
		}
	})
	if err != nil {
		return nil, nil, nil, err
	}
	partitions = map[uint32]bool{}
	for _, a := range answers {
		if a.err != nil {
			unreachable = append(unreachable, a.err.Error())
		}
		for _, response := range a.answer {
			if v := response.GetInvocation(); v != nil {
				found = append(found, v)
			}
			for _, partition := range response.GetPartitions() {
				partitions[partition] = true
			}
		}
	}
	if len(unreachable) == len(answers) {
		return nil, nil, nil, errcode.New(errcode.Unavailable, "no partition-worker answers: %s", strings.Join(unreachable, "; "))
	}
	return found[:min(len(found), int(filter.Limit))], partitions, unreachable, nil
}

// Get returns one invocation. The error is an *errcode.Error: NotFound when the worker that leads its partition does not
// know it, Unavailable when none leads it, or it does not answer.
func (c *Client) Get(ctx context.Context, id ids.InvocationID) (*workerv1.InvocationView, error) {
	answers, err := ask(ctx, c, func(ctx context.Context, worker workerv1.WorkerServiceClient) (*workerv1.GetInvocationResponse, error) {
		response, err := worker.GetInvocation(ctx, &workerv1.GetInvocationRequest{InvocationId: id[:]})
		if status.Code(err) == codes.NotFound {
			return &workerv1.GetInvocationResponse{}, nil
		}
		return response, err
	})
	if err != nil {
		return nil, err
	}
	var failed error
	for _, a := range answers {
		switch {
		case a.err != nil:
			failed = errors.Join(failed, a.err)
		case a.answer.GetInvocation() == nil:
			return nil, errcode.New(errcode.NotFound, "there is no invocation %s", id)
		default:
			return a.answer.GetInvocation(), nil
		}
	}
	return nil, errcode.Wrap(errcode.Unavailable, failed)
}

// Timeouts returns what a worker has in force for handlers that ask for nothing else; nil when none tells. The workers of one
// runtime are configured alike.
func (c *Client) Timeouts(ctx context.Context) *membership.Timeouts {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	nodes, err := membership.Nodes(ctx, c.conn, membership.RoleWorker)
	if err != nil {
		return nil
	}
	for _, node := range nodes {
		if node.Timeouts != nil {
			return node.Timeouts
		}
	}
	return nil
}

type answer[T any] struct {
	answer T
	err    error
}

// ask asks every worker that is alive, at the same time. One that has just gone is still listed for a moment.
func ask[T any](
	ctx context.Context, c *Client, question func(context.Context, workerv1.WorkerServiceClient) (T, error),
) ([]answer[T], error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	nodes, err := membership.Nodes(ctx, c.conn, membership.RoleWorker)
	if err != nil {
		return nil, errcode.Wrap(errcode.Unavailable, fmt.Errorf("find the partition-workers: %w", err))
	}
	if len(nodes) == 0 {
		return nil, errcode.New(errcode.Unavailable, "no partition-worker is up")
	}
	answers := make([]answer[T], len(nodes))
	var group errgroup.Group
	for i, node := range nodes {
		group.Go(func() error {
			var err error
			if answers[i].answer, err = askNode(ctx, node, question); err != nil {
				answers[i].err = fmt.Errorf("ask the partition-worker at %s: %w", node.GRPCAddr, err)
			}
			return nil
		})
	}
	return answers, group.Wait()
}

func askNode[T any](
	ctx context.Context, node membership.Node, question func(context.Context, workerv1.WorkerServiceClient) (T, error),
) (found T, err error) {
	connection, err := grpc.NewClient(node.GRPCAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return found, err
	}
	defer connection.Close() //nolint:errcheck // the answer counts
	return question(ctx, workerv1.NewWorkerServiceClient(connection))
}
