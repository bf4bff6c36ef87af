package broker

import (
	"context"
	"time"

	"github.com/restate-go/restate/pkg/errcode"
)

// payloadEvery is how often it is looked at what the server takes: it may be told otherwise while it runs.
const payloadEvery = time.Second

// CheckPayload returns SmallBroker when the server takes smaller messages than there are: it would take some and not others,
// which would be sent in vain for ever.
func (c *Conn) CheckPayload() error { return small(c.NC.ConnectedServerName(), c.NC.MaxPayload()) }

// WatchPayload returns SmallBroker as soon as the connection is to a server which takes too little, nil when the context ends.
func (c *Conn) WatchPayload(ctx context.Context) error {
	for c.Pause(ctx, payloadEvery) {
		if err := c.CheckPayload(); err != nil {
			return err
		}
	}
	return nil
}

func small(name string, most int64) error {
	if most >= MaxPayload {
		return nil
	}
	return errcode.New(errcode.SmallBroker, "the broker %s takes messages of %d bytes at most, and there are some of %d", name, most, MaxPayload)
}
