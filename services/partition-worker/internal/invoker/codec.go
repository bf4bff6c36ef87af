package invoker

import (
	"time"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
	v0 "github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol/v0"
	v5 "github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol/v5"
)

// codecFor returns what an attempt is spoken with: what the invocation began with, or else the latest that the endpoint
// speaks.
func codecFor(pin *logv1.PinnedEndpoint, to *schema.Endpoint) (protocol.Codec, error) {
	version := min(to.MaxProtocolVersion, schema.MaxServiceProtocol)
	if pin != nil {
		version = pin.GetServiceProtocolVersion()
	}
	if version < to.MinProtocolVersion || version > to.MaxProtocolVersion {
		return nil, errcode.New(errcode.VersionUnusable,
			"the invocation began with the service protocol %d, and the endpoint %s speaks %d to %d",
			version, to.ID, to.MinProtocolVersion, to.MaxProtocolVersion)
	}
	if version == 0 {
		return v0.Codec{}, nil
	}
	codec, ok := v5.New(version)
	if !ok {
		return nil, errcode.New(errcode.VersionUnusable, "the runtime does not speak the service protocol %d", version)
	}
	return codec, nil
}

// pinTo is what an invocation that begins goes on with until its end.
func pinTo(to *schema.Endpoint, codec protocol.Codec) *logv1.PinnedEndpoint {
	return &logv1.PinnedEndpoint{EndpointId: to.ID, ServiceProtocolVersion: codec.Version()}
}

// settings are how the attempts of one handler are made.
type settings struct {
	inactivity, abort time.Duration
	retry             schema.RetryPolicy
	// lazy has the endpoint ask for the state.
	lazy bool
}

// settings returns what is in force: what the handler says, or else the configuration.
func (t *task) settings() settings {
	cfg := t.v.cfg
	s := settings{
		inactivity: time.Duration(cfg.InactivityTimeout), abort: time.Duration(cfg.AbortTimeout), retry: cfg.RetryPolicy.policy(),
	}
	service, ok := t.v.deps.Schema().Service(t.invocation.Target.GetService())
	if !ok {
		return s
	}
	method, ok := service.Method(t.invocation.Target.GetHandler())
	if !ok {
		return s
	}
	o := method.Options
	if o.InactivityTimeout != nil {
		s.inactivity = *o.InactivityTimeout
	}
	if o.AbortTimeout != nil {
		s.abort = *o.AbortTimeout
	}
	if o.Retry != nil {
		s.retry = *o.Retry
	}
	s.lazy = o.LazyState
	return s
}
