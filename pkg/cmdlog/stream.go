// Package cmdlog is the command log of a partition: one JetStream stream, appended to in batches and read in order.
package cmdlog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/restate-go/restate/pkg/broker"
)

var (
	// ErrGap means that messages are missing from the middle of the log.
	ErrGap = errors.New("the log has a gap")
	// ErrTrimmed means that the log no longer has what is to be read.
	ErrTrimmed = errors.New("the log has been trimmed beyond what is to be read")
	// ErrMissing means that the broker has no such log.
	ErrMissing = errors.New("the log is missing")
	// ErrIdentity means that the log is not the one it is taken for.
	ErrIdentity = errors.New("another log than before")
	// ErrRefused means that the broker has definitely not taken the record: it is out of space or over a limit.
	ErrRefused = errors.New("the log takes no more records")
	// ErrUnconfirmed means that the broker has not said whether it took the record.
	ErrUnconfirmed = errors.New("the log did not confirm the record")
	// ErrCorrupt means that a batch cannot be decoded.
	ErrCorrupt = errors.New("the log is damaged")
	// ErrTooLarge means that a record is larger than the broker takes.
	ErrTooLarge = errors.New("the record is too large for the log")
)

const logIDKey = "restate-log-id"

// StreamName is the stream of a partition.
func StreamName(partition uint32) string {
	return "RESTATE_LOG_" + strconv.FormatUint(uint64(partition), 10)
}

// Subject is where a partition's batches are published.
func Subject(partition uint32) string {
	return "restate.log." + strconv.FormatUint(uint64(partition), 10)
}

const retryPause = 250 * time.Millisecond

// EnsureStream creates the log of a partition when there is none. It tries until the context ends.
func EnsureStream(ctx context.Context, conn *broker.Conn, partition uint32) error {
	for {
		err := ensureStream(ctx, conn, partition)
		if err == nil || !transient(err) {
			return err
		}
		if !conn.Pause(ctx, retryPause) {
			return fmt.Errorf("open the log of partition %d: %w", partition, err)
		}
	}
}

func ensureStream(ctx context.Context, conn *broker.Conn, partition uint32) error {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	if _, err := conn.JS.Stream(ctx, StreamName(partition)); err == nil || !errors.Is(err, jetstream.ErrStreamNotFound) {
		return broker.Explain(ctx, err)
	}
	_, err := conn.JS.CreateStream(ctx, jetstream.StreamConfig{
		Name:        StreamName(partition),
		Description: "Command log of a partition",
		Subjects:    []string{Subject(partition)},
		Storage:     jetstream.FileStorage,
		Replicas:    conn.Replicas,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		DenyDelete:  true,
		// Deduplication is done when a record is applied; the broker's window would only cost memory. This is the
		// shortest that the server takes.
		Duplicates: 100 * time.Millisecond,
		Metadata:   map[string]string{logIDKey: uuid.NewString()},
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	return broker.Explain(ctx, err)
}

// transient tells trouble on the way, which passes. The context of a request is canceled when the connection is lost; that of
// the caller is looked at by the caller.
func transient(err error) bool {
	for _, passes := range []error{
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		jetstream.ErrNoStreamResponse, broker.ErrDetached, context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, passes) {
			return true
		}
	}
	// A cluster that elects a leader, or has too few servers for the replicas at present.
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (refused.Code == http.StatusServiceUnavailable || refused.ErrorCode == noSuitablePeers)
}

// noSuitablePeers is the error of the JetStream API for a stream that finds too few servers.
const noSuitablePeers jetstream.ErrorCode = 10005

// open returns the stream of a partition with what the broker says of it now. ErrMissing when there is none.
func open(ctx context.Context, conn *broker.Conn, partition uint32) (jetstream.Stream, error) {
	stream, err := conn.JS.Stream(ctx, StreamName(partition))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: the broker has no stream %s", ErrMissing, StreamName(partition))
	}
	return stream, broker.Explain(ctx, err)
}

func streamInfo(ctx context.Context, conn *broker.Conn, partition uint32) (*jetstream.StreamInfo, error) {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	stream, err := open(ctx, conn, partition)
	if err != nil {
		return nil, fmt.Errorf("look at the log of partition %d: %w", partition, err)
	}
	return stream.CachedInfo(), nil
}

// Head returns the sequence of the last batch (0 when there has been none) and the identity of the log.
func Head(ctx context.Context, conn *broker.Conn, partition uint32) (last uint64, id string, err error) {
	info, err := streamInfo(ctx, conn, partition)
	if err != nil {
		return 0, "", err
	}
	return info.State.LastSeq, info.Config.Metadata[logIDKey], nil
}

// LogSize is how much a log holds.
type LogSize struct {
	Messages uint64
	Bytes    uint64
	// First is the sequence of the first batch that has not been trimmed.
	First uint64
}

// Size returns how much the log of a partition holds.
func Size(ctx context.Context, conn *broker.Conn, partition uint32) (LogSize, error) {
	info, err := streamInfo(ctx, conn, partition)
	if err != nil {
		return LogSize{}, err
	}
	return LogSize{Messages: info.State.Msgs, Bytes: info.State.Bytes, First: info.State.FirstSeq}, nil
}

// Bound returns how many bytes the broker lets all logs have together, with whatever else it stores; bounded is false
// when it does not say. A broker whose disk is full says 0.
func Bound(ctx context.Context, conn *broker.Conn) (bytes uint64, bounded bool, err error) {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	info, err := conn.JS.AccountInfo(ctx)
	if err != nil {
		return 0, false, fmt.Errorf("ask for the bound on the logs: %w", broker.Explain(ctx, err))
	}
	if info.Limits.MaxStore < 0 {
		return 0, false, nil
	}
	return uint64(info.Limits.MaxStore), true, nil
}

// Trim drops the batches up to and including the sequence.
func Trim(ctx context.Context, conn *broker.Conn, partition uint32, through uint64) error {
	ctx, cancel := conn.Attached(ctx, broker.RequestTimeout)
	defer cancel()
	stream, err := open(ctx, conn, partition)
	if err != nil {
		return fmt.Errorf("trim the log of partition %d: %w", partition, err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(through+1)); err != nil {
		return fmt.Errorf("trim the log of partition %d: %w", partition, broker.Explain(ctx, err))
	}
	return nil
}
