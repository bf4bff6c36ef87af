package partition

import (
	"context"
	"fmt"
	"time"

	"github.com/restate-go/restate/pkg/cmdlog"
)

const (
	trimInterval = 10 * time.Second
	// trimMargin is how much of the log stays although it is flushed, for a look at what happened last.
	trimMargin = 16 << 20
	// marginShare is the share of the log's threshold that the margin is at most.
	marginShare = 4
)

// RunTrimmer drops from the log, now and then, what the database has durably flushed. It runs until the context ends.
func (p *Processor) RunTrimmer(ctx context.Context) error {
	if p.cfg.TrimAfterBytes == 0 {
		return nil
	}
	ticker := time.NewTicker(trimInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := p.trim(ctx); err != nil && ctx.Err() == nil {
			p.deps.Log.Warn("trimming the log failed, trying again later", "partition", p.cfg.Partition, "error", err)
		}
	}
}

// trim drops what is flushed when the log holds more than it should.
func (p *Processor) trim(ctx context.Context) error {
	threshold, err := p.trimThreshold(ctx)
	if err != nil {
		return err
	}
	size, err := cmdlog.Size(ctx, p.deps.Conn, p.cfg.Partition)
	if err != nil {
		return err
	}
	if size.Bytes < threshold || size.Messages == 0 {
		return nil
	}
	margin := min(trimMargin, threshold/marginShare)
	keep := size.Messages * margin / max(size.Bytes, margin, 1)
	// What is applied now is in the database; after the flush it no longer depends on the log.
	applied := p.Applied()
	if applied < size.First+keep {
		return nil
	}
	if err := p.deps.Space.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return cmdlog.Trim(ctx, p.deps.Conn, p.cfg.Partition, applied-keep)
}

// trimThreshold is how many bytes the log may hold: less than is configured when the broker has too little room for as
// much in every partition. Without that its logs would fill up, and nothing would ever make room again.
func (p *Processor) trimThreshold(ctx context.Context) (uint64, error) {
	bound, bounded, err := cmdlog.Bound(ctx, p.deps.Conn)
	if err != nil || !bounded {
		return p.cfg.TrimAfterBytes, err
	}
	return min(p.cfg.TrimAfterBytes, bound/2/uint64(p.cfg.Layout.Partitions)), nil
}
