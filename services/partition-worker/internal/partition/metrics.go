package partition

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of all partitions of a worker.
type Metrics struct {
	records  prometheus.Counter
	commits  prometheus.Histogram
	failures prometheus.Counter
	parked   prometheus.Gauge
	lag      *prometheus.GaugeVec
	outbox   *prometheus.GaugeVec
}

// NewMetrics registers the figures.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "restate_partition_records_applied_total",
			Help: "Log records applied.",
		}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "restate_partition_commit_seconds",
			Help:    "Time from reading a run of batches to having them committed.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "restate_partition_failures_total",
			Help: "How often a log could not be read or the database not be written. It is tried again.",
		}),
		parked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "restate_partition_parked",
			Help: "Partitions that do nothing more, because their log or state is damaged.",
		}),
	}
	m.lag = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "restate_partition_log_lag",
		Help: "Batches of the log that followed the last one applied, by partition.",
	}, []string{"partition"})
	m.outbox = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "restate_partition_outbox_messages",
		Help: "Messages to ingresses and other partitions that are not known to have arrived, by partition.",
	}, []string{"partition"})
	registerer.MustRegister(m.records, m.commits, m.failures, m.parked, m.lag, m.outbox)
	return m
}

func (m *Metrics) committed(records int, took time.Duration) {
	m.records.Add(float64(records))
	m.commits.Observe(took.Seconds())
}
