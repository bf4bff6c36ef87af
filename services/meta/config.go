package meta

import (
	"time"

	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/discovery"
)

// Config of the daemon, section meta of the configuration.
type Config struct {
	// BindAddress is where the REST API is served, host:port. Port 0 takes a free one.
	BindAddress string `yaml:"bind_address" split_words:"true"`
	// ConcurrencyLimit is how many requests are served at a time, 1 or more; others are refused. Default 1000.
	ConcurrencyLimit int `yaml:"concurrency_limit" split_words:"true"`
	// AdvertisedIngress is the URL under which clients reach the ingress, for what is told of services. Default
	// http://127.0.0.1:9090/.
	AdvertisedIngress string `yaml:"advertised_ingress" split_words:"true"`
	// MaxJournalRetention is the longest time for which journals are kept, whatever services ask for. It holds for all
	// daemons; where several metas differ, the one that started last decides. Default 0, which is no limit.
	MaxJournalRetention config.Duration `yaml:"max_journal_retention" split_words:"true"`
	// Discovery configures how endpoints are asked what they serve.
	Discovery discovery.Config `yaml:"discovery" ignored:"true"`
	// Endpoint configures the connections to service endpoints.
	Endpoint endpoint.Config `yaml:"endpoint" ignored:"true"`
}

// DefaultConfig is what is in force where nothing else is said.
func DefaultConfig() Config {
	return Config{
		BindAddress:       "0.0.0.0:8081",
		ConcurrencyLimit:  1000,
		AdvertisedIngress: "http://127.0.0.1:9090/",
		Discovery:         discovery.DefaultConfig(),
		Endpoint:          endpoint.DefaultConfig(),
	}
}

func (c Config) limits() schema.Limits {
	if c.MaxJournalRetention == 0 {
		return schema.Limits{}
	}
	retention := time.Duration(c.MaxJournalRetention)
	return schema.Limits{MaxJournalRetention: &retention}
}
