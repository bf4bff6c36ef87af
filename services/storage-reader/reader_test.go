package storagereader_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/health"

	storagereader "github.com/restate-go/restate/services/storage-reader"
)

func (r *running) serving(service string) (healthv1.HealthCheckResponse_ServingStatus, error) {
	r.t.Helper()
	answer, err := healthv1.NewHealthClient(r.dial()).Check(r.t.Context(), &healthv1.HealthCheckRequest{Service: service})
	return answer.GetStatus(), err
}

func TestIsReadyOnceThereIsADatabase(t *testing.T) {
	r := launch(t)
	unavailable := func(want string) {
		t.Helper()
		await.True(t, await.Deadline, func() bool { code, body := r.get("/ready"); return code == 503 && strings.Contains(body, want) }, want)
		_, err := r.scan(wholeState())
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.ErrorContains(t, err, want)
		answer, err := r.serving("")
		require.NoError(t, err)
		require.Equal(t, healthv1.HealthCheckResponse_NOT_SERVING, answer)
	}
	code, _ := r.get("/health")
	require.Equal(t, http.StatusOK, code)
	unavailable("waiting for a partition-worker to lay out the cluster")
	_, err := r.scan(&scanv1.ScanRequest{})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "that is so in any case")

	store := r.worker()
	r.awaitReady()
	for _, service := range []string{"", "dev.restate.storage.scan.v1.Storage"} {
		answer, err := r.serving(service)
		require.NoError(t, err)
		require.Equal(t, healthv1.HealthCheckResponse_SERVING, answer)
	}
	_, err = r.serving("another.Service")
	require.Equal(t, codes.NotFound, status.Code(err))
	putState(t, store, "k", "s", []byte("v"))
	rows, err := r.scan(wholeState())
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, "v", string(rows[0].GetValue()))
	require.Equal(t, 1.0, testutil.ToFloat64(counter(r, "restate_storage_rows_sent_total", "table", "state"))) //nolint:testifylint // it is whole
}

func TestDatabaseThatIsNotThereYet(t *testing.T) {
	r := launch(t)
	store := r.worker()
	r.awaitReady()
	putState(t, store, "k", "s", []byte("v"))
	dir := filepath.Join(r.baseDir, "db")
	require.NoError(t, os.Rename(dir, dir+" elsewhere"))
	_, err := r.scan(wholeState())
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "there is no database yet")
	code, body := r.get("/ready")
	require.Equal(t, 503, code, body)
	require.NoError(t, os.Rename(dir+" elsewhere", dir))
	r.awaitReady()
	rows, err := r.scan(wholeState())
	require.NoError(t, err)
	require.Len(t, rows, 1)
}

func TestReflectionNamesTheService(t *testing.T) {
	r := launch(t)
	stream, err := reflectionv1.NewServerReflectionClient(r.dial()).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	}))
	answer, err := stream.Recv()
	require.NoError(t, err)
	var names []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	require.Contains(t, names, "dev.restate.storage.scan.v1.Storage")
	require.NoError(t, stream.CloseSend())
}

// counter returns a collector with the one figure that is asked for.
func counter(r *running, name, label, value string) prometheus.Collector {
	families, err := r.metrics.Gather()
	require.NoError(r.t, err)
	total := prometheus.NewCounter(prometheus.CounterOpts{Name: "total"})
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				if family.GetName() == name && pair.GetName() == label && pair.GetValue() == value {
					total.Add(metric.GetCounter().GetValue())
				}
			}
		}
	}
	return total
}

// TestClientThatTakesNothing holds a scan of far more than fits into any buffer. Neither memory nor other clients notice.
func TestClientThatTakesNothing(t *testing.T) {
	const rows, size = 400, 512 << 10
	r, store := start(t)
	for n := range rows {
		putState(t, store, fmt.Sprint(n), "s", make([]byte, size))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow, err := r.client.Scan(ctx, wholeState())
	require.NoError(t, err)
	_, err = slow.Recv()
	require.NoError(t, err)

	// Others read what is written meanwhile.
	for n := range 5 {
		key := fmt.Sprint("more ", n)
		putState(t, store, key, "s", []byte("v"))
		found, err := r.scan(&scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Prefix{Prefix: &scanv1.Key{
			Key: &scanv1.Key_State{State: &scanv1.State{ServiceKey: []byte(key)}},
		}}})
		require.NoError(t, err)
		require.Len(t, found, 1)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(rows*size/4), "what the slow client has not taken is not read")

	got := 1
	require.NoError(t, receive(slow, func(pair *scanv1.Pair) { got++; require.Len(t, pair.GetValue(), size) }))
	require.GreaterOrEqual(t, got, rows, "it gets all of it in the end")
}

