// Package query answers questions of other daemons about the partitions that this worker leads.
package query

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
)

// Partition is what the service asks of one partition.
type Partition interface {
	// Invoker returns nil when this worker does not lead the partition.
	Invoker() *invoker.Invoker
	// State is the committed state.
	State() kv.Space
}

// Service implements restate.worker.v1.WorkerService.
type Service struct {
	workerv1.UnimplementedWorkerServiceServer
	layout     keyspace.Layout
	partitions []Partition
}

// New returns the service over the partitions, in order.
func New(layout keyspace.Layout, partitions []Partition) *Service {
	return &Service{layout: layout, partitions: partitions}
}

// GetInvocation answers FAILED_PRECONDITION when this worker does not lead the invocation's partition, and NOT_FOUND
// when the invocation is unknown.
func (s *Service) GetInvocation(_ context.Context, request *workerv1.GetInvocationRequest) (*workerv1.GetInvocationResponse, error) {
	id, err := ids.InvocationIDFromBytes(request.GetInvocationId())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	partition := s.partitions[s.layout.PartitionOf(id.PartitionKey())]
	running := partition.Invoker()
	if running == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "this worker does not lead the partition of %s", id)
	}
	record, err := storage.GetInvocation(partition.State(), id)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if record == nil {
		return nil, status.Errorf(codes.NotFound, "invocation %s is not known", id)
	}
	return &workerv1.GetInvocationResponse{Invocation: view(running, id, record)}, nil
}

const (
	defaultLimit = 1000
	maxLimit     = 10000
)

// errLimit ends a scan that has found enough.
var errLimit = errors.New("limit reached")

// ListInvocations streams the invocations of the partitions that this worker leads, and then, when it is asked to tell,
// which those are: nothing of a partition may mean that there is nothing, or that this worker does not lead it.
func (s *Service) ListInvocations(request *workerv1.ListInvocationsRequest, stream workerv1.WorkerService_ListInvocationsServer) error {
	left := int(request.GetLimit())
	if left == 0 {
		left = defaultLimit
	}
	if left > maxLimit {
		return status.Errorf(codes.InvalidArgument, "limit is %d, the most is %d", left, maxLimit)
	}
	var listed []uint32
	for i, partition := range s.partitions {
		running := partition.Invoker()
		if running == nil {
			continue
		}
		err := s.list(partition, running, request, stream, &left)
		if errors.Is(err, errLimit) {
			break
		}
		if err != nil {
			return err
		}
		listed = append(listed, uint32(i))
	}
	if !request.GetTellPartitions() || len(listed) == 0 {
		return nil
	}
	if err := stream.Send(&workerv1.ListInvocationsResponse{Partitions: listed}); err != nil {
		return fmt.Errorf("send which partitions were listed: %w", err)
	}
	return nil
}

func (s *Service) list(
	partition Partition, running *invoker.Invoker, request *workerv1.ListInvocationsRequest,
	stream workerv1.WorkerService_ListInvocationsServer, left *int,
) error {
	snapshot := partition.State().Snapshot()
	defer snapshot.Close()
	return storage.ScanInvocations(snapshot, func(row storage.InvocationRow) error {
		if err := stream.Context().Err(); err != nil {
			return err
		}
		state, err := row.State()
		if err != nil || state == storagev1.Invocation_STATE_COMPLETED && !request.GetIncludeCompleted() {
			return err
		}
		if wanted := request.GetState(); wanted != storagev1.Invocation_STATE_UNSPECIFIED && wanted != state {
			return nil
		}
		id, record, err := row.Decode()
		if err != nil || !matches(request, record) {
			return err
		}
		v := view(running, id, record)
		if on := request.GetEndpointId(); on != "" && on != record.GetPin().GetEndpointId() && on != v.GetEndpointId() {
			return nil
		}
		if request.BackingOff != nil && request.GetBackingOff() != (v.GetNextAttemptAt() != 0) {
			return nil
		}
		if *left == 0 {
			return errLimit
		}
		*left--
		if err := stream.Send(&workerv1.ListInvocationsResponse{Invocation: v}); err != nil {
			return fmt.Errorf("send an invocation: %w", err)
		}
		return nil
	})
}

// matches leaves out the endpoint, the state, and whether an attempt is waited for.
func matches(request *workerv1.ListInvocationsRequest, record *storagev1.Invocation) bool {
	return (request.GetService() == "" || request.GetService() == record.GetTarget().GetService()) &&
		(!request.GetNotBegun() || record.GetPin() == nil)
}

func view(running *invoker.Invoker, id ids.InvocationID, record *storagev1.Invocation) *workerv1.InvocationView {
	v := &workerv1.InvocationView{
		InvocationId: id[:], Invocation: shown(record),
		LastFailure: record.GetPausedWith().GetMessage(), LastFailureCode: record.GetPausedCode(), Attempts: record.GetPausedAttempts(),
	}
	if attempt, ok := running.View(id); ok {
		v.Attempts = attempt.Attempts
		v.LastFailure = attempt.LastFailure
		v.LastFailureCode = attempt.LastFailureCode
		v.NextAttemptAt = attempt.NextAttemptAt
		v.EndpointId = attempt.EndpointID
	}
	return v
}

// shown is what is told of a record. The rest is left out, the result above all: with it, an answer could be larger than
// gRPC lets its receiver take, and nothing could be asked or ordered about the invocation.
func shown(record *storagev1.Invocation) *storagev1.Invocation {
	told := &storagev1.Invocation{
		State:              record.GetState(),
		Pin:                record.GetPin(),
		CreatedAt:          record.GetCreatedAt(),
		ModifiedAt:         record.GetModifiedAt(),
		ExecutionTime:      record.GetExecutionTime(),
		ExpiresAt:          record.GetExpiresAt(),
		JournalLength:      record.GetJournalLength(),
		CallerInvocationId: record.GetCallerInvocationId(),
		ClientStream:       record.GetClientStream(),
	}
	if target := record.GetTarget(); target != nil {
		told.Target = &journalv1.Target{
			Service: target.GetService(), Handler: target.GetHandler(), Key: target.GetKey(), Scope: target.GetScope(),
		}
	}
	told.Result = ending(record.GetResult())
	return told
}

// maxFailure is how much is told of the message of a failure, in bytes.
const maxFailure = 4 << 10

// ending says how an invocation ended: void stands for any value. It returns nil for one that is not over.
func ending(result *journalv1.Result) *journalv1.Result {
	if result == nil {
		return nil
	}
	f := result.GetFailure()
	if f == nil {
		return &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
	}
	message := f.GetMessage()
	if len(message) > maxFailure {
		// What is cut may be in the midst of a character.
		message = strings.ToValidUTF8(message[:maxFailure], "") + "…"
	}
	return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{Code: f.GetCode(), Message: message}}}
}
