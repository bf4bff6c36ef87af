package invoker

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	wirev5 "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// What an endpoint wishes does not count as an attempt, so without a least delay it could be called without a pause, for ever.
func TestWishesOfEndpoints(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		delay    *time.Duration
		behavior protocol.Behavior
	}{
		"no wish":           {err: errors.New("x")},
		"service, no delay": {err: &protocol.ServiceError{Behavior: protocol.BehaviorFail}, behavior: protocol.BehaviorFail},
		"service, a delay":  {err: &protocol.ServiceError{RetryDelay: new(time.Second)}, delay: new(time.Second)},
		"service, at once":  {err: &protocol.ServiceError{RetryDelay: new(time.Duration(0))}, delay: new(shortestDelay)},
		"busy, a delay":     {err: fmt.Errorf("call: %w", &busyError{errors.New("429"), 2 * time.Second}), delay: new(2 * time.Second)},
		"busy, at once":     {err: &busyError{errors.New("429"), 0}, delay: new(shortestDelay)},
		"future too deep":   {err: errcode.New(errcode.FutureTooDeep, "x"), behavior: protocol.BehaviorPause},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, wish{delay: c.delay, behavior: c.behavior}, wishOf(c.err))
		})
	}
}

// What is in the place of an endpoint may ask for any time. A policy that pauses for longer may be meant so.
func TestBusyIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		most   time.Duration
		want   *time.Duration
	}{
		"a while":                 {"120", time.Second, new(2 * time.Minute)},
		"years":                   {"2147483647", time.Second, new(time.Hour)},
		"years, a patient policy": {"2147483647", 3 * time.Hour, new(3 * time.Hour)},
		"longer than years":       {"99999999999999999999", time.Second, nil},
		"a date":                  {"Fri, 31 Dec 2100 23:59:59 GMT", time.Second, nil},
		"nothing":                 {"", time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := busyFor(errcode.New(errcode.EndpointBusy, "429"), c.header, schema.RetryPolicy{MaxInterval: c.most})
			require.Equal(t, wish{delay: c.want}, wishOf(err))
			require.Equal(t, errcode.EndpointBusy, codeOf(err))
		})
	}
}

// Why an invocation is paused is all that there is to see of it: without a word of the service too, and not without bound.
func TestPausedInvocationSaysWhy(t *testing.T) {
	for name, c := range map[string]struct{ said, told string }{
		"a word":   {"oh", "the service reports: oh"},
		"no word":  {"", "the service reports a failure without a message"},
		"too many": {strings.Repeat("x", 30<<10), "the service reports: " + strings.Repeat("x", maxLogged-len("the service reports: "))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var attempts atomic.Int32
			w := newWorld(t, func(*Config) {}, serve(t, map[string]http.HandlerFunc{"S": func(w http.ResponseWriter, _ *http.Request) {
				failure := &wirev5.Error{Code: 500, Message: c.said}
				if attempts.Add(1) == 2 {
					failure.Behavior = wirev5.Behavior_BEHAVIOR_PAUSE
				}
				_, _ = begins(w).Write(frameOf(wire.TypeError, failure))
			}}))
			paused := w.awaitEnd(t, w.start("S")).GetPaused()
			require.Equal(t, c.told, paused.GetFailure().GetMessage())
			require.Equal(t, "RT0007", paused.GetCode())
			require.Equal(t, uint32(2), paused.GetAttempts())
		})
	}
}
