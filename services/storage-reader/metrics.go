package storagereader

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	scans   *prometheus.CounterVec
	rows    *prometheus.CounterVec
	bytes   prometheus.Counter
	refresh prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, inProgress func() float64) (*metrics, error) {
	m := &metrics{
		scans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "restate_storage_scans_total",
			Help: "Scans that have ended, by gRPC code.",
		}, []string{"code"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "restate_storage_rows_sent_total",
			Help: "Rows sent, by table.",
		}, []string{"table"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "restate_storage_value_bytes_sent_total",
			Help: "Size of the values sent.",
		}),
		refresh: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "restate_storage_refresh_seconds",
			Help:    "Time that a scan took at its beginning to catch up with the worker.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
	}
	current := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "restate_storage_scans_in_progress",
		Help: "Scans that are being answered.",
	}, inProgress)
	return m, errors.Join(registerer.Register(m.scans), registerer.Register(m.rows), registerer.Register(m.bytes),
		registerer.Register(m.refresh), registerer.Register(current))
}
