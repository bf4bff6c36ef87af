package schema

import (
	"context"
	"slices"
	"time"
)

// Limits bound what services may ask for, whoever registers or changes them.
type Limits struct {
	// MaxJournalRetention is the longest time that a journal is kept; nil is without limit.
	MaxJournalRetention *time.Duration `json:"max_journal_retention,omitempty"`
}

func (l Limits) equal(other Limits) bool {
	a, b := l.MaxJournalRetention, other.MaxJournalRetention
	return a == b || a != nil && b != nil && *a == *b
}

// apply shortens what exceeds the limits of a service that is not shared yet; its methods may be.
func (l Limits) apply(service *Service) {
	if service.Descriptor != nil || !l.exceeded(service) {
		return
	}
	l.applyOptions(&service.Options)
	service.Methods = slices.Clone(service.Methods)
	for i, m := range service.Methods {
		method := *m
		l.applyOptions(&method.Options)
		service.Methods[i] = &method
	}
}

func (l Limits) exceeded(service *Service) bool {
	longer := func(o Options) bool {
		return l.MaxJournalRetention != nil && o.JournalRetention > *l.MaxJournalRetention
	}
	return longer(service.Options) || slices.ContainsFunc(service.Methods, func(m *Method) bool { return longer(m.Options) })
}

func (l Limits) applyOptions(o *Options) {
	if o.JournalRetention > *l.MaxJournalRetention {
		o.AskedJournalRetention, o.JournalRetention = o.JournalRetention, *l.MaxJournalRetention
	}
}

// Limit puts the limits in the place of those before, with what the writer changes later too, and returns the snapshot
// that has them. The error is an *errcode.Error.
func (w *Writer) Limit(ctx context.Context, limits Limits) (*Snapshot, error) {
	w.limits.Store(&limits)
	before, err := w.Latest(ctx)
	if err != nil || before.document.Limits.equal(limits) {
		return before, err
	}
	return w.change(ctx, nil, func(*Snapshot, *document) error { return nil })
}
