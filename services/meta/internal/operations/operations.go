// Package operations tells the partitions what operators want, through their logs, and what became of it.
package operations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/cmdlog"
	"github.com/restate-go/restate/pkg/dispatch"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/membership"
)

// patience is how long a partition may take for an order.
const patience = 10 * time.Second

// Client gives orders to the partitions.
type Client struct {
	conn *broker.Conn
	id   string
	log  *slog.Logger

	mu         sync.Mutex
	dispatcher *dispatch.Dispatcher
	appenders  []*cmdlog.Appender
}

// New returns a client with an id that no other process has, nor had.
func New(conn *broker.Conn, id string, log *slog.Logger) *Client {
	return &Client{conn: conn, id: id, log: log}
}

// Run works until the context ends.
func (c *Client) Run(ctx context.Context) error {
	layout, err := membership.Layout(ctx, c.conn)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the context ended: that is how Run is stopped
		}
		return err
	}
	group, running := errgroup.WithContext(ctx)
	appenders, logs := make([]*cmdlog.Appender, layout.Partitions), make([]dispatch.Log, layout.Partitions)
	for partition := range layout.Partitions {
		appender := cmdlog.NewAppender(c.conn, cmdlog.AppenderConfig{
			Partition: partition, Producer: "meta/" + c.id, Patience: patience,
		}, c.log)
		appenders[partition], logs[partition] = appender, appender
		group.Go(func() error { return appender.Run(running) })
	}
	dispatcher := dispatch.New(c.id, layout, logs)
	receive, err := dispatcher.Subscribe(c.conn.NC, c.log)
	if err == nil {
		group.Go(func() error { return receive(running) })
		c.mu.Lock()
		c.dispatcher, c.appenders = dispatcher, appenders
		c.mu.Unlock()
	} else {
		group.Go(func() error { return err }) // which ends the others
	}
	return group.Wait()
}

// Healthy returns why the logs cannot be appended to, nil when they can.
func (c *Client) Healthy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.appenders == nil {
		return errors.New("waiting for a partition-worker to fix the layout")
	}
	for _, appender := range c.appenders {
		if err := appender.Healthy(); err != nil {
			return err
		}
	}
	return nil
}

// Ask gives an order about an invocation and returns what became of it. The error is an *errcode.Error: Unavailable also
// where the partition did not say in time, which may do it still.
func (c *Client) Ask(
	ctx context.Context, id ids.InvocationID, order func(sink *logv1.ResponseSink) *logv1.Record,
) (storagev1.Outcome, error) {
	dispatcher, err := c.ready()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	response, err := dispatcher.Ask(ctx, id.PartitionKey(), order)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return 0, errcode.New(errcode.Unavailable, "the partition of %s did not say in time what became of the order; it may follow it yet", id)
	case err != nil:
		return 0, failure(err)
	}
	return response.GetOutcome(), nil
}

// Submit gives an order to the partition that has the key, and returns when it is durable. The error is an
// *errcode.Error: BadRequest where the order is too large, or Unavailable.
func (c *Client) Submit(ctx context.Context, partitionKey uint64, order *logv1.Record) error {
	dispatcher, err := c.ready()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := dispatcher.Submit(ctx, partitionKey, order); err != nil {
		return failure(err)
	}
	return nil
}

func (c *Client) ready() (*dispatch.Dispatcher, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dispatcher == nil {
		return nil, errcode.New(errcode.Unavailable, "no partition-worker has been up yet")
	}
	return c.dispatcher, nil
}

func failure(err error) error {
	if errors.Is(err, dispatch.ErrTooLarge) {
		return errcode.Wrap(errcode.BadRequest, err)
	}
	return errcode.Wrap(errcode.Unavailable, fmt.Errorf("the log did not take the order: %w", err))
}
