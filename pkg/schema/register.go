package schema

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
)

// EndpointID names the endpoint with descriptors at a URI: authority and path, not the scheme, in base64url without
// padding, as in the server of 2023.
func EndpointID(uri string) string { return base64.RawURLEncoding.EncodeToString([]byte(address(uri))) }

// address returns the authority and the path of a URI.
func address(uri string) string {
	if _, rest, ok := strings.Cut(uri, "://"); ok {
		uri = rest
	}
	if !strings.Contains(uri, "/") {
		uri += "/"
	}
	return uri
}

// Registration is an endpoint to be registered.
type Registration struct {
	// Endpoint without its id, without what Discovery says, and without the services.
	Endpoint  Endpoint
	Discovery *Discovery
	// Force replaces an endpoint that is registered already, and implies Breaking.
	Force bool
	// Breaking lets revisions pass that are incompatible with those before.
	Breaking bool
	// Tolerated, where it is not nil, is told of each incompatible revision that passes. It may be told more than once.
	Tolerated func(err error)
}

// prepare returns a change of the document, and where it puts the endpoint.
func (r Registration) prepare() (apply func(before *Snapshot, d *document) error, registered *Endpoint) {
	registered = &Endpoint{}
	id := EndpointID(r.Endpoint.URI)
	if r.Discovery.MaxProtocolVersion != 0 {
		id = ids.NewDeploymentID(time.Now()).String()
	}
	return func(before *Snapshot, d *document) error {
		existing := d.at(r.Endpoint.URI)
		if existing != nil && !r.Force {
			return errcode.New(errcode.EndpointExists, "the URI %s is registered already, as endpoint %s", existing.URI, existing.ID)
		}
		endpoint := r.Endpoint.discovered(r.Discovery)
		endpoint.ID = id
		if existing != nil && existing.HasManifest() && endpoint.HasManifest() {
			endpoint.ID = existing.ID
		}
		if err := d.register(before, existing, endpoint, r); err != nil {
			return err
		}
		*registered = *endpoint
		return nil
	}, registered
}

// discovered returns the endpoint with what discovery says of it.
func (e Endpoint) discovered(d *Discovery) *Endpoint {
	e.ProtocolMode, e.DescriptorsHash = d.Mode, d.hash
	e.MinProtocolVersion, e.MaxProtocolVersion = d.MinProtocolVersion, d.MaxProtocolVersion
	if e.IsFunction() { // which answers once, whatever its SDK says
		e.ProtocolMode, e.Compression = ModeRequestResponse, d.Compression
	}
	return &e
}

// Register adds the endpoint and returns the snapshot that has it. The error is an *errcode.Error with EndpointExists,
// Incompatible or RegistryUnusable.
func (w *Writer) Register(ctx context.Context, r Registration) (*Snapshot, *Endpoint, error) {
	apply, registered := r.prepare()
	snapshot, err := w.change(ctx, r.Discovery.content(), apply)
	return snapshot, registered, err
}

// Preview returns what Register would, and registers nothing.
func (w *Writer) Preview(ctx context.Context, r Registration) (*Snapshot, *Endpoint, error) {
	apply, registered := r.prepare()
	snapshot, err := w.preview(ctx, r.Discovery.content(), apply)
	return snapshot, registered, err
}

// content returns what is stored of the discovery, by its hash.
func (d *Discovery) content() map[string][]byte { return map[string][]byte{d.hash: d.stored} }

// register puts the endpoint in the place of the existing one, which may be nil, and makes it serve the latest revision
// of each of its services.
func (d *document) register(before *Snapshot, existing, endpoint *Endpoint, r Registration) error {
	replaced := map[string]bool{}
	for name, service := range d.Services {
		if existing != nil && service.EndpointID == existing.ID {
			replaced[name] = true
		}
	}
	endpoint.Services = nil
	for _, service := range r.Discovery.Services {
		current := d.Services[service.Name]
		if before, ok := before.Service(service.Name); ok {
			if err := CheckCompatible(before, service); err != nil {
				if !r.Force && !r.Breaking {
					return err
				}
				if r.Tolerated != nil {
					r.Tolerated(err)
				}
			}
		}
		next := serviceDocument{EndpointID: endpoint.ID, Revision: current.Revision + 1}
		if !replaced[service.Name] {
			next.Settings = current.Settings
		}
		delete(replaced, service.Name)
		d.Services[service.Name] = next
		endpoint.Services = append(endpoint.Services, ServiceRef{Name: service.Name, Revision: next.Revision})
	}
	for name := range replaced { // no longer served
		delete(d.Services, name)
	}
	if existing != nil {
		*existing = *endpoint
		return nil
	}
	d.Endpoints = append(d.Endpoints, endpoint)
	return nil
}

// Remove drops an endpoint. Of services whose latest revision it serves, the latest one that another endpoint serves
// takes over; if it has descriptors, they are dropped, as in 2023. The error is an *errcode.Error.
func (w *Writer) Remove(ctx context.Context, id string) (*Snapshot, error) {
	return w.change(ctx, nil, func(_ *Snapshot, d *document) error {
		removed := d.endpoint(id)
		if removed == nil {
			return errcode.New(errcode.NotFound, "there is no endpoint %s", id)
		}
		d.Endpoints = slices.DeleteFunc(d.Endpoints, func(e *Endpoint) bool { return e.ID == id })
		for name, service := range d.Services {
			if service.EndpointID != id {
				continue
			}
			previous, ok := d.newest(name)
			if !ok || !removed.HasManifest() {
				delete(d.Services, name)
				continue
			}
			previous.Settings = service.Settings
			d.Services[name] = previous
		}
		return nil
	})
}
