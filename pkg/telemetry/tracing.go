package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TracingConfig is where traces go.
type TracingConfig struct {
	// Endpoint is the OTLP gRPC receiver: host:port, http://host:port for plain text (also meant by host:port), or
	// https://host:port. Empty, the default, means no traces.
	Endpoint string `yaml:"endpoint"`
}

// Config of the telemetry of a daemon.
type Config struct {
	Log     LogConfig     `yaml:"log" ignored:"true"`
	Tracing TracingConfig `yaml:"tracing" ignored:"true"`
	// Pprof serves Profiles beside the probes. The default is false.
	Pprof bool `yaml:"pprof"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Log: LogConfig{Format: Pretty, Level: slog.LevelInfo}}
}

// flushTimeout bounds what a receiver that is gone may take of the grace period of the daemon.
const flushTimeout = 3 * time.Second

// Tracing is the tracer provider of a process and the exporter behind it.
type Tracing struct {
	trace.TracerProvider
	exporting *sdktrace.TracerProvider
}

// NewTracing returns a provider whose spans go to the configured receiver, in batches from a bounded queue: spans are
// dropped, never waited for, while the receiver does not answer. Without an endpoint the spans cost and do nothing.
func NewTracing(ctx context.Context, cfg TracingConfig, service, version string) (*Tracing, error) {
	if cfg.Endpoint == "" {
		return &Tracing{TracerProvider: noop.NewTracerProvider()}, nil
	}
	address := cfg.Endpoint
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("observability.tracing.endpoint: %w", err)
	}
	if parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return nil, fmt.Errorf("observability.tracing.endpoint: %q is not host:port, http://host:port or https://host:port", cfg.Endpoint)
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(address))
	if err != nil {
		return nil, fmt.Errorf("observability.tracing.endpoint: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithExportTimeout(flushTimeout)),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", service), attribute.String("service.version", version))),
	)
	return &Tracing{TracerProvider: provider, exporting: provider}, nil
}

// Shutdown sends what is queued, for at most 3 s, and drops the rest. Spans that end later are lost.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t.exporting == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := t.exporting.Shutdown(ctx); err != nil {
		return fmt.Errorf("sending the last traces: %w", err)
	}
	return nil
}
