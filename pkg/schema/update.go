package schema

import (
	"context"
	"slices"

	"github.com/restate-go/restate/pkg/errcode"
)

// Update changes where an endpoint with a manifest is, or how it is reached.
type Update struct {
	ID string
	// Endpoint is as in a registration.
	Endpoint  Endpoint
	Discovery *Discovery
	// Overwrite replaces the services too, as a forced registration does. Without it they stay as they are, and have to be
	// served still.
	Overwrite bool
}

// Update changes an endpoint and returns the snapshot that has the change. The error is an *errcode.Error with NotFound,
// BadRequest, EndpointExists, Incompatible or RegistryUnusable.
func (w *Writer) Update(ctx context.Context, u Update) (*Snapshot, error) {
	return w.change(ctx, u.content(), u.apply)
}

// PreviewUpdate returns what Update would, and changes nothing.
func (w *Writer) PreviewUpdate(ctx context.Context, u Update) (*Snapshot, error) {
	return w.preview(ctx, u.content(), u.apply)
}

func (u Update) content() map[string][]byte {
	if !u.Overwrite {
		return nil
	}
	return u.Discovery.content()
}

func (u Update) apply(before *Snapshot, d *document) error {
	existing, other := d.endpoint(u.ID), d.at(u.Endpoint.URI)
	endpoint := u.Endpoint.discovered(u.Discovery)
	switch {
	case existing == nil:
		return errcode.New(errcode.NotFound, "there is no endpoint %s", u.ID)
	case other != nil && other.ID != u.ID:
		return errcode.New(errcode.EndpointExists, "the URI %s is registered already, as endpoint %s", other.URI, other.ID)
	case existing.MinProtocolVersion != endpoint.MinProtocolVersion || existing.MaxProtocolVersion != endpoint.MaxProtocolVersion:
		return errcode.New(errcode.BadRequest, "the endpoint speaks the service protocols %d to %d, and would speak %d to %d",
			existing.MinProtocolVersion, existing.MaxProtocolVersion, endpoint.MinProtocolVersion, endpoint.MaxProtocolVersion)
	}
	endpoint.ID = u.ID
	if u.Overwrite {
		return d.register(before, existing, endpoint, Registration{Discovery: u.Discovery, Force: true})
	}
	for _, registered := range before.ServicesOf(u.ID) {
		i := slices.IndexFunc(u.Discovery.Services, func(s *Service) bool { return s.Name == registered.Name })
		if i < 0 {
			return errcode.New(errcode.Incompatible, "the service %s is not served there", registered.Name)
		}
		if err := CheckCompatible(registered, u.Discovery.Services[i]); err != nil {
			return err
		}
	}
	endpoint.Services, endpoint.DescriptorsHash = existing.Services, existing.DescriptorsHash
	*existing = *endpoint
	return nil
}
