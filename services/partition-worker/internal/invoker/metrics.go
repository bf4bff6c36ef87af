package invoker

import "github.com/prometheus/client_golang/prometheus"

// Metrics of all invokers of a worker.
type Metrics struct {
	attempts prometheus.Counter
	failures *prometheus.CounterVec
	running  prometheus.Gauge
	waiting  prometheus.Gauge
	backoff  prometheus.Gauge
}

// NewMetrics registers the figures.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "restate_invoker_attempts_total", Help: "Attempts begun.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "restate_invoker_failures_total", Help: "Attempts failed, by error code; each is tried again.",
		}, []string{"code"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "restate_invoker_running", Help: "Attempts under way.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "restate_invoker_waiting", Help: "Invocations that wait for a free place to run.",
		}),
		backoff: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "restate_invoker_backing_off", Help: "Invocations between two attempts.",
		}),
	}
	registerer.MustRegister(m.attempts, m.failures, m.running, m.waiting, m.backoff)
	return m
}
