package schema

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/broker/brokertest"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/membership"
)

func connect(t testing.TB) *broker.Conn {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := broker.StartServer(t.Context(), broker.ServerConfig{Dir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	conn, err := broker.Connect(t.Context(), server, broker.Config{}, "test", log)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// watch runs a registry until the test ends.
func watch(t testing.TB, conn *broker.Conn) *Registry {
	t.Helper()
	registry, err := Watch(conn, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	group.Go(func() error { return registry.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		require.NoError(t, group.Wait())
	})
	return registry
}

// registration is one of an endpoint with the keyed service test.S and the services test.T<i>, all with one method.
func registration(t testing.TB, uri string, force bool, kind string, more ...string) Registration {
	t.Helper()
	text := strings.Replace(keyedFile(`message_type { name: "A" `+key("k", 1, "type: TYPE_STRING")+` }`, "A"), "KEYED", kind, 1)
	names := []string{"test.S"}
	for _, name := range more {
		text += fmt.Sprintf(`file { name: "%s.proto" package: "test" syntax: "proto3" dependency: "test.proto" service { name: %q %s
			method { name: "M" input_type: ".test.A" output_type: ".test.A" } } }`, name, name, keyedText)
		names = append(names, "test."+name)
	}
	body, err := proto.MarshalOptions{AllowPartial: true}.Marshal(&protocol.ServiceDiscoveryResponse{Files: set(t, text), Services: names})
	require.NoError(t, err)
	discovery, err := ReadDescriptors(body)
	require.NoError(t, err)
	return Registration{Endpoint: Endpoint{URI: uri}, Discovery: discovery, Force: force}
}

// show renders a snapshot as lines.
func show(s *Snapshot) string {
	var out strings.Builder
	for _, e := range s.Endpoints() {
		fmt.Fprintf(&out, "%s %v\n", e.URI, e.Services)
	}
	for _, service := range s.Services() {
		endpoint, ok := s.Endpoint(service.EndpointID)
		if !ok {
			endpoint = &Endpoint{URI: "nowhere"}
		}
		fmt.Fprintf(&out, "%s %s rev %d at %s", service.Name, KindName(service.Kind), service.Revision, endpoint.URI)
		if !service.Public {
			out.WriteString(" private")
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func TestEndpointID(t *testing.T) {
	for uri, id := range map[string]string{ // the first two are in public documentation
		"http://localhost:8080":        "bG9jYWxob3N0OjgwODAv",
		"http://greeter-v2/":           "Z3JlZXRlci12Mi8",
		"https://greeter-v2":           "Z3JlZXRlci12Mi8",
		"https://host/default/greeter": "aG9zdC9kZWZhdWx0L2dyZWV0ZXI",
	} {
		require.Equal(t, id, EndpointID(uri), uri)
	}
}

// A script of changes, each followed by what the registry is then.
func TestWriter(t *testing.T) {
	conn := connect(t)
	writer, registry := NewWriter(conn), watch(t, conn)
	var tolerated []string
	register := func(r Registration) func() (*Snapshot, error) {
		r.Tolerated = func(err error) { tolerated = append(tolerated, err.Error()) }
		return func() (*Snapshot, error) {
			snapshot, _, err := writer.Register(t.Context(), r)
			return snapshot, err
		}
	}
	idOfA := EndpointID("http://a")
	for _, step := range []struct {
		what   string
		change func() (*Snapshot, error)
		code   errcode.Code
		want   string
	}{
		{
			what: "register an endpoint", change: register(registration(t, "http://a", false, "KEYED", "T1")),
			want: "http://a [{test.S 1} {test.T1 1}]\ntest.S Keyed rev 1 at http://a\ntest.T1 Keyed rev 1 at http://a\n",
		},
		{what: "register it again", change: register(registration(t, "http://a", false, "KEYED")), code: errcode.EndpointExists},
		{
			what: "make a service private", change: func() (*Snapshot, error) { return writer.Modify(t.Context(), "test.S", Settings{Public: new(false)}) },
			want: "http://a [{test.S 1} {test.T1 1}]\ntest.S Keyed rev 1 at http://a private\ntest.T1 Keyed rev 1 at http://a\n",
		},
		{what: "an incompatible revision", change: register(registration(t, "http://b", false, "SINGLETON")), code: errcode.Incompatible},
		{
			what: "a new revision elsewhere stays private", change: register(registration(t, "http://b", false, "KEYED")),
			want: "http://a [{test.S 1} {test.T1 1}]\nhttp://b [{test.S 2}]\ntest.S Keyed rev 2 at http://b private\ntest.T1 Keyed rev 1 at http://a\n",
		},
		{
			what: "force drops what is no longer served, and only that", change: register(registration(t, "http://a", true, "KEYED", "T2")),
			want: "http://a [{test.S 3} {test.T2 1}]\nhttp://b [{test.S 2}]\ntest.S Keyed rev 3 at http://a private\ntest.T2 Keyed rev 1 at http://a\n",
		},
		{
			what:   "what is replaced in place is public again, and force lets incompatible revisions pass",
			change: register(registration(t, "http://a", true, "SINGLETON")),
			want:   "http://a [{test.S 4}]\nhttp://b [{test.S 2}]\ntest.S Singleton rev 4 at http://a\n",
		},
		{
			what: "remove the latest", change: func() (*Snapshot, error) { return writer.Remove(t.Context(), idOfA) },
			want: "http://b [{test.S 2}]\n",
		},
		{what: "remove it again", change: func() (*Snapshot, error) { return writer.Remove(t.Context(), idOfA) }, code: errcode.NotFound},
		{
			what: "an unknown service", code: errcode.NotFound,
			change: func() (*Snapshot, error) { return writer.Modify(t.Context(), "test.S", Settings{Public: new(true)}) },
		},
	} {
		t.Run(step.what, func(t *testing.T) {
			before := show(registry.Current())
			snapshot, err := step.change()
			if step.code != "" {
				require.Equal(t, step.code, errcode.Of(err, ""))
				require.Equal(t, before, show(registry.Current()))
				return
			}
			require.NoError(t, err)
			require.Equal(t, step.want, show(snapshot))
			ctx, cancel := context.WithTimeout(t.Context(), await.Deadline)
			defer cancel()
			require.NoError(t, registry.WaitFor(ctx, snapshot.Revision()))
			require.Equal(t, step.want, show(registry.Current()))
		})
	}
	require.Equal(t, []string{"[META0006] the service test.S was Keyed and would become Singleton"}, tolerated)
	require.Len(t, storedDescriptors(t, conn), 1, "descriptors that nothing refers to are removed")
	require.Equal(t, show(registry.Current()), show(watchReady(t, conn).Current()), "one that starts later sees the same")
}

func watchReady(t testing.TB, conn *broker.Conn) *Registry {
	t.Helper()
	registry := watch(t, conn)
	await.True(t, await.Deadline, registry.Ready, "the registry has been read")
	return registry
}

func storedDescriptors(t testing.TB, conn *broker.Conn) []string {
	t.Helper()
	bucket, err := membership.Registry(t.Context(), conn)
	require.NoError(t, err)
	keys, err := bucket.ListKeysFiltered(t.Context(), descriptorsPrefix+"*")
	require.NoError(t, err)
	var found []string
	for k := range keys.Keys() {
		found = append(found, k)
	}
	return found
}

// Several writers at once: every registration is in the registry in the end, with descriptors that are there.
func TestConcurrentWriters(t *testing.T) {
	conn := connect(t)
	const writers, rounds = 6, 4
	var group errgroup.Group
	for i := range writers {
		group.Go(func() error {
			writer := NewWriter(conn)
			for round := range rounds {
				// The descriptors alternate, so that those dropped by one writer are stored by another meanwhile.
				r := registration(t, fmt.Sprintf("http://e%d", i), true, "KEYED", fmt.Sprintf("T%d", (i+round)%2))
				if _, _, err := writer.Register(t.Context(), r); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	snapshot := watchReady(t, conn).Current()
	require.Len(t, snapshot.Endpoints(), writers)
	service, ok := snapshot.Service("test.S")
	require.True(t, ok)
	require.Equal(t, uint32(writers*rounds), service.Revision, "no revision was lost")
	require.Len(t, storedDescriptors(t, conn), 2)
}

func TestRegistrySwapsSnapshots(t *testing.T) {
	conn := connect(t)
	registry := watchReady(t, conn)
	empty, changed := registry.Current(), registry.Changed()
	require.Empty(t, empty.Services())
	require.Empty(t, empty.Endpoints())
	_, _, err := NewWriter(conn).Register(t.Context(), registration(t, "http://a", false, "KEYED"))
	require.NoError(t, err)
	select {
	case <-changed:
	case <-time.After(await.Deadline):
		t.Fatal("no change was announced")
	}
	require.Len(t, registry.Current().Services(), 1)
	require.Empty(t, empty.Services(), "a snapshot does not change")
	first, _ := registry.Current().Service("test.S")

	snapshot, _, err := NewWriter(conn).Register(t.Context(), registration(t, "http://b", false, "KEYED", "T1"))
	require.NoError(t, err)
	require.NoError(t, registry.WaitFor(t.Context(), snapshot.Revision()))
	second, _ := registry.Current().Service("test.S")
	require.Equal(t, uint32(1), first.Revision)
	require.Equal(t, uint32(2), second.Revision)

	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, registry.WaitFor(short, snapshot.Revision()+1000), context.DeadlineExceeded)
}

// A daemon that lags behind may read a document whose descriptors have been removed since.
func TestReadOfAnOutdatedDocument(t *testing.T) {
	conn := connect(t)
	bucket, err := membership.Registry(t.Context(), conn)
	require.NoError(t, err)
	writer := NewWriter(conn)
	_, _, err = writer.Register(t.Context(), registration(t, "http://a", false, "KEYED"))
	require.NoError(t, err)
	outdated, err := bucket.Get(t.Context(), documentKey)
	require.NoError(t, err)
	_, _, err = writer.Register(t.Context(), registration(t, "http://a", true, "KEYED", "T1"))
	require.NoError(t, err)
	_, err = read(t.Context(), bucket, outdated, emptySnapshot())
	require.ErrorIs(t, err, errOutdated)

	for _, k := range storedDescriptors(t, conn) {
		require.NoError(t, bucket.Purge(t.Context(), k))
	}
	current, err := bucket.Get(t.Context(), documentKey)
	require.NoError(t, err)
	_, err = read(t.Context(), bucket, current, emptySnapshot())
	require.ErrorContains(t, err, "missing from the registry")
	_, err = writer.Modify(t.Context(), "test.S", Settings{Public: new(false)})
	require.Equal(t, errcode.RegistryUnusable, errcode.Of(err, ""))
}

func TestDamagedDocument(t *testing.T) {
	conn := connect(t)
	bucket, err := membership.Registry(t.Context(), conn)
	require.NoError(t, err)
	_, err = bucket.PutString(t.Context(), documentKey, "{")
	require.NoError(t, err)
	_, err = NewWriter(conn).Remove(t.Context(), "x")
	require.Equal(t, errcode.RegistryUnusable, errcode.Of(err, ""))
	registry := watch(t, conn)
	// It goes on by itself once the document is whole.
	require.NoError(t, bucket.Delete(t.Context(), documentKey))
	_, err = bucket.PutString(t.Context(), documentKey, `{"endpoints":[],"services":{}}`)
	require.NoError(t, err)
	await.True(t, await.Deadline, registry.Ready, "the registry has been read")
}

// reasons collects what a registry says of itself.
type reasons struct {
	slog.Handler
	said chan error
}

func (r reasons) Enabled(context.Context, slog.Level) bool { return true }

func (r reasons) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			r.said <- err
		}
		return true
	})
	return nil
}

// A broker that was restarted does not know who watched the registry, and the client library takes long to find out.
func TestRegistryOutlivesTheConnection(t *testing.T) {
	server := brokertest.Start(t)
	conn := server.Connect()
	said := reasons{slog.DiscardHandler, make(chan error, 1000)}
	registry, err := Watch(conn, slog.New(said))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	group.Go(func() error { return registry.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		require.NoError(t, group.Wait())
	})
	await.True(t, await.Deadline, registry.Ready, "the registry to be read")
	server.Restart()
	require.ErrorIs(t, <-said.said, broker.ErrDetached)
	await.True(t, await.Deadline, conn.NC.IsConnected, "the connection to be there again")
	snapshot, _, err := NewWriter(conn).Register(t.Context(), registration(t, "http://e", false, "KEYED"))
	require.NoError(t, err)
	waiting, stop := context.WithTimeout(t.Context(), await.Deadline)
	defer stop()
	require.NoError(t, registry.WaitFor(waiting, snapshot.Revision()))
}

func TestAwaitSync(t *testing.T) {
	conn := connect(t)
	log := slog.New(slog.DiscardHandler)
	require.NoError(t, AwaitSync(t.Context(), conn, 1), "nobody has to know")
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	announce := func(id string) {
		group.Go(func() { _ = membership.Announce(ctx, conn, membership.Node{ID: id, Role: membership.RoleIngress}, log) })
	}
	registries := []*Registry{watchReady(t, conn), watchReady(t, conn)}
	for i, registry := range registries {
		announce(fmt.Sprint(i))
		group.Go(func() { _ = ServeSync(ctx, conn, registry) })
	}
	await.True(t, await.Deadline, func() bool {
		nodes, err := membership.Nodes(t.Context(), conn, membership.RoleIngress)
		return err == nil && len(nodes) == 2
	}, "two ingresses")
	await.True(t, await.Deadline, func() bool { return AwaitSync(t.Context(), conn, 0) == nil }, "they answer")
	for i := range 5 {
		snapshot, _, err := NewWriter(conn).Register(t.Context(), registration(t, fmt.Sprintf("http://e%d", i), false, "KEYED"))
		require.NoError(t, err)
		require.NoError(t, AwaitSync(t.Context(), conn, snapshot.Revision()))
		for _, registry := range registries {
			require.GreaterOrEqual(t, registry.Current().Revision(), snapshot.Revision())
		}
	}
	// One that never answers delays for a bounded time.
	announce("silent")
	await.True(t, await.Deadline, func() bool {
		nodes, err := membership.Nodes(t.Context(), conn, membership.RoleIngress)
		return err == nil && len(nodes) == 3
	}, "three ingresses")
	err := AwaitSync(t.Context(), conn, 0)
	require.ErrorContains(t, err, "2 of 3 ingresses")
	require.True(t, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoMessages), err.Error())
}
