package rest

import (
	"errors"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/restate-go/restate/pkg/schema"
)

type metrics struct{ seconds *prometheus.HistogramVec }

func newMetrics(registerer prometheus.Registerer, registry *schema.Registry) (*metrics, error) {
	m := &metrics{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "restate_meta_request_duration_seconds",
		Help:    "Time to answer a request, by route and status. A registration includes the discovery of the endpoint.",
		Buckets: []float64{.001, .005, .025, .1, .5, 1, 2.5, 5, 10, 15},
	}, []string{"method", "route", "status"})}
	endpoints := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "restate_meta_endpoints",
		Help: "Service endpoints that are registered.",
	}, func() float64 { return float64(len(registry.Current().Endpoints())) })
	services := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "restate_meta_services",
		Help: "Services that are registered.",
	}, func() float64 { return float64(len(registry.Current().Services())) })
	return m, errors.Join(registerer.Register(m.seconds), registerer.Register(endpoints), registerer.Register(services))
}

// of measures the requests to a route.
func (m *metrics) of(route string) gin.HandlerFunc {
	return func(c *gin.Context) {
		began := time.Now()
		c.Next()
		m.seconds.WithLabelValues(c.Request.Method, route, strconv.Itoa(c.Writer.Status())).Observe(time.Since(began).Seconds())
	}
}
