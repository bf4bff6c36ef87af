package ingress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"
)

// Config of the daemon, section ingress of the configuration.
type Config struct {
	// BindAddress is the port for clients, host:port. Port 0 takes a free one.
	BindAddress string `yaml:"bind_address" split_words:"true"`
	// ConcurrencyLimit is how many requests may be in progress, 1 or more. Requests above it are refused with
	// resource_exhausted. A request that waits for a suspended invocation is in progress.
	ConcurrencyLimit int `yaml:"concurrency_limit" split_words:"true"`
	// MaxBodySize is the size of the largest request, 1 byte to 7 MiB: a request has to fit into one log record.
	MaxBodySize config.Size `yaml:"max_body_size" split_words:"true"`
	// BodyTimeout is how long a request may take to arrive. There is no limit on how long its answer takes.
	BodyTimeout config.Duration `yaml:"body_timeout" split_words:"true"`
	// DrainTimeout is how long requests in progress are waited for at shutdown. Those that are left then are answered
	// unavailable; their invocations go on.
	DrainTimeout config.Duration `yaml:"drain_timeout" split_words:"true"`
}

// DefaultConfig is what is in force where nothing else is said.
func DefaultConfig() Config {
	return Config{
		BindAddress:      "0.0.0.0:9090",
		ConcurrencyLimit: 10_000,
		MaxBodySize:      4 << 20,
		BodyTimeout:      config.Duration(30 * time.Second),
		DrainTimeout:     config.Duration(10 * time.Second),
	}
}

// maxBodySize leaves room for the rest of the record.
const maxBodySize = 7 << 20

func (c Config) validate() error {
	switch {
	case c.ConcurrencyLimit < 1:
		return fmt.Errorf("ingress.concurrency_limit is %d, and has to be 1 or more", c.ConcurrencyLimit)
	case c.MaxBodySize < 1 || c.MaxBodySize > maxBodySize:
		return fmt.Errorf("ingress.max_body_size is %d, and has to be 1 to %d", c.MaxBodySize, maxBodySize)
	case c.BodyTimeout <= 0:
		return errors.New("ingress.body_timeout has to be more than 0")
	}
	return nil
}

// Listen binds the port for clients.
func Listen(ctx context.Context, cfg Config) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.BindAddress)
	if err != nil {
		return nil, errcode.Wrap(errcode.CannotBind, fmt.Errorf("listen for requests (ingress.bind_address): %w", err))
	}
	return listener, nil
}