func TestClientThatTakesNothingForTooLongIsBrokenOff(t *testing.T) {
	r, store := start(t, func(cfg *storagereader.Config) {
		cfg.StallTimeout, cfg.ConcurrencyLimit = config.Duration(2*time.Second), 1
	})
	for n := range 40 {
		putState(t, store, fmt.Sprint(n), "s", make([]byte, 1<<20))
	}
	slow, err := r.client.Scan(t.Context(), wholeState())
	require.NoError(t, err)
	_, err = slow.Recv()
	require.NoError(t, err)
	one := &scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Prefix{Prefix: &scanv1.Key{
		Key: &scanv1.Key_State{State: &scanv1.State{ServiceKey: []byte("0")}},
	}}}
	await.True(t, await.Deadline, func() bool { _, err := r.scan(one); return err == nil }, "the only place to become free")
	require.Error(t, receive(slow, func(*scanv1.Pair) {}), "it is told that rows are missing")
}

func TestClientThatLeavesGivesUpItsPlace(t *testing.T) {
	r, store := start(t, func(cfg *storagereader.Config) { cfg.ConcurrencyLimit = 1 })
	for n := range 40 {
		putState(t, store, fmt.Sprint(n), "s", make([]byte, 1<<20))
	}
	for _, leave := range []func(context.CancelFunc, *grpc.ClientConn){
		func(cancel context.CancelFunc, _ *grpc.ClientConn) { cancel() },
		func(_ context.CancelFunc, conn *grpc.ClientConn) { require.NoError(t, conn.Close()) },
	} {
		conn := r.dial()
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		await.True(t, await.Deadline, func() bool {
			stream, err := scanv1.NewStorageClient(conn).Scan(ctx, wholeState())
			require.NoError(t, err)
			_, err = stream.Recv()
			return err == nil
		}, "a place")
		_, err := r.scan(wholeState())
		require.Equal(t, codes.ResourceExhausted, status.Code(err), "it has the only place")
		require.ErrorContains(t, err, "storage.concurrency_limit")
		leave(cancel, conn)
	}
	await.True(t, await.Deadline, func() bool { _, err := r.scan(wholeState()); return err == nil }, "the place to become free")
}

// TestStopWaitsForScansInProgress, and not for those whose clients take nothing.
func TestStopWaitsForScansInProgress(t *testing.T) {
	const rows = 60
	r, store := start(t)
	for n := range rows {
		putState(t, store, fmt.Sprint(n), "s", make([]byte, 1<<18))
	}
	running, err := r.client.Scan(t.Context(), wholeState())
	require.NoError(t, err)
	_, err = running.Recv()
	require.NoError(t, err)
	stuck, err := scanv1.NewStorageClient(r.dial()).Scan(t.Context(), wholeState())
	require.NoError(t, err)
	_, err = stuck.Recv()
	require.NoError(t, err)

	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	got := 1
	require.NoError(t, receive(running, func(*scanv1.Pair) { got++ }))
	require.Equal(t, rows, got)
	select {
	case err := <-stopped:
		require.NoError(t, err)
	case <-time.After(await.Deadline):
		t.Fatal("it does not stop")
	}
	require.Error(t, receive(stuck, func(*scanv1.Pair) {}))
}

func TestDamagedRowFailsTheScan(t *testing.T) {
	r, store := start(t)
	space, err := store.Space(0)
	require.NoError(t, err)
	putRaw(t, space, []byte{0x08, 1}, nil)
	_, err = r.scan(&scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Prefix{Prefix: &scanv1.Key{
		Key: &scanv1.Key_Outbox{Outbox: &scanv1.Outbox{}},
	}}})
	require.Equal(t, codes.Internal, status.Code(err))
	_, err = r.scan(wholeState())
	require.NoError(t, err, "other tables can be read")
}

func TestConfigurationIsChecked(t *testing.T) {
	for want, change := range map[string]func(*storagereader.Config){
		"storage.concurrency_limit is 0": func(cfg *storagereader.Config) { cfg.ConcurrencyLimit = 0 },
		"storage.stall_timeout is 0s":    func(cfg *storagereader.Config) { cfg.StallTimeout = 0 },
	} {
		cfg := storagereader.DefaultConfig()
		change(&cfg)
		_, err := storagereader.New(cfg, storagereader.Deps{Checks: &health.Checks{}, Metrics: prometheus.NewRegistry()})
		require.ErrorContains(t, err, want)
	}
}
