package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/restate-go/restate/pkg/errcode"
)

// Config says how to reach the broker.
type Config struct {
	// URL of an external server, or several with commas between them.
	URL string `yaml:"url"`
	// MonitoringURL is where an external server, or each of several with commas between them, says how it is configured:
	// its HTTP monitoring endpoint. The embedded server tells by itself.
	MonitoringURL string `yaml:"monitoring_url" split_words:"true"`
	// RequireSync refuses a server that does not sync each write to its disk before it acknowledges it, or of which that is
	// not known. Default true.
	RequireSync bool `yaml:"require_sync" split_words:"true"`
	// Replicas is on how many servers of a cluster each stream is kept that is created, 1 to 5. Default 1.
	Replicas int `yaml:"replicas"`
}

// DefaultConfig is what is in force where nothing else is said.
func DefaultConfig() Config {
	return Config{URL: "nats://127.0.0.1:4222", RequireSync: true, Replicas: 1}
}

const maxReplicas = 5

// Conn is a connection to the broker.
type Conn struct {
	NC *nats.Conn
	JS jetstream.JetStream
	// Embedded says that the server runs in this process.
	Embedded bool
	// Replicas is on how many servers a stream is kept that is created.
	Replicas int

	mu sync.Mutex
	// attached ends with the connection that is in use; it is followed by another when there is one again.
	attached context.Context //nolint:containedctx // it is the life of a connection, which Attached hands out
	detach   context.CancelFunc
	// resumed is closed, and replaced, when there is a connection again.
	resumed chan struct{}
}

// RequestTimeout is how long the broker may take to answer where nothing else is said.
const RequestTimeout = 5 * time.Second

const (
	connectPause   = time.Second
	connectTimeout = 5 * time.Second
	reconnectWait  = 200 * time.Millisecond
)

// Connect connects to the embedded server, or, where that is nil, to the external one. It tries until the context
// ends. The connection reconnects for ever.
func Connect(ctx context.Context, embedded *Server, cfg Config, name string, log *slog.Logger) (*Conn, error) {
	replicas := max(cfg.Replicas, 1)
	if replicas > maxReplicas {
		return nil, errcode.New(errcode.BadConfiguration, "broker.replicas is %d, and has to be 1 to %d", replicas, maxReplicas)
	}
	c := &Conn{Embedded: embedded != nil, Replicas: replicas, resumed: make(chan struct{})}
	c.attach()
	options := []nats.Option{
		nats.Name(name),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		// What is published while disconnected is repeated by who published it, in order.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.attach()
			if err != nil {
				log.Warn("lost the connection to the broker", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			log.Info("connected to the broker again")
			c.resume()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("the connection to the broker reports an error", "subject", subject, "error", err)
		}),
	}
	if embedded != nil {
		options = append(options, nats.InProcessServer(embedded))
	}
	for first := true; ; first = false {
		nc, err := nats.Connect(cfg.URL, options...)
		if err == nil {
			js, err := jetstream.New(nc)
			if err != nil {
				nc.Close()
				return nil, fmt.Errorf("use JetStream: %w", err)
			}
			c.NC, c.JS = nc, js
			return c, nil
		}
		if first {
			log.Info("waiting for the broker", "url", cfg.URL, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the broker at %s: %w", cfg.URL, err)
		case <-time.After(connectPause):
		}
	}
}

// attach ends what was done over the connection before.
func (c *Conn) attach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.detach != nil {
		c.detach()
	}
	c.attached, c.detach = context.WithCancel(context.Background())
}

// resume wakes those who wait for the connection.
func (c *Conn) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.resumed)
	c.resumed = make(chan struct{})
}

// ErrDetached is why a request is given up whose answer can no longer come.
var ErrDetached = errors.New("the connection to the broker was lost")

// Explain returns what the context of a request ended with, if it ended, and else the error that the request got.
func Explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
}

// Attach returns a context for what cannot outlive the connection: an answer to what was under way does not come once
// that is lost, nor does the broker know who watched or read, and the client library takes long to notice. The context
// ends with the connection too, with ErrDetached as the cause.
func (c *Conn) Attach(ctx context.Context) (context.Context, context.CancelFunc) {
	c.mu.Lock()
	attached := c.attached
	c.mu.Unlock()
	ctx, give := context.WithCancelCause(ctx)
	stop := context.AfterFunc(attached, func() { give(ErrDetached) })
	return ctx, func() {
		stop()
		give(nil)
	}
}

// Attached is Attach for what takes no longer than the timeout, such as one request.
func (c *Conn) Attached(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	ctx, release := c.Attach(ctx)
	return ctx, func() {
		release()
		cancel()
	}
}

// Pause waits before something is tried or renewed: for the time given, or until there is a connection again after one
// was lost. It returns false when the context ended.
func (c *Conn) Pause(ctx context.Context, d time.Duration) bool {
	c.mu.Lock()
	resumed := c.resumed
	c.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-resumed:
	case <-timer.C:
	}
	return true
}

// Close closes the connection.
func (c *Conn) Close() {
	c.NC.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.detach()
}
