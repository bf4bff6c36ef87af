package partitionworker

import (
	"fmt"
	"net"
	"os"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker"
)

// Config of the daemon, section worker of the configuration.
type Config struct {
	// Partitions is how many partitions a new cluster gets, 1 to 4096. A cluster that exists keeps what it has.
	Partitions uint32 `yaml:"partitions" split_words:"true"`
	// BindAddress is where meta asks about invocations, and where ingresses bring the requests of embedded handlers.
	// Port 0 takes a free one; both find it in the registry.
	BindAddress string `yaml:"bind_address" split_words:"true"`
	// AdvertisedHost is the name or address under which other daemons reach BindAddress. Empty takes the address
	// that is bound, or the host's name where that is a wildcard.
	AdvertisedHost string `yaml:"advertised_host" split_words:"true"`
	// TimerWindow is how many timers of a partition are kept in memory, 1 or more.
	TimerWindow int `yaml:"timer_window" split_words:"true"`
	// LogTrimBytes is how much a partition's log may hold before what the database has flushed is dropped from it.
	// 0 keeps everything.
	LogTrimBytes config.Size `yaml:"log_trim_bytes" split_words:"true"`
	// Storage configures the database.
	Storage rocks.Options `yaml:"storage" ignored:"true"`
	// Invoker configures the calls to service endpoints.
	Invoker invoker.Config `yaml:"invoker" ignored:"true"`
	// Endpoint configures the connections to service endpoints.
	Endpoint endpoint.Config `yaml:"endpoint" ignored:"true"`
}

// DefaultConfig is what is in force where nothing else is said.
func DefaultConfig() Config {
	return Config{
		Partitions:   2,
		BindAddress:  "127.0.0.1:0",
		TimerWindow:  1024,
		LogTrimBytes: 64 << 20,
		Storage:      rocks.DefaultOptions(),
		Invoker:      invoker.DefaultConfig(),
		Endpoint:     endpoint.DefaultConfig(),
	}
}

func (c Config) validate() error {
	switch {
	case c.Partitions < 1 || c.Partitions > keyspace.MaxPartitions:
		return fmt.Errorf("worker.partitions is %d, and has to be 1 to %d", c.Partitions, keyspace.MaxPartitions)
	case c.TimerWindow < 1:
		return fmt.Errorf("worker.timer_window is %d, and has to be 1 or more", c.TimerWindow)
	}
	return c.Invoker.Validate()
}

// advertised is the address under which other daemons find the listener.
func (c Config) advertised(bound net.Addr) string {
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return bound.String()
	}
	if c.AdvertisedHost != "" {
		return net.JoinHostPort(c.AdvertisedHost, port)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			return net.JoinHostPort(name, port)
		}
	}
	return bound.String()
}
