package schema

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/membership"
)

const (
	syncSubject = "restate.schema.sync"
	// syncLimit is how long a registration waits for the ingresses to know of it.
	syncLimit = 2 * time.Second
	// syncQueue bounds the questions that wait for an answer; more than one at a time is rare.
	syncQueue = 64
)

// ServeSync answers AwaitSync once the registry has the revision asked about. It runs until the context ends.
func ServeSync(ctx context.Context, conn *broker.Conn, registry *Registry) error {
	questions := make(chan *nats.Msg, syncQueue)
	subscription, err := conn.NC.ChanSubscribe(syncSubject, questions)
	if err != nil {
		return fmt.Errorf("subscribe to questions about the registry: %w", err)
	}
	defer func() { _ = subscription.Unsubscribe() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case question := <-questions:
			if len(question.Data) != 8 {
				continue
			}
			waiting, cancel := context.WithTimeout(ctx, syncLimit)
			if registry.WaitFor(waiting, binary.BigEndian.Uint64(question.Data)) == nil {
				_ = question.Respond(nil) // who asks gives up by itself
			}
			cancel()
		}
	}
}

// AwaitSync waits until every ingress that is alive has the revision, or a short limit has passed: a registration is
// not to fail because an ingress is on its way out.
func AwaitSync(ctx context.Context, conn *broker.Conn, revision uint64) error {
	ctx, cancel := conn.Attached(ctx, syncLimit)
	defer cancel()
	ingresses, err := membership.Nodes(ctx, conn, membership.RoleIngress)
	if err != nil || len(ingresses) == 0 {
		return err
	}
	inbox := conn.NC.NewInbox()
	answers, err := conn.NC.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("ask the ingresses about the registry: %w", err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := conn.NC.PublishRequest(syncSubject, inbox, binary.BigEndian.AppendUint64(nil, revision)); err != nil {
		return fmt.Errorf("ask the ingresses about the registry: %w", err)
	}
	for n := range ingresses {
		if _, err := answers.NextMsgWithContext(ctx); err != nil {
			return fmt.Errorf("%d of %d ingresses know revision %d of the registry: %w", n, len(ingresses), revision, err)
		}
	}
	return nil
}
