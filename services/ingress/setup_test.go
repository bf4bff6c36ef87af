package ingress_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/health"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/pkg/schema"
	"github.com/restate-go/restate/services/ingress"
)

const partitions = 2

// cluster is a broker with a registry, and a stand-in for the workers.
type cluster struct {
	conn   *broker.Conn
	worker *worker
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ctx := context.Background()
	server, err := broker.StartServer(ctx, broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(ctx, server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	_, err = membership.EnsureLayout(ctx, conn, partitions)
	require.NoError(t, err)
	return &cluster{conn: conn, worker: startWorker(t, conn)}
}

// running is an ingress of a test.
type running struct {
	*cluster
	url    string
	checks *health.Checks
	stop   func() error
}

// option changes how an ingress is started.
type option func(*ingress.Config, *ingress.Deps)

func withTracer(tracer trace.Tracer) option {
	return func(_ *ingress.Config, d *ingress.Deps) { d.Tracer = tracer }
}

func withConfig(change func(*ingress.Config)) option {
	return func(c *ingress.Config, _ *ingress.Deps) { change(c) }
}

// startIngress starts an ingress and waits until it is ready.
func startIngress(t testing.TB, c *cluster, options ...option) *running {
	t.Helper()
	r := launch(t, c, options...)
	await.True(t, await.Deadline, func() bool { return len(r.checks.Failing(context.Background())) == 0 }, "the ingress is ready")
	await.True(t, await.Deadline, func() bool {
		nodes, err := membership.Nodes(context.Background(), c.conn, membership.RoleIngress)
		return err == nil && len(nodes) == 1
	}, "the ingress is announced")
	return r
}

func launch(t testing.TB, c *cluster, options ...option) *running {
	t.Helper()
	cfg := ingress.DefaultConfig()
	cfg.BindAddress = "127.0.0.1:0"
	checks, metrics := &health.Checks{}, prometheus.NewRegistry()
	deps := ingress.Deps{
		Conn: c.conn, Checks: checks, Probes: health.Handler(checks, metrics), Metrics: metrics,
		Tracer: noop.NewTracerProvider().Tracer(""), Log: slog.New(slog.DiscardHandler),
	}
	for _, o := range options {
		o(&cfg, &deps)
	}
	listener, err := ingress.Listen(context.Background(), cfg)
	require.NoError(t, err)
	deps.Listener = listener
	service, err := ingress.New(cfg, deps)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { require.NoError(t, stop()) })
	return &running{cluster: c, url: "http://" + listener.Addr().String(), checks: checks, stop: stop}
}

// discovered returns a captured answer of an SDK to discovery.
func discovered(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/discovery.json")
	require.NoError(t, err)
	var captured struct {
		Cases []struct {
			Name string `json:"name"`
			Body string `json:"body_base64"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(text, &captured))
	for _, c := range captured.Cases {
		if c.Name != name {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(c.Body)
		require.NoError(t, err)
		return data
	}
	t.Fatalf("no captured discovery %q", name)
	return nil
}

const (
	typedServices  = "bidi-grpc-and-routers"
	routerServices = "lambda-dotted-router-name"
)

// register adds an endpoint and returns its id when the ingress knows of it.
func (c *cluster) register(t testing.TB, uri, capture string) string {
	t.Helper()
	discovery, err := schema.ReadDescriptors(discovered(t, capture))
	require.NoError(t, err)
	snapshot, endpoint, err := schema.NewWriter(c.conn).Register(context.Background(), schema.Registration{
		Endpoint: schema.Endpoint{URI: uri}, Discovery: discovery,
	})
	require.NoError(t, err)
	require.NoError(t, schema.AwaitSync(context.Background(), c.conn, snapshot.Revision()))
	return endpoint.ID
}

func (c *cluster) setPublic(t testing.TB, service string, public bool) {
	t.Helper()
	snapshot, err := schema.NewWriter(c.conn).Modify(context.Background(), service, schema.Settings{Public: &public})
	require.NoError(t, err)
	require.NoError(t, schema.AwaitSync(context.Background(), c.conn, snapshot.Revision()))
}

// h2c returns a client that speaks HTTP/2 without TLS.
func h2c(t testing.TB) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: await.Deadline}
}

// h1 returns a client that speaks HTTP/1.1.
func h1(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: await.Deadline}
}
