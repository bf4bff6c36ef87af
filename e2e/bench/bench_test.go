package bench

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/load"
)

// counters is a server with counters, which forgets the addition with the given number.
func counters(t *testing.T, forgotten int) *load.Conn {
	t.Helper()
	var mu sync.Mutex
	counts, additions := map[string]int{}, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Key string }
		_ = json.NewDecoder(r.Body).Decode(&request)
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/Add") {
			additions++
			if additions != forgotten {
				counts[request.Key]++
			}
		}
		_, _ = w.Write([]byte(`{"value": "` + strconv.Itoa(counts[request.Key]) + `"}`))
	}))
	t.Cleanup(server.Close)
	conn, err := load.Dial(t.Context(), strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func TestACallThatIsNotCountedIsFound(t *testing.T) {
	for _, keys := range []int{1, 5} {
		for _, forgotten := range []int{0, 7} {
			conn, work := counters(t, forgotten), newCounting(Protobuf.invoke, keys)
			add := work.client(0, conn)
			for range 20 {
				require.NoError(t, add())
			}
			err := work.verify(t.Context(), conn)
			if forgotten == 0 {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "additions")
			}
		}
	}
}

func TestChooseKnowsNamesAndClients(t *testing.T) {
	ids := func(names ...string) (ids []string) {
		chosen, err := choose(names)
		require.NoError(t, err)
		for _, s := range chosen {
			ids = append(ids, s.id())
		}
		return ids
	}
	require.Len(t, ids(), len(scenarios()))
	require.Equal(t, []string{"hello-1", "hello-64", "hello-256", "counter-1", "counter-64"}, ids("counter", "hello"))
	require.Equal(t, []string{"idle", "hello-64"}, ids("hello-64", "idle"))
	_, err := choose([]string{"helo"})
	require.ErrorContains(t, err, `no scenario "helo"; there are chain, chain-1,`)
}

// processorTime is what the kernel tells this process of the time that it had.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestUsageOfThisProcess(t *testing.T) {
	var used meter
	used.server = []int{os.Getpid()}
	require.NoError(t, used.begin())
	began := processorTime(t)
	for processorTime(t)-began < 100*time.Millisecond {
		continue // it takes time of the processor
	}
	require.NoError(t, used.end())
	require.Greater(t, used.serverUsed.cpu, 20*time.Millisecond)
	require.Less(t, used.serverUsed.cpu, 10*time.Second)
	require.Greater(t, used.serverUsed.rss, int64(1<<20))
	_, err := usageOf([]int{-1})
	require.Error(t, err)
}

func TestTableHasMedians(t *testing.T) {
	report := Report{Server: "restate 1.0", Cores: 2, SyncMillis: 0.5}
	for _, rate := range []float64{100, 900, 200} {
		report.Measurements = append(report.Measurements,
			Measurement{Server: runtimeName, Services: Light, Scenario: idle, CPU: 0.01, RSS: 64e6},
			Measurement{Server: runtimeName, Services: Light, Scenario: "hello", Clients: 64, PerSecond: rate, P50: 1000 / rate, P99: 10, CPUPerCall: 0.2, CPU: 0.5, RSS: 80e6})
	}
	var table strings.Builder
	require.NoError(t, report.WriteTable(&table))
	lines := strings.Split(table.String(), "\n")
	require.Len(t, lines, 8)
	require.Equal(t, []string{"idle", "1.0", "%", "64"}, strings.Fields(lines[5]))
	require.Equal(t, []string{"hello", "64", "200", "5.00", "10.00", "0.200", "50.0", "%", "80", "0.000"}, strings.Fields(lines[6]))
}

func TestTableComparesWithThePeer(t *testing.T) {
	of := func(server string, scale float64) Measurement {
		return Measurement{
			Server: server, Services: Light, Scenario: "hello", Clients: 1,
			PerSecond: 300 * scale, P50: 3 / scale, P99: 9 / scale, CPU: 0.5, CPUPerCall: 1 / scale, RSS: 100e6,
		}
	}
	report := Report{Peer: "peer 1", Measurements: []Measurement{of(peerName, 1), of(runtimeName, 2)}}
	var table strings.Builder
	require.NoError(t, report.WriteTable(&table))
	lines := strings.Split(table.String(), "\n")
	require.Equal(t, "compared with peer 1", lines[3])
	require.Equal(t, []string{"hello", "1", "600", "1.50"}, strings.Fields(lines[7])[:4])
	require.Equal(t, []string{peerName, "1", "300", "3.00"}, strings.Fields(lines[8])[:4])
	require.Equal(t, []string{"ratio", "2.00", "0.50", "0.50", "0.50", "1.00", "1.00"}, strings.Fields(lines[9]))
}
