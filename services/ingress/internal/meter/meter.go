// Package meter counts the requests of the ingress, whatever they speak.
package meter

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Meter has the figures of the ingress.
type Meter struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// New registers the figures. inProgress returns how many requests are in progress.
func New(registerer prometheus.Registerer, inProgress func() int64) (*Meter, error) {
	m := &Meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "restate_ingress_requests_total",
			Help: "Requests answered, by service, method and code. Those refused before a service was found have none.",
		}, []string{"service", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "restate_ingress_request_duration_seconds",
			Help:    "Time from the arrival of a request to its answer, which includes the invocation.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600},
		}, []string{"service", "method"}),
	}
	current := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "restate_ingress_requests_in_progress",
		Help: "Requests that are being read, waited for or answered.",
	}, func() float64 { return float64(inProgress()) })
	return m, errors.Join(registerer.Register(m.requests), registerer.Register(m.seconds), registerer.Register(current))
}

// Refused counts a request that was not looked into.
func (m *Meter) Refused(code string) { m.Ended("", "", code) }

// Ended counts a request that was answered with the code: ok, one of gRPC, or an HTTP status.
func (m *Meter) Ended(service, method, code string) {
	m.requests.WithLabelValues(service, method, code).Inc()
}

// Took notes how long a call took.
func (m *Meter) Took(service, method string, d time.Duration) {
	m.seconds.WithLabelValues(service, method).Observe(d.Seconds())
}

// Of returns the figures of one method, to be used again and again.
func (m *Meter) Of(service, method string) (requests *prometheus.CounterVec, seconds prometheus.Observer) {
	labels := prometheus.Labels{"service": service, "method": method}
	return m.requests.MustCurryWith(labels), m.seconds.With(labels)
}
