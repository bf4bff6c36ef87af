// Package rest is the REST API of meta. One table of routes drives the router and the OpenAPI document.
package rest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/restate-go/restate/pkg/broker"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
	"github.com/restate-go/restate/services/meta/internal/discovery"
	"github.com/restate-go/restate/services/meta/internal/operations"
	"github.com/restate-go/restate/services/meta/internal/workers"
)

// API is what the routes work on.
type API struct {
	Conn       *broker.Conn
	Registry   *schema.Registry
	Writer     *schema.Writer
	Discovery  *discovery.Client
	Workers    *workers.Client
	Operations *operations.Client
	// Version is the release that is told to clients, Ingress where they send requests to services.
	Version, Ingress string
	// Probes serves /health, /ready and /metrics.
	Probes  http.Handler
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

const (
	// maxBody bounds request bodies, in bytes.
	maxBody = 1 << 20
	// maxStateBody bounds those with state, whose bytes are written as numbers.
	maxStateBody = 32 << 20
)

// route is one operation of the API.
type route struct {
	method, path string
	// id and summary are for the document.
	id, summary string
	query       []parameter
	// request and response are examples of the bodies' types; nil where there is none.
	request, response any
	// media is the type of the response where it is not JSON.
	media  string
	status int
	// others are answers with a status of their own, by examples of their bodies' types; nil where there is none.
	others map[int]any
	// body bounds the request body, in bytes; 0 is maxBody.
	body int64
	// probe marks what is served above the limit of requests too.
	probe  bool
	handle func(c *gin.Context) error
}

type parameter struct{ name, kind, description string }

func (a *API) probes() []route {
	probe := func(path string) func(*gin.Context) error {
		return func(c *gin.Context) error {
			request := c.Request.Clone(c.Request.Context())
			request.URL.Path, request.URL.RawPath = path, "" // without the version of the API
			a.Probes.ServeHTTP(c.Writer, request)
			return nil
		}
	}
	return []route{
		{
			method: http.MethodGet, path: "/health", id: "health", summary: "Answers as long as the process lives",
			response: api.Probe{}, status: http.StatusOK, probe: true, handle: probe("/health"),
		},
		{
			method: http.MethodGet, path: "/ready", id: "ready", summary: "Whether all daemons of the process have caught up",
			response: api.Probe{}, status: http.StatusOK, others: map[int]any{http.StatusServiceUnavailable: api.Probe{}},
			probe: true, handle: probe("/ready"),
		},
		{
			method: http.MethodGet, path: "/metrics", id: "metrics", summary: "Figures of the process in the format of Prometheus",
			media: "text/plain", status: http.StatusOK, probe: true, handle: probe("/metrics"),
		},
	}
}

// NewHandler serves the API. At most limit requests are served at a time, probes not counted.
func NewHandler(a *API, limit int) (http.Handler, error) {
	measured, err := newMetrics(a.Metrics, a.Registry)
	if err != nil {
		return nil, fmt.Errorf("register the figures of meta: %w", err)
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.UseRawPath, engine.UnescapePathValues = true, true
	engine.Use(a.recovery())
	bounded := bound(limit)
	routes := a.routes()
	var document object
	routes = append(routes, route{
		method: http.MethodGet, path: "/openapi", id: "openapi", summary: "This document",
		response: object{}, status: http.StatusOK,
		handle: func(c *gin.Context) error {
			c.JSON(http.StatusOK, document)
			return nil
		},
	})
	document = openAPI(routes)
	for _, r := range routes {
		chain := []gin.HandlerFunc{measured.of(r.path), bounded, a.serve(r)}
		if r.probe {
			chain = []gin.HandlerFunc{a.serve(r)}
		}
		for _, prefix := range apiVersions() {
			engine.Handle(r.method, prefix+ginPath(r.path), chain...)
		}
	}
	engine.NoRoute(func(c *gin.Context) { a.fail(c, noRoute(c.Request.URL.Path)) })
	engine.NoMethod(func(c *gin.Context) {
		a.fail(c, &statusError{http.StatusMethodNotAllowed,
			errcode.New(errcode.BadRequest, "%s does not take %s", c.Request.URL.Path, c.Request.Method)})
	})
	return engine, nil
}

// serve runs a route.
func (a *API) serve(r route) gin.HandlerFunc {
	limit := cmp.Or(r.body, maxBody)
	return func(c *gin.Context) {
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, limit)
		if err := r.handle(c); err != nil {
			a.fail(c, err)
		}
	}
}

// The versions of the API, each a prefix of every route. They differ in how a deployment
// is registered only; without one, ids of endpoints are those of 2023.
const (
	minAPIVersion = 2
	maxAPIVersion = 4
)

func apiVersions() []string {
	prefixes := []string{""}
	for v := minAPIVersion; v <= maxAPIVersion; v++ {
		prefixes = append(prefixes, "/v"+strconv.Itoa(v))
	}
	return prefixes
}

// noRoute is the error of a path that is not served. The command of the original asks SQL for much of what it shows.
func noRoute(path string) error {
	for _, prefix := range apiVersions() {
		if path == prefix+"/query" {
			return advise(errcode.New(errcode.NotFound, "SQL is not served"), "Use `bin/restate invocations ...` and "+
				"`bin/restate storage scan ...`; docs/api.md says which commands of the original's work with this runtime.")
		}
	}
	return advise(errcode.New(errcode.NotFound, "there is no %s", path), "GET /openapi lists what there is.")
}

// apiVersion returns the version that a request names, as the prefix of its route; it may name none.
func apiVersion(c *gin.Context) string {
	for _, prefix := range apiVersions() {
		if prefix != "" && strings.HasPrefix(c.FullPath(), prefix+"/") {
			return prefix
		}
	}
	return ""
}

// ginPath turns {name} into gin's form.
func ginPath(path string) string {
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}

// bound refuses requests above the limit.
func bound(limit int) gin.HandlerFunc {
	places := make(chan struct{}, limit)
	return func(c *gin.Context) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			c.Next()
		default:
			failWith(c, http.StatusTooManyRequests, errcode.New(errcode.Unavailable, "meta has %d requests in progress", limit))
		}
	}
}

// recovery keeps a fault in one request from ending the daemon.
func (a *API) recovery() gin.HandlerFunc {
	return gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, fault any) {
		a.Log.ErrorContext(context.WithoutCancel(c.Request.Context()), "a request failed unexpectedly",
			"method", c.Request.Method, "path", c.Request.URL.Path, "fault", fault, "stack", string(debug.Stack()))
		failWith(c, http.StatusInternalServerError, errcode.New(errcode.Unexpected, "the request failed unexpectedly"))
	})
}
