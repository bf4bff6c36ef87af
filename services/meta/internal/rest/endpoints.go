package rest

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
)

// register is the manner of 2023: what is registered already is refused, without asking the endpoint.
func (a *API) register(c *gin.Context) error {
	var request api.RegisterRequest
	if err := readJSON(c, &request); err != nil {
		return err
	}
	target, err := newTarget(request.URI, request.AdditionalHeaders, false)
	if err != nil {
		return err
	}
	if e, ok := a.Registry.Current().EndpointAt(target.URI.String()); ok && !request.Force {
		c.Header("Location", "/endpoints/"+e.ID)
		return errcode.New(errcode.EndpointExists, "the URI %s is registered already, as endpoint %s", target.URI, e.ID)
	}
	registration, err := a.discover(c.Request.Context(), target)
	if err != nil {
		return err
	}
	registration.Force = request.Force
	_, registered, err := a.commit(c.Request.Context(), registration, false)
	if err != nil {
		return err
	}
	c.Header("Location", "/endpoints/"+registered.ID)
	c.JSON(http.StatusCreated, api.RegisterResponse{ID: registered.ID, Services: registered.Services})
	return nil
}

func endpointOf(e *schema.Endpoint) api.Endpoint {
	endpoint := api.Endpoint{
		ID: e.ID, URI: e.URI, ProtocolType: e.ProtocolMode, AdditionalHeaders: e.AdditionalHeaders, Services: e.Services,
	}
	if e.IsFunction() {
		endpoint.URI, endpoint.ARN, endpoint.AssumeRoleARN = "", e.URI, e.AssumeRole
	}
	return endpoint
}

func (a *API) listEndpoints(c *gin.Context) error {
	response := api.Endpoints{Endpoints: []api.Endpoint{}}
	for _, e := range a.Registry.Current().Endpoints() {
		response.Endpoints = append(response.Endpoints, endpointOf(e))
	}
	c.JSON(http.StatusOK, response)
	return nil
}

func (a *API) endpoint(c *gin.Context) (*schema.Endpoint, error) {
	e, ok := a.Registry.Current().Endpoint(c.Param("endpoint"))
	if !ok {
		return nil, errcode.New(errcode.NotFound, "there is no endpoint %s", c.Param("endpoint"))
	}
	return e, nil
}

func (a *API) getEndpoint(c *gin.Context) error {
	e, err := a.endpoint(c)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, endpointOf(e))
	return nil
}

func (a *API) deleteEndpoint(c *gin.Context) error {
	e, err := a.endpoint(c)
	if err != nil {
		return err
	}
	return a.removeEndpoint(c, e)
}
