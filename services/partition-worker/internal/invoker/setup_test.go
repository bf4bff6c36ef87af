package invoker

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
)

// world is an invoker with services at real sockets, and a partition that stores what is proposed at once.
type world struct {
	invoker *Invoker
	*partition
	next uint64
}

// newWorld starts an invoker. Each service has a handler h, and is served at the address.
func newWorld(t *testing.T, configure func(*Config), services map[string]string) *world {
	t.Helper()
	return newWorldOver(t, endpoint.DefaultConfig(), configure, services)
}

// newWorldOver starts an invoker with such connections.
func newWorldOver(t *testing.T, connections endpoint.Config, configure func(*Config), services map[string]string) *world {
	t.Helper()
	cfg := DefaultConfig()
	configure(&cfg)
	connections.IdleTimeout = config.Duration(time.Second / 2)
	transport, err := endpoint.NewTransport(connections)
	require.NoError(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	w := &world{partition: &partition{runs: map[ids.InvocationID]*run{}}}
	w.invoker = New(cfg, Deps{
		Source: w, Proposer: w, Schema: registered(t, services, cfg).Current, Transport: transport.To,
		Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
		Tracer: noop.NewTracerProvider().Tracer(""), Now: time.Now,
	})
	w.partition.invoker = w.invoker
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.invoker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, cfg.ConcurrencyLimit, w.invoker.places.free, "every place is given back")
		require.Equal(t, int(cfg.MemoryLimit), w.invoker.memory.Free(), "all memory is given back")
	})
	return w
}

// registered returns a registry with the services. They say themselves how they are retried, or else the defaults of their
// SDKs would be in force, and not the policy. The configured timeouts are for the service Hostile alone: however slow the
// machine is, the others have the time to answer.
func registered(t *testing.T, services map[string]string, cfg Config) *schema.Registry {
	t.Helper()
	policy := cfg.RetryPolicy
	log := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	for name, address := range services {
		inactivity, abort := DefaultConfig().InactivityTimeout, DefaultConfig().AbortTimeout
		if name == "Hostile" {
			inactivity, abort = cfg.InactivityTimeout, cfg.AbortTimeout
		}
		discovered, err := schema.ReadManifest(fmt.Appendf(nil, `{"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5,
			"maxProtocolVersion": 7, "services": [{"name": %q, "ty": "SERVICE", "handlers": [{"name": "h"}],
			"inactivityTimeout": %d, "abortTimeout": %d,
			"retryPolicyInitialInterval": %d, "retryPolicyMaxInterval": %d, "retryPolicyMaxAttempts": %d}]}`, name,
			time.Duration(inactivity).Milliseconds(), time.Duration(abort).Milliseconds(),
			time.Duration(policy.InitialInterval).Milliseconds(), time.Duration(policy.MaxInterval).Milliseconds(),
			cmp.Or(policy.MaxAttempts, math.MaxInt32)))
		require.NoError(t, err)
		_, _, err = schema.NewWriter(conn).Register(t.Context(), schema.Registration{
			Endpoint: schema.Endpoint{URI: "http://" + address + "/" + name}, Discovery: discovered,
		})
		require.NoError(t, err)
	}
	registry, err := schema.Watch(conn, log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- registry.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	await.True(t, await.Deadline, func() bool { return len(registry.Current().Services()) == len(services) }, "the services")
	return registry
}

// start begins an invocation of the service.
func (w *world) start(service string) ids.InvocationID { return w.startWith(service, nil) }

func (w *world) startWith(service string, argument []byte) ids.InvocationID {
	invocation, entries := w.invocation(service, argument)
	w.invoker.Start(invocation, &Journal{Entries: entries, CommandCount: 1})
	return invocation.ID
}

// startAgain begins a run of an invocation whose journal has so many entries, results but for the first.
func (w *world) startAgain(service string, length int) ids.InvocationID {
	invocation, _ := w.invocation(service, nil)
	for i := 1; i < length; i++ {
		signal := completion(0, nil)
		signal.Id = &journalv1.Notification_SignalIndex{SignalIndex: 17}
		w.runs[invocation.ID].append(signal)
	}
	w.invoker.Start(invocation, nil)
	return invocation.ID
}

// invocation makes one whose journal has the input alone.
func (w *world) invocation(service string, argument []byte) (Invocation, []*journalv1.Entry) {
	w.next++
	var id ids.InvocationID
	binary.BigEndian.PutUint64(id[len(id)-8:], w.next)
	entries := []*journalv1.Entry{{Entry: &journalv1.Entry_Command{Command: &journalv1.Command{
		Command: &journalv1.Command_Input{Input: &journalv1.Input{Value: argument}},
	}}}}
	w.add(id, entries)
	return Invocation{
		ID: id, Run: 1, CreatedAt: uint64(time.Now().UnixMilli()),
		Target: &journalv1.Target{Service: service, Handler: "h", Kind: journalv1.ServiceKind_SERVICE_KIND_UNKEYED},
	}, entries
}

// awaitFailure waits until an attempt of the invocation has failed, and returns how.
func (w *world) awaitFailure(t *testing.T, id ids.InvocationID) (code, message string) {
	t.Helper()
	await.True(t, await.Deadline, func() bool {
		view, _ := w.invoker.View(id)
		code, message = view.LastFailureCode, view.LastFailure
		return code != ""
	}, "an attempt to fail")
	return code, message
}

func (w *world) awaitEnd(t *testing.T, id ids.InvocationID) *logv1.InvokerEffect {
	t.Helper()
	var end *logv1.InvokerEffect
	await.True(t, await.Deadline, func() bool {
		end = w.end(id)
		return end != nil
	}, "the run to end")
	return end
}

// partition stands in for the log and the state machine.
type partition struct {
	invoker *Invoker

	mu   sync.Mutex
	runs map[ids.InvocationID]*run
}

type run struct {
	entries  []*journalv1.Entry
	commands uint32
	pin      *logv1.PinnedEndpoint
	end      *logv1.InvokerEffect
}

// append stores a result.
func (r *run) append(n *journalv1.Notification) {
	r.entries = append(r.entries, &journalv1.Entry{Entry: &journalv1.Entry_Notification{Notification: n}})
}

func (p *partition) add(id ids.InvocationID, entries []*journalv1.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs[id] = &run{entries: entries, commands: 1}
}

// length is that of the journal.
func (p *partition) length(id ids.InvocationID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.runs[id].entries)
}

