package schema

import (
	"context"
	"errors"
	"slices"
	"time"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
)

// Settings are an operator's word on a service, which goes over what discovery said of it and of its handlers. What is
// nil is as discovered. They outlive new revisions, but not the replacement of their endpoint by force.
type Settings struct {
	// Public says whether requests from outside may call the service.
	Public *bool `json:"public,omitempty"`
	// The others are as in Options.
	IdempotencyRetention *time.Duration `json:"idempotency_retention,omitempty"`
	WorkflowRetention    *time.Duration `json:"workflow_retention,omitempty"`
	JournalRetention     *time.Duration `json:"journal_retention,omitempty"`
	InactivityTimeout    *time.Duration `json:"inactivity_timeout,omitempty"`
	AbortTimeout         *time.Duration `json:"abort_timeout,omitempty"`
}

// over returns the settings with what others say besides.
func (s Settings) over(others Settings) Settings {
	merge(&s.Public, others.Public)
	merge(&s.IdempotencyRetention, others.IdempotencyRetention)
	merge(&s.WorkflowRetention, others.WorkflowRetention)
	merge(&s.JournalRetention, others.JournalRetention)
	merge(&s.InactivityTimeout, others.InactivityTimeout)
	merge(&s.AbortTimeout, others.AbortTimeout)
	return s
}

func merge[T any](to **T, other *T) {
	if *to == nil {
		*to = other
	}
}

// check says whether the settings make sense for the service.
func (s Settings) check(service *Service) error {
	switch {
	case s.WorkflowRetention != nil && service.Kind != journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
		return errors.New("only workflows have a retention of their completion")
	case (s.IdempotencyRetention != nil || s.JournalRetention != nil) && service.Descriptor != nil:
		return errors.New("the retention of results of a protobuf service is set by each request")
	}
	return nil
}

// apply changes a service that is not shared yet; its methods may be.
func (s Settings) apply(service *Service) {
	if s.Public != nil {
		service.Public = *s.Public
	}
	if s == (Settings{Public: s.Public}) {
		return
	}
	s.applyOptions(&service.Options)
	service.Methods = slices.Clone(service.Methods)
	for i, m := range service.Methods {
		method := *m
		s.applyOptions(&method.Options)
		service.Methods[i] = &method
	}
}

func (s Settings) applyOptions(o *Options) {
	for _, set := range []struct {
		given *time.Duration
		to    *time.Duration
	}{
		{s.IdempotencyRetention, &o.IdempotencyRetention},
		{s.WorkflowRetention, &o.WorkflowRetention},
		{s.JournalRetention, &o.JournalRetention},
	} {
		if set.given != nil {
			*set.to = *set.given
		}
	}
	if s.InactivityTimeout != nil {
		o.InactivityTimeout = s.InactivityTimeout
	}
	if s.AbortTimeout != nil {
		o.AbortTimeout = s.AbortTimeout
	}
}

// Modify puts the settings over those that the service has. The error is an *errcode.Error: NotFound, BadRequest for
// what the service cannot have, or RegistryUnusable.
func (w *Writer) Modify(ctx context.Context, name string, settings Settings) (*Snapshot, error) {
	return w.change(ctx, nil, func(before *Snapshot, d *document) error {
		service, ok := before.Service(name)
		if !ok {
			return errcode.New(errcode.NotFound, "there is no service %s", name)
		}
		if err := settings.check(service); err != nil {
			return errcode.New(errcode.BadRequest, "the service %s: %w", name, err)
		}
		current := d.Services[name]
		current.Settings = settings.over(current.Settings)
		d.Services[name] = current
		return nil
	})
}
