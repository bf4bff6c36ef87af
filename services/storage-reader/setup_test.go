package storagereader_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/health"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
	"github.com/restate-go/restate/pkg/storage/kv/rocks"

	storagereader "github.com/restate-go/restate/services/storage-reader"
)

const partitions = 4

// running is a storage-reader of a test, with its broker.
type running struct {
	t       testing.TB
	baseDir string
	conn    *broker.Conn
	address string
	client  scanv1.StorageClient
	metrics *prometheus.Registry
	stop    func() error
}

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

// launch starts a storage-reader, which need not become ready.
func launch(t testing.TB, change ...func(*storagereader.Config)) *running {
	t.Helper()
	cfg := storagereader.DefaultConfig()
	for _, c := range change {
		c(&cfg)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	checks, metrics := &health.Checks{}, prometheus.NewRegistry()
	r := &running{t: t, baseDir: t.TempDir(), conn: connect(t), address: listener.Addr().String(), metrics: metrics}
	service, err := storagereader.New(cfg, storagereader.Deps{
		BaseDir: r.baseDir, Conn: r.conn, Listener: listener, Checks: checks, Probes: health.Handler(checks, metrics),
		Metrics: metrics, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { require.NoError(t, r.stop()) })
	r.client = scanv1.NewStorageClient(r.dial())
	return r
}

// start starts a storage-reader beside a worker's database, and waits until it is ready.
func start(t testing.TB, change ...func(*storagereader.Config)) (*running, *rocks.Store) {
	t.Helper()
	r := launch(t, change...)
	store := r.worker()
	r.awaitReady()
	return r, store
}

func (r *running) dial(options ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(r.address, options...)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() }) // some tests close it
	return conn
}

// worker lays out the cluster and opens the database for writing, until the test ends.
func (r *running) worker() *rocks.Store {
	r.t.Helper()
	_, err := membership.EnsureLayout(r.t.Context(), r.conn, partitions)
	require.NoError(r.t, err)
	store, err := rocks.Open(filepath.Join(r.baseDir, "db"), partitions, rocks.DefaultOptions())
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, store.Close()) })
	return store
}

func (r *running) awaitReady() {
	r.t.Helper()
	await.True(r.t, await.Deadline, func() bool { code, _ := r.get("/ready"); return code == http.StatusOK }, "the storage-reader to be ready")
}

func (r *running) get(path string) (code int, body string) {
	r.t.Helper()
	response, err := http.Get("http://" + r.address + path)
	require.NoError(r.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return response.StatusCode, string(content)
}

// putState writes state of the service S.
func putState(t testing.TB, store *rocks.Store, key, stateKey string, value []byte) {
	t.Helper()
	instance := storage.Instance{PartitionKey: keyspace.HashKey([]byte(key)), Service: "S", Key: []byte(key)}
	space, err := store.Space(keyspace.Layout{Partitions: partitions}.PartitionOf(instance.PartitionKey))
	require.NoError(t, err)
	tx := kv.NewTx(space)
	tx.Put(storage.StateKey(instance, []byte(stateKey)), value)
	require.NoError(t, tx.Commit())
}

// wholeState asks for all state.
func wholeState() *scanv1.ScanRequest {
	return &scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Prefix{Prefix: &scanv1.Key{Key: &scanv1.Key_State{State: &scanv1.State{}}}}}
}

// receive takes rows until the stream ends, and returns its error, nil for a good end.
func receive(stream grpc.ServerStreamingClient[scanv1.Pair], visit func(*scanv1.Pair)) error {
	for {
		pair, err := stream.Recv()
		if err == io.EOF { //nolint:errorlint // gRPC returns it as it is
			return nil
		}
		if err != nil {
			return err
		}
		visit(pair)
	}
}

func (r *running) scan(request *scanv1.ScanRequest) ([]*scanv1.Pair, error) {
	r.t.Helper()
	var rows []*scanv1.Pair
	stream, err := r.client.Scan(r.t.Context(), request)
	require.NoError(r.t, err)
	err = receive(stream, func(pair *scanv1.Pair) { rows = append(rows, pair) })
	return rows, err
}

func putRaw(t testing.TB, space kv.Space, key, value []byte) {
	t.Helper()
	tx := kv.NewTx(space)
	tx.Put(key, value)
	require.NoError(t, tx.Commit())
}