func (p *partition) end(id ids.InvocationID) *logv1.InvokerEffect {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs[id].end
}

// Load implements Source.
func (p *partition) Load(_ context.Context, invocation Invocation, bounds Bounds) (*Journal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.runs[invocation.ID]
	if len(r.entries) > bounds.Entries {
		return nil, bounds.Exceeded()
	}
	return &Journal{Entries: r.entries[:len(r.entries):len(r.entries)], CommandCount: r.commands, Pin: r.pin}, nil
}

// Propose implements Proposer.
func (p *partition) Propose(_ context.Context, effect *logv1.InvokerEffect, done func(error)) error {
	id := ids.InvocationID(effect.GetInvocationId())
	p.mu.Lock()
	r := p.runs[id]
	if effect.GetPin() != nil {
		r.pin = effect.GetPin()
	}
	var result *journalv1.Notification
	switch e := effect.GetEffect().(type) {
	case *logv1.InvokerEffect_AppendCommand:
		r.entries = append(r.entries, &journalv1.Entry{Entry: &journalv1.Entry_Command{Command: e.AppendCommand.GetCommand()}})
		r.commands++
	case *logv1.InvokerEffect_RunCompletion:
		result = completion(e.RunCompletion.GetCompletionId(), e.RunCompletion.GetResult().GetValue())
	default:
		r.end = effect
	}
	index := len(r.entries)
	if result != nil {
		r.append(result)
	}
	p.mu.Unlock()
	done(nil)
	if result != nil {
		p.invoker.Notify(id, effect.GetRun(), uint32(index), result)
	}
	return nil
}

func completion(id uint32, value []byte) *journalv1.Notification {
	return &journalv1.Notification{
		Id:     &journalv1.Notification_CompletionId{CompletionId: id},
		Result: &journalv1.Result{Result: &journalv1.Result_Value{Value: value}},
	}
}

// serve serves the handlers by service over HTTP/2 at one address, and returns the services as newWorld takes them.
func serve(t *testing.T, handlers map[string]http.HandlerFunc) map[string]string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	mux := http.NewServeMux()
	services := map[string]string{}
	for name, handler := range handlers {
		mux.Handle("/"+name+"/", handler)
		services[name] = listener.Addr().String()
	}
	server := &http.Server{Handler: mux, Protocols: &http.Protocols{}, ReadHeaderTimeout: time.Minute}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return services
}
