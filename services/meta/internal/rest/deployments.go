package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
)

// registerDeployment is the manner of today: what is registered already is shown.
func (a *API) registerDeployment(c *gin.Context) error {
	var request api.RegisterDeploymentRequest
	if err := readMembers(c, &request); err != nil {
		return err
	}
	target, err := targetOf(request)
	if err != nil {
		return err
	}
	ctx, version2 := c.Request.Context(), apiVersion(c) == "/v2"
	_, known := a.Registry.Current().EndpointAt(target.URI.String())
	registration, err := a.discover(ctx, target)
	if err != nil {
		return err
	}
	registration.Endpoint.Metadata = request.Metadata
	registration.Breaking, registration.Force = request.Breaking, version2
	if request.Force != nil {
		registration.Force = *request.Force
	}
	snapshot, registered, err := a.commit(ctx, registration, request.DryRun)
	if errcode.Of(err, "") == errcode.EndpointExists && !version2 {
		known = true
		snapshot, registered, err = a.registeredAt(ctx, target.URI.String())
	}
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if known && !version2 {
		status = http.StatusOK
	}
	if status == http.StatusCreated && !request.DryRun {
		c.Header("Location", "deployments/"+deploymentID(c, registered.ID))
	}
	c.JSON(status, api.RegisterDeploymentResponse{
		ID: deploymentID(c, registered.ID), Services: a.servicesOf(c, snapshot, registered), Protocol: protocolOf(registered),
	})
	return nil
}

// registeredAt returns the endpoint that is at the URI.
func (a *API) registeredAt(ctx context.Context, uri string) (*schema.Snapshot, *schema.Endpoint, error) {
	snapshot, err := a.Writer.Latest(ctx)
	if err != nil {
		return nil, nil, err
	}
	e, ok := snapshot.EndpointAt(uri)
	if !ok {
		return nil, nil, errcode.New(errcode.NotFound, "the endpoint at %s has just been removed", uri)
	}
	return snapshot, e, nil
}

func protocolOf(e *schema.Endpoint) api.Protocol {
	return api.Protocol{MinProtocolVersion: e.MinProtocolVersion, MaxProtocolVersion: e.MaxProtocolVersion, SDKVersion: e.SDK}
}

func (a *API) servicesOf(c *gin.Context, snapshot *schema.Snapshot, e *schema.Endpoint) []api.Service {
	services := []api.Service{}
	view := a.viewer(c)
	for _, s := range snapshot.ServicesOf(e.ID) {
		services = append(services, view.service(s))
	}
	return services
}

// nanoseconds is RFC 3339 with all digits of a second.
const nanoseconds = "2006-01-02T15:04:05.000000000Z07:00"

// deploymentID writes the id of an endpoint for who asks. The command of the original, which names a version of the API,
// reads no ids of 2023, and fails on all deployments when one has such an id.
func deploymentID(c *gin.Context, id string) string {
	if apiVersion(c) == "" {
		return id
	}
	return ids.DeploymentIDOf(id)
}

func deploymentOf(c *gin.Context, e *schema.Endpoint) api.DeploymentInfo {
	info := api.DeploymentInfo{
		ID:        deploymentID(c, e.ID),
		CreatedAt: time.UnixMilli(int64(e.CreatedAt)).UTC().Format(nanoseconds), //nolint:gosec // set from a clock
		Protocol:  protocolOf(e), AdditionalHeaders: e.AdditionalHeaders, Metadata: e.Metadata,
	}
	if e.IsFunction() {
		info.ARN, info.AssumeRoleARN, info.Compression = e.URI, e.AssumeRole, e.Compression
		return info
	}
	info.URI, info.ProtocolType, info.HTTPVersion = e.URI, e.ProtocolMode, "HTTP/2.0"
	if e.HTTP1 {
		info.HTTPVersion = "HTTP/1.1"
	}
	return info
}

func (a *API) listDeployments(c *gin.Context) error {
	response := api.Deployments{Deployments: []api.Deployment{}}
	for _, e := range a.Registry.Current().Endpoints() {
		response.Deployments = append(response.Deployments, api.Deployment{DeploymentInfo: deploymentOf(c, e), Services: e.Services})
	}
	c.JSON(http.StatusOK, response)
	return nil
}

func (a *API) deployment(c *gin.Context) (*schema.Endpoint, error) {
	id := c.Param("deployment")
	if e, ok := a.Registry.Current().Endpoint(id); ok {
		return e, nil
	}
	if strings.HasPrefix(id, "dp_") {
		if _, err := ids.ParseDeploymentID(id); err != nil {
			return nil, errcode.Wrap(errcode.BadRequest, err)
		}
	}
	return nil, errcode.New(errcode.NotFound, "there is no deployment %s", id)
}

func (a *API) getDeployment(c *gin.Context) error {
	e, err := a.deployment(c)
	if err != nil {
		return err
	}
	a.showDeployment(c, a.Registry.Current(), e)
	return nil
}

func (a *API) showDeployment(c *gin.Context, snapshot *schema.Snapshot, e *schema.Endpoint) {
	c.JSON(http.StatusOK, api.DetailedDeployment{DeploymentInfo: deploymentOf(c, e), Services: a.servicesOf(c, snapshot, e)})
}

// updateDeployment asks the endpoint again whatever is changed.
func (a *API) updateDeployment(c *gin.Context) error {
	var request api.UpdateDeploymentRequest
	if err := readMembers(c, &request); err != nil {
		return err
	}
	e, err := a.deployment(c)
	if err != nil {
		return err
	}
	changed := request.URI != nil || request.UseHTTP11 != nil || request.ARN != nil || request.AssumeRoleARN != nil ||
		request.AdditionalHeaders != nil || request.Overwrite
	switch {
	case !changed:
		a.showDeployment(c, a.Registry.Current(), e)
		return nil
	case !e.HasManifest():
		return errcode.New(errcode.BadRequest, "the endpoint %s has protobuf services, and is named by its URI: register it again", e.ID)
	}
	target, err := changedTarget(e, request)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	registration, err := a.discover(ctx, target)
	if err != nil {
		return err
	}
	registration.Endpoint.CreatedAt, registration.Endpoint.Metadata = e.CreatedAt, e.Metadata
	update := schema.Update{ID: e.ID, Endpoint: registration.Endpoint, Discovery: registration.Discovery, Overwrite: request.Overwrite}
	write := a.Writer.Update
	if request.DryRun {
		write = a.Writer.PreviewUpdate
	}
	snapshot, err := write(ctx, update)
	if errcode.Of(err, "") == errcode.Incompatible {
		err = advise(err, `Serve there what is registered, or repeat with "overwrite": true.`)
	}
	if err != nil {
		return err
	}
	if !request.DryRun {
		a.settle(ctx, snapshot)
		a.Log.Info("changed an endpoint", "uri", registration.Endpoint.URI, "endpoint", e.ID)
	}
	updated, ok := snapshot.Endpoint(e.ID)
	if !ok {
		return errors.New("the endpoint that was changed is gone")
	}
	a.showDeployment(c, snapshot, updated)
	return nil
}

func (a *API) deleteDeployment(c *gin.Context) error {
	e, err := a.deployment(c)
	if err != nil {
		return err
	}
	return a.removeEndpoint(c, e)
}
