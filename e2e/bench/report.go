package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/restate-go/restate/e2e/load"
)

// Report is what a benchmark found.
type Report struct {
	Date time.Time `json:"date"`
	// Server says which server this was, in words, and Peer which one it was compared with; empty: none.
	Server string `json:"server"`
	Peer   string `json:"peer,omitempty"`
	// Processor and Cores of the machine.
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	// SyncMillis is how long the disk takes to make a small write durable.
	SyncMillis   float64       `json:"sync_ms"`
	Measurements []Measurement `json:"measurements"`
}

// Measurement is what was found about one scenario.
type Measurement struct {
	// Server is runtime or restate-server.
	Server   string   `json:"server"`
	Services Services `json:"services"`
	Scenario string   `json:"scenario"`
	Clients  int      `json:"clients"`
	// Repeat counts from 1.
	Repeat  int     `json:"repeat"`
	Seconds float64 `json:"seconds"`
	// Calls that were measured, their rate and their latencies in milliseconds.
	Calls     int     `json:"calls"`
	PerSecond float64 `json:"calls_per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	// CPU of the server and of the endpoint: the share of one core.
	CPU         float64 `json:"cpu_share"`
	EndpointCPU float64 `json:"endpoint_cpu_share"`
	// CPUPerCall and EndpointCPUPerCall are in milliseconds.
	CPUPerCall         float64 `json:"cpu_ms_per_call"`
	EndpointCPUPerCall float64 `json:"endpoint_cpu_ms_per_call"`
	// RSS is the memory of the server at the end, in bytes; 0: not known.
	RSS int64 `json:"rss_bytes"`
}

func (s setting) measurement(what scenario, result load.Result, used meter) Measurement {
	m := Measurement{
		Server: s.server.name, Services: s.services, Scenario: what.name, Clients: what.clients, Seconds: result.Elapsed.Seconds(), Calls: len(result.Latencies),
		PerSecond: result.PerSecond(), P50: millis(result.Quantile(0.5)), P99: millis(result.Quantile(0.99)),
		CPU:         used.serverUsed.cpu.Seconds() / result.Elapsed.Seconds(),
		EndpointCPU: used.endpointUsed.cpu.Seconds() / result.Elapsed.Seconds(),
		RSS:         used.serverUsed.rss,
	}
	if m.Calls > 0 {
		m.CPUPerCall = millis(used.serverUsed.cpu) / float64(m.Calls)
		m.EndpointCPUPerCall = millis(used.endpointUsed.cpu) / float64(m.Calls)
	}
	return m
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func newReport(ctx context.Context, cfg Config) (Report, error) {
	took, err := syncTime(cfg.Dir)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		Date: time.Now().UTC().Truncate(time.Second), Server: "the runtime at " + cfg.Ingress,
		Processor: processor(), Cores: runtime.NumCPU(), SyncMillis: millis(took),
	}
	if cfg.Ingress != "" {
		return r, nil
	}
	if r.Server, err = version(ctx, cfg.Binary, "version"); err != nil {
		return Report{}, err
	}
	if cfg.Apart {
		r.Server += " with its daemons apart"
	} else {
		r.Server += " in one process"
	}
	if cfg.Peer != "" {
		r.Peer, err = version(ctx, cfg.Peer, "--version")
	}
	return r, err
}

// version returns what a server says of its version.
func version(ctx context.Context, binary, ask string) (string, error) {
	answer, err := exec.CommandContext(ctx, binary, ask).Output() //nolint:gosec // the caller says what to run
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", binary, ask, err)
	}
	return strings.TrimSpace(string(answer)), nil
}

// WriteJSON writes the report for comparison with others.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// medians joins the repetitions of each scenario.
func medians(all []Measurement) []Measurement {
	type key struct {
		server, scenario string
		services         Services
		clients          int
	}
	repeated := map[key][]Measurement{}
	var order []key
	for _, m := range all {
		k := key{m.Server, m.Scenario, m.Services, m.Clients}
		if len(repeated[k]) == 0 {
			order = append(order, k)
		}
		repeated[k] = append(repeated[k], m)
	}
	joined := make([]Measurement, 0, len(order))
	for _, k := range order {
		of := repeated[k]
		joined = append(joined, Measurement{
			Server: k.server, Services: k.services, Scenario: k.scenario, Clients: k.clients,
			PerSecond: median(of, func(m Measurement) float64 { return m.PerSecond }),
			P50:       median(of, func(m Measurement) float64 { return m.P50 }),
			P99:       median(of, func(m Measurement) float64 { return m.P99 }),
			CPU:       median(of, func(m Measurement) float64 { return m.CPU }),
			RSS:       median(of, func(m Measurement) int64 { return m.RSS }),

			CPUPerCall:         median(of, func(m Measurement) float64 { return m.CPUPerCall }),
			EndpointCPUPerCall: median(of, func(m Measurement) float64 { return m.EndpointCPUPerCall }),
		})
	}
	return joined
}

// median returns the middle of the values; the lower one of two.
func median[T cmp.Ordered](of []Measurement, value func(Measurement) T) T {
	values := make([]T, len(of))
	for i, m := range of {
		values[i] = value(m)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
