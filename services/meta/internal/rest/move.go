package rest

import (
	"context"
	"strings"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
)

// invocation is what an operation has to know of one.
type invocation struct {
	// found is false where no worker knows it, or not yet.
	found bool
	// begun says that an attempt has begun, or will without further ado.
	begun bool
	// handlers says that a manifest describes its service.
	handlers bool
	// pin is where it began, nil if it did not.
	pin *logv1.PinnedEndpoint
}

// cascades says whether a kill goes on to the calls that the invocation waits for, as it does except in 2023: a killed
// caller left them alone. One that is not found may have been accepted a moment ago, and call others before it is killed.
func (i invocation) cascades() bool { return i.handlers || !i.found }

// look finds out about an invocation.
func (a *API) look(ctx context.Context, id ids.InvocationID) (invocation, error) {
	view, err := a.Workers.Get(ctx, id)
	if errcode.Of(err, "") == errcode.NotFound {
		return invocation{}, nil
	}
	if err != nil {
		return invocation{}, err
	}
	i := view.GetInvocation()
	// One that a client runs has neither, and speaks the protocol of 2023.
	known := invocation{found: true, handlers: i.GetClientStream() == "", pin: i.GetPin()}
	if known.pin != nil {
		known.handlers = known.pin.GetServiceProtocolVersion() != 0
	} else if service, ok := a.Registry.Current().Service(i.GetTarget().GetService()); ok {
		known.handlers = service.Descriptor == nil
	}
	switch i.GetState() {
	case storagev1.Invocation_STATE_INVOKED, storagev1.Invocation_STATE_SUSPENDED, storagev1.Invocation_STATE_PAUSED:
		known.begun = true
	case storagev1.Invocation_STATE_SCHEDULED, storagev1.Invocation_STATE_INBOXED, storagev1.Invocation_STATE_COMPLETED,
		storagev1.Invocation_STATE_UNSPECIFIED:
	}
	return known, nil
}

// Names of deployments that are no ids.
const (
	keepDeployment   = "keep"
	latestDeployment = "latest"
)

// move finds the deployment that an invocation is to go on at; nil is the one that it is at. latest says that the latest
// was asked for. It has to speak the service protocol that the invocation began with.
func (a *API) move(ctx context.Context, id ids.InvocationID, deployment, otherwise string) (pin *logv1.PinnedEndpoint, latest bool, err error) {
	if deployment == "" {
		deployment = otherwise
	}
	named := strings.ToLower(deployment)
	if named == keepDeployment {
		return nil, false, nil
	}
	snapshot := a.Registry.Current()
	to, exists := snapshot.Endpoint(deployment)
	if named != latestDeployment && !exists {
		return nil, false, errcode.New(errcode.BadRequest,
			"deployment is %q, and has to be keep, latest or the id of a deployment", deployment)
	}
	view, err := a.Workers.Get(ctx, id)
	if err != nil {
		return nil, false, err
	}
	if named == latestDeployment {
		if to, err = latestOf(snapshot, view.GetInvocation().GetTarget().GetService()); err != nil {
			return nil, false, err
		}
	}
	version := to.MaxProtocolVersion
	if pinned := view.GetInvocation().GetPin(); pinned != nil {
		version = pinned.GetServiceProtocolVersion()
	}
	if version < to.MinProtocolVersion || version > to.MaxProtocolVersion {
		return nil, false, errcode.New(errcode.BadRequest,
			"the invocation %s began with version %d of the service protocol, and the deployment %s speaks %d to %d",
			id, version, to.ID, to.MinProtocolVersion, to.MaxProtocolVersion)
	}
	return &logv1.PinnedEndpoint{EndpointId: to.ID, ServiceProtocolVersion: version}, named == latestDeployment, nil
}

func latestOf(snapshot *schema.Snapshot, service string) (*schema.Endpoint, error) {
	if s, ok := snapshot.Service(service); ok {
		if to, ok := snapshot.Endpoint(s.EndpointID); ok {
			return to, nil
		}
	}
	return nil, errcode.New(errcode.BadRequest, "the service %s is not registered, so that there is no latest deployment", service)
}
