// Package health tells the outside whether a daemon lives and whether it is ready, and serves its metrics.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

// checkTimeout bounds one round of checks, so that a probe is answered even when what is probed hangs.
const checkTimeout = 2 * time.Second

// ErrDraining is why a daemon that stops is not ready.
var ErrDraining = errors.New("draining: the daemon stops")

// Check returns nil when the thing it is named for has caught up, and otherwise what is missing, in words for an operator.
// It must return soon after its context ends, and may be called from several goroutines.
type Check func(ctx context.Context) error

// Checks is the readiness of a process: it is ready while it does not drain and all checks pass. The zero value has no
// checks and is ready. It may be used from several goroutines.
type Checks struct {
	mu       sync.Mutex
	checks   map[string]Check
	draining bool
}

// Add registers a check, in place of the one with the same name.
func (c *Checks) Add(name string, check Check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checks == nil {
		c.checks = map[string]Check{}
	}
	c.checks[name] = check
}

// Drain makes the process not ready for good: the first step of stopping.
func (c *Checks) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
}

// Failing runs all checks at once, within 2 s, and returns what is missing by name; empty means ready.
func (c *Checks) Failing(ctx context.Context) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	c.mu.Lock()
	draining := c.draining
	type result struct {
		name string
		err  error
	}
	// The room for all results lets a check that overstays end by itself.
	results := make(chan result, len(c.checks))
	waiting := make(map[string]struct{}, len(c.checks))
	for name, check := range c.checks {
		waiting[name] = struct{}{}
		go func() { results <- result{name, check(ctx)} }()
	}
	c.mu.Unlock()

	failing := map[string]error{}
	if draining {
		failing["daemon"] = ErrDraining
	}
	for len(waiting) > 0 {
		select {
		case r := <-results:
			delete(waiting, r.name)
			if r.err != nil {
				failing[r.name] = r.err
			}
		case <-ctx.Done():
			for name := range waiting {
				failing[name] = errors.New("the check did not answer in time")
			}
			return failing
		}
	}
	return failing
}

type report struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty"`
}

func write(w http.ResponseWriter, code int, r report) {
	body, err := json.Marshal(r)
	if err != nil {
		code = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The status is sent; a probe that hung up has no use for the rest.
	_, _ = w.Write(append(body, '\n'))
}

// ServeAlive answers /health: 200 as long as the process can answer at all.
func ServeAlive(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, report{Status: "alive"})
}

// ServeReady answers /ready: 200 when every check passes, else 503 with what is missing by the name of the check.
func (c *Checks) ServeReady(w http.ResponseWriter, r *http.Request) {
	failing := c.Failing(r.Context())
	if len(failing) == 0 {
		write(w, http.StatusOK, report{Status: "ready"})
		return
	}
	reasons := make(map[string]string, len(failing))
	for name, err := range failing {
		reasons[name] = err.Error()
	}
	write(w, http.StatusServiceUnavailable, report{Status: "not ready", Checks: reasons})
}
