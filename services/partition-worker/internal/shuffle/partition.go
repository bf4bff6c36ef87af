package shuffle

import (
	"context"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/cmdlog"
)

// partition appends messages to another partition's log.
type partition struct{ appender *cmdlog.Appender }

// NewPartition returns the destination that appends with the given appender, whose producer is the sending partition.
func NewPartition(appender *cmdlog.Appender) Destination { return &partition{appender} }

// Send implements Destination. It waits while the log takes too little, rather than leave messages to be read once more: then
// the broker is in trouble, with which nothing arrives anywhere.
func (p *partition) Send(ctx context.Context, sequence uint64, message *storagev1.OutboxMessage, arrived func()) (bool, error) {
	return true, p.appender.Append(ctx, RecordOf(sequence, message), func(_ uint64, err error) {
		// An error means that the appender was stopped; the next leader sends the message again.
		if err == nil {
			arrived()
		}
	})
}

// Run implements Destination.
func (p *partition) Run(ctx context.Context) error { return p.appender.Run(ctx) }
