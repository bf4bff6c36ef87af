// Package schema is the registry of service endpoints and the services they serve: how it is kept, how every daemon
// sees it, and what a service's descriptors say about its requests.
package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/restate-go/restate/pkg/ids"
)

// document is the registry as it is stored.
type document struct {
	Endpoints []*Endpoint                `json:"endpoints"`
	Services  map[string]serviceDocument `json:"services"`
	Limits    Limits                     `json:"limits,omitzero"`
}

type serviceDocument struct {
	EndpointID string `json:"endpoint_id"`
	Revision   uint32 `json:"revision"`
	Settings
}

func (d *document) endpoint(id string) *Endpoint {
	for _, e := range d.Endpoints {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// at returns the endpoint at a URI, whatever its scheme.
func (d *document) at(uri string) *Endpoint {
	for _, e := range d.Endpoints {
		if address(e.URI) == address(uri) {
			return e
		}
	}
	return nil
}

// newest returns where the latest revision of a service is that an endpoint serves.
func (d *document) newest(service string) (at serviceDocument, ok bool) {
	for _, e := range d.Endpoints {
		for _, ref := range e.Services {
			if ref.Name == service && ref.Revision > at.Revision {
				at, ok = serviceDocument{EndpointID: e.ID, Revision: ref.Revision}, true
			}
		}
	}
	return at, ok
}

// Snapshot is the registry at one revision. It does not change.
type Snapshot struct {
	revision uint64
	document document
	// endpoints are found by id, in the form of a deployment's too.
	endpoints map[string]*Endpoint
	services  map[string]*Service
	// loaded holds the descriptors by hash, so that the next snapshot need not load them again.
	loaded map[string]*Discovered
}

func emptySnapshot() *Snapshot {
	return &Snapshot{document: document{Services: map[string]serviceDocument{}}}
}

// newSnapshot builds the view of a document. fetch returns stored descriptors by hash.
func newSnapshot(revision uint64, d document, previous *Snapshot, fetch func(hash string) ([]byte, error)) (*Snapshot, error) {
	s := &Snapshot{
		revision: revision, document: d,
		endpoints: map[string]*Endpoint{}, services: map[string]*Service{}, loaded: map[string]*Discovered{},
	}
	for _, endpoint := range d.Endpoints {
		s.endpoints[ids.DeploymentIDOf(endpoint.ID)] = endpoint
		s.endpoints[endpoint.ID] = endpoint
		discovered := previous.loaded[endpoint.DescriptorsHash]
		if discovered == nil {
			encoded, err := fetch(endpoint.DescriptorsHash)
			if err != nil {
				return nil, fmt.Errorf("descriptors of the endpoint %s: %w", endpoint.ID, err)
			}
			if discovered, err = decode(encoded); err != nil {
				return nil, fmt.Errorf("descriptors of the endpoint %s: %w", endpoint.ID, err)
			}
		}
		s.loaded[endpoint.DescriptorsHash] = discovered
		for _, service := range discovered.Services {
			latest, ok := d.Services[service.Name]
			if !ok || latest.EndpointID != endpoint.ID {
				continue
			}
			current := *service
			current.EndpointID, current.Revision, current.Mode = latest.EndpointID, latest.Revision, endpoint.ProtocolMode
			latest.apply(&current)
			d.Limits.apply(&current)
			s.services[service.Name] = &current
		}
	}
	return s, nil
}

// Revision grows with every change of the registry.
func (s *Snapshot) Revision() uint64 { return s.revision }

// Service returns the latest revision of the service with the name.
func (s *Snapshot) Service(name string) (*Service, bool) {
	service, ok := s.services[name]
	return service, ok
}

// Endpoint returns the endpoint with the id, which may be written as that of a deployment (ids.DeploymentIDOf).
func (s *Snapshot) Endpoint(id string) (*Endpoint, bool) {
	endpoint, ok := s.endpoints[id]
	return endpoint, ok
}

// EndpointAt returns the endpoint at a URI. Endpoints at the same authority and path are one, whatever their scheme.
func (s *Snapshot) EndpointAt(uri string) (*Endpoint, bool) {
	endpoint := s.document.at(uri)
	return endpoint, endpoint != nil
}

// ServicesOf returns the revisions of services that the endpoint with the id serves, in the order of discovery. Where a
// service has a later revision elsewhere, its settings are not those of the endpoint's.
func (s *Snapshot) ServicesOf(id string) []*Service {
	endpoint, ok := s.endpoints[id]
	if !ok {
		return nil
	}
	var services []*Service
	for _, service := range s.loaded[endpoint.DescriptorsHash].Services {
		if latest, ok := s.services[service.Name]; ok && latest.EndpointID == id {
			services = append(services, latest)
			continue
		}
		for _, ref := range endpoint.Services {
			if ref.Name == service.Name {
				older := *service
				older.EndpointID, older.Revision, older.Mode = id, ref.Revision, endpoint.ProtocolMode
				s.document.Limits.apply(&older)
				services = append(services, &older)
			}
		}
	}
	return services
}

// OnlyAt returns the names of the services that would be gone with the endpoint.
func (s *Snapshot) OnlyAt(id string) []string {
	var names []string
	for name, service := range s.document.Services {
		elsewhere := func(e *Endpoint) bool {
			return e.ID != id && slices.ContainsFunc(e.Services, func(ref ServiceRef) bool { return ref.Name == name })
		}
		if service.EndpointID == id && (!s.endpoints[id].HasManifest() || !slices.ContainsFunc(s.document.Endpoints, elsewhere)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Services returns the services in order of their names.
func (s *Snapshot) Services() []*Service {
	services := make([]*Service, 0, len(s.services))
	for _, service := range s.services {
		services = append(services, service)
	}
	slices.SortFunc(services, func(a, b *Service) int { return strings.Compare(a.Name, b.Name) })
	return services
}

// Endpoints returns the endpoints in order of registration.
func (s *Snapshot) Endpoints() []*Endpoint { return s.document.Endpoints }
