package storagereader

import (
	"fmt"
	"time"

	"github.com/restate-go/restate/pkg/config"
)

// Config of the daemon, section storage of the configuration.
type Config struct {
	// BindAddress is where scans are served, host:port. Port 0 takes a free one.
	BindAddress string `yaml:"bind_address" split_words:"true"`
	// ConcurrencyLimit is how many scans may be in progress, 1 or more; others are refused with RESOURCE_EXHAUSTED. Each
	// takes up to about 20 MiB. Default 16.
	ConcurrencyLimit int `yaml:"concurrency_limit" split_words:"true"`
	// StallTimeout is how long a client may take nothing before its scan is broken off, more than 0. Default 1m.
	StallTimeout config.Duration `yaml:"stall_timeout" split_words:"true"`
	// BlockCacheBytes is how much is kept in memory of the tables of the database while it is read. Default 8 MiB.
	BlockCacheBytes config.Size `yaml:"block_cache_bytes" split_words:"true"`
}

// DefaultConfig is what is in force where nothing else is said.
func DefaultConfig() Config {
	return Config{
		BindAddress:      "0.0.0.0:9091",
		ConcurrencyLimit: 16,
		StallTimeout:     config.Duration(time.Minute),
		BlockCacheBytes:  8 << 20,
	}
}

func (c Config) validate() error {
	switch {
	case c.ConcurrencyLimit < 1:
		return fmt.Errorf("storage.concurrency_limit is %d, and has to be 1 or more", c.ConcurrencyLimit)
	case c.StallTimeout <= 0:
		return fmt.Errorf("storage.stall_timeout is %s, and has to be more than 0", c.StallTimeout)
	}
	return nil
}
