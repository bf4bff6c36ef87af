package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
	"github.com/restate-go/restate/services/meta/internal/openapi"
)

func (a *API) service(c *gin.Context) (*schema.Service, error) {
	s, ok := a.Registry.Current().Service(c.Param("service"))
	if !ok {
		return nil, errcode.New(errcode.NotFound, "there is no service %s", c.Param("service"))
	}
	return s, nil
}

func (a *API) listServices(c *gin.Context) error {
	response := api.Services{Services: []api.Service{}}
	view := a.viewer(c)
	for _, s := range a.Registry.Current().Services() {
		response.Services = append(response.Services, view.service(s))
	}
	c.JSON(http.StatusOK, response)
	return nil
}

func (a *API) getService(c *gin.Context) error {
	s, err := a.service(c)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, a.viewer(c).service(s))
	return nil
}

func (a *API) modifyService(c *gin.Context) error {
	var request api.ModifyRequest
	if err := readMembers(c, &request); err != nil {
		return err
	}
	name := c.Param("service")
	if schema.Reserved(name) {
		return advise(errcode.New(errcode.NotAllowed, "%s belongs to the runtime", name), "GET /services lists those that can be changed.")
	}
	if request == (api.ModifyRequest{}) {
		return a.getService(c)
	}
	snapshot, err := a.Writer.Modify(c.Request.Context(), name, schema.Settings{
		Public:               request.Public,
		IdempotencyRetention: (*time.Duration)(request.IdempotencyRetention),
		WorkflowRetention:    (*time.Duration)(request.WorkflowRetention),
		JournalRetention:     (*time.Duration)(request.JournalRetention),
		InactivityTimeout:    (*time.Duration)(request.InactivityTimeout),
		AbortTimeout:         (*time.Duration)(request.AbortTimeout),
	})
	if err != nil {
		return err
	}
	a.settle(c.Request.Context(), snapshot)
	s, ok := snapshot.Service(name)
	if !ok {
		return errcode.New(errcode.NotFound, "there is no service %s", name)
	}
	c.JSON(http.StatusOK, a.viewer(c).service(s))
	return nil
}

func (a *API) listMethods(c *gin.Context) error {
	s, err := a.service(c)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.Methods{Methods: viewer{c: c}.service(s).Methods})
	return nil
}

func (a *API) getMethod(c *gin.Context) error {
	s, err := a.service(c)
	if err != nil {
		return err
	}
	m, ok := s.Method(c.Param("method"))
	if !ok {
		return errcode.New(errcode.NotFound, "the service %s has no method %s", s.Name, c.Param("method"))
	}
	c.JSON(http.StatusOK, methodOf(m))
	return nil
}

func (a *API) listHandlers(c *gin.Context) error {
	s, err := a.service(c)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, api.Handlers{Handlers: viewer{c: c}.service(s).Handlers})
	return nil
}

func (a *API) getHandler(c *gin.Context) error {
	if s, ok := a.Registry.Current().Service(c.Param("service")); ok {
		if m, ok := s.Method(c.Param("handler")); ok {
			c.JSON(http.StatusOK, handlerOf(s, m))
			return nil
		}
	}
	return errcode.New(errcode.NotFound, "there is no handler %s/%s", c.Param("service"), c.Param("handler"))
}

// describe answers how a service is called at the ingress.
func (a *API) describe(c *gin.Context) error {
	s, err := a.service(c)
	if err != nil {
		return err
	}
	if s.Descriptor != nil {
		return errcode.New(errcode.NotFound, "the service %s has protobuf messages: its descriptors describe it", s.Name)
	}
	revision := strconv.FormatUint(uint64(s.Revision), 10)
	c.JSON(http.StatusOK, openapi.Document(openapi.Config{Ingress: a.Ingress, Title: s.Name, Version: revision}, s))
	return nil
}

func (a *API) describeAll(c *gin.Context) error {
	snapshot := a.Registry.Current()
	revision := strconv.FormatUint(snapshot.Revision(), 10)
	c.JSON(http.StatusOK, openapi.Document(openapi.Config{Ingress: a.Ingress, Title: "Services", Version: revision}, snapshot.Services()...))
	return nil
}

func (a *API) version(c *gin.Context) error {
	version := api.Version{
		Version: a.Version, MinAdminAPIVersion: minAPIVersion, MaxAdminAPIVersion: maxAPIVersion,
		// What the original may have, and this runtime has always or not at all.
		Features: map[string]bool{"vqueues": false, "protocol_v7": true, "scoped_virtual_objects": false},
	}
	if a.Ingress != "" {
		version.IngressEndpoint = &a.Ingress
	}
	c.JSON(http.StatusOK, version)
	return nil
}

func (a *API) descriptors(c *gin.Context) error {
	s, err := a.service(c)
	if err != nil {
		return err
	}
	if s.Descriptor == nil {
		return errcode.New(errcode.NotFound, "the service %s has no protobuf messages", s.Name)
	}
	encoded, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: schema.DescriptorsOf(s)})
	if err != nil {
		return err
	}
	c.Data(http.StatusOK, "application/x-protobuf", encoded)
	return nil
}
