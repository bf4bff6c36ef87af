package rest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
)

// viewer shows services to who asks.
type viewer struct {
	c *gin.Context
	// timeouts are in force where a service has none of its own; nil where that is not known.
	timeouts *membership.Timeouts
}

func (a *API) viewer(c *gin.Context) viewer {
	return viewer{c, a.Workers.Timeouts(c.Request.Context())}
}

// service shows a service in the words of both generations.
func (v viewer) service(s *schema.Service) api.Service {
	shown := api.Service{
		Name: s.Name, Type: typeOf(s.Kind), Handlers: make([]api.Handler, len(s.Methods)),
		Documentation: s.Documentation, Metadata: s.Metadata, DeploymentID: deploymentID(v.c, s.EndpointID), Revision: s.Revision, Public: s.Public,
		Options: optionsOf(s.Options), LazyState: s.Options.LazyState,
		Methods: make([]api.Method, len(s.Methods)), InstanceType: schema.KindName(s.Kind), EndpointID: s.EndpointID,
	}
	for i, m := range s.Methods {
		shown.Handlers[i], shown.Methods[i] = handlerOf(s, m), methodOf(m)
		if s.Kind == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW && !m.Shared {
			shown.WorkflowRetention = duration(m.Options.WorkflowRetention)
		}
	}
	if s.Descriptor != nil { // their results are kept as each request says
		return shown
	}
	shown.Info = infoOf(s, s.Options)
	if v.timeouts != nil {
		shown.InactivityTimeout = cmp.Or(shown.InactivityTimeout, duration(v.timeouts.Inactivity))
		shown.AbortTimeout = cmp.Or(shown.AbortTimeout, duration(v.timeouts.Abort))
	}
	if !listens(s) {
		shown.InactivityTimeout = duration(0)
	}
	shown.IdempotencyRetention = duration(s.Options.IdempotencyRetention)
	shown.JournalRetention = duration(s.Options.JournalRetention)
	if r := s.Options.Retry; r != nil {
		shown.RetryPolicy = &api.RetryPolicy{
			InitialInterval: api.Duration(r.InitialInterval), Factor: r.Factor, MaxInterval: duration(r.MaxInterval), OnMaxAttempts: r.Exhausted,
		}
		if r.MaxAttempts != 0 {
			shown.RetryPolicy.MaxAttempts = &r.MaxAttempts
		}
	}
	return shown
}

// listens says whether an endpoint hears of results while it works, so that it need not suspend to get them.
func listens(s *schema.Service) bool { return s.Mode != schema.ModeRequestResponse }

// infoOf says which options of a service, or of a handler of it, are not in force.
func infoOf(s *schema.Service, o schema.Options) []api.Info {
	var info []api.Info
	add := func(code errcode.Code, format string, args ...any) {
		info = append(info, api.Info{Code: code, Message: fmt.Sprintf(format, args...)})
	}
	if o.InactivityTimeout != nil && *o.InactivityTimeout > 0 && !listens(s) {
		add(errcode.TimeoutIgnored, "the inactivity timeout of %s has no effect: the endpoint is called in request/response mode",
			api.Duration(*o.InactivityTimeout))
	}
	if o.AskedJournalRetention > 0 {
		add(errcode.RetentionClamped, "the journal would be kept for %s, and is kept for %s, which is the most that is configured",
			api.Duration(o.AskedJournalRetention), api.Duration(o.JournalRetention))
	}
	return info
}

// typeOf names the type of a service; a singleton is an object with one key.
func typeOf(kind journalv1.ServiceKind) string {
	switch kind {
	case journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
		return "Workflow"
	case journalv1.ServiceKind_SERVICE_KIND_KEYED, journalv1.ServiceKind_SERVICE_KIND_SINGLETON:
		return "VirtualObject"
	case journalv1.ServiceKind_SERVICE_KIND_UNKEYED, journalv1.ServiceKind_SERVICE_KIND_UNSPECIFIED:
	}
	return "Service"
}

func duration(d time.Duration) *api.Duration { return (*api.Duration)(&d) }

func optionsOf(o schema.Options) api.Options {
	return api.Options{InactivityTimeout: (*api.Duration)(o.InactivityTimeout), AbortTimeout: (*api.Duration)(o.AbortTimeout)}
}

// handlerOf shows of a handler's options what is not as in its service.
func handlerOf(s *schema.Service, m *schema.Method) api.Handler {
	shown := api.Handler{
		Name: m.Name, Type: handlerType(s, m), Documentation: m.Documentation, Metadata: m.Metadata, Public: s.Public && !m.Private,
		InputDescription: inputOf(m), OutputDescription: outputOf(m),
	}
	of := s.Options
	if !equal(m.Options.InactivityTimeout, of.InactivityTimeout) {
		shown.InactivityTimeout = (*api.Duration)(m.Options.InactivityTimeout)
		if !listens(s) {
			shown.InactivityTimeout = duration(0)
		}
	}
	if !equal(m.Options.AbortTimeout, of.AbortTimeout) {
		shown.AbortTimeout = (*api.Duration)(m.Options.AbortTimeout)
	}
	if m.Options.IdempotencyRetention != of.IdempotencyRetention {
		shown.IdempotencyRetention = duration(m.Options.IdempotencyRetention)
	}
	if m.Options.JournalRetention != of.JournalRetention {
		shown.JournalRetention = duration(m.Options.JournalRetention)
	}
	if m.Options.LazyState != of.LazyState {
		shown.LazyState = &m.Options.LazyState
	}
	if m.Bytes != nil {
		own := m.Options
		if equal(own.InactivityTimeout, of.InactivityTimeout) {
			own.InactivityTimeout = nil
		}
		if own.AskedJournalRetention == of.AskedJournalRetention {
			own.AskedJournalRetention = 0
		}
		shown.Info = infoOf(s, own)
		shown.InputSchema, shown.OutputSchema = m.Bytes.Input.Schema, m.Bytes.Output.Schema
	}
	if own, all := m.Options.Retry, of.Retry; own != nil && all != nil {
		shown.RetryPolicy = retryOverrides(own, all)
	}
	return shown
}

func equal(a, b *time.Duration) bool { return a == b || a != nil && b != nil && *a == *b }

func retryOverrides(own, all *schema.RetryPolicy) api.HandlerRetryPolicy {
	var shown api.HandlerRetryPolicy
	if own.InitialInterval != all.InitialInterval {
		shown.InitialInterval = duration(own.InitialInterval)
	}
	if own.Factor != all.Factor {
		shown.Factor = &own.Factor
	}
	if own.MaxAttempts != all.MaxAttempts {
		shown.MaxAttempts = &own.MaxAttempts
	}
	if own.MaxInterval != all.MaxInterval {
		shown.MaxInterval = duration(own.MaxInterval)
	}
	if own.Exhausted != all.Exhausted {
		shown.OnMaxAttempts = own.Exhausted
	}
	return shown
}

// handlerType names how a handler of a service with keys runs.
func handlerType(s *schema.Service, m *schema.Method) string {
	switch {
	case s.Kind == journalv1.ServiceKind_SERVICE_KIND_UNKEYED:
		return ""
	case m.Shared:
		return "Shared"
	case s.Kind == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
		return "Workflow"
	}
	return "Exclusive"
}

func methodOf(m *schema.Method) api.Method {
	return api.Method{Name: m.Name, InputType: inputOf(m), OutputType: outputOf(m), KeyFieldNumber: int32(m.KeyField)}
}

func inputOf(m *schema.Method) string {
	switch {
	case m.Bytes == nil:
		return string(m.Input.FullName())
	case !m.Bytes.Input.Declared:
		return "*/*"
	}
	return contentOf(m.Bytes.Input.ContentType, m.Bytes.Input.Schema)
}

func outputOf(m *schema.Method) string {
	switch {
	case m.Bytes == nil:
		return string(m.Output.FullName())
	case !m.Bytes.Output.Declared:
		return "*/*"
	case m.Bytes.Output.ContentTypeIfEmpty:
		return "optional " + contentOf(m.Bytes.Output.ContentType, m.Bytes.Output.Schema)
	}
	return contentOf(m.Bytes.Output.ContentType, m.Bytes.Output.Schema)
}

// contentOf describes bytes by the title or the type of their schema, or else by their content type.
func contentOf(contentType string, schemaOf json.RawMessage) string {
	if contentType == "" {
		return "none"
	}
	var described struct {
		Title string `json:"title"`
		Type  any    `json:"type"`
	}
	if json.Unmarshal(schemaOf, &described) == nil {
		if described.Title != "" {
			return "JSON '" + described.Title + "'"
		}
		if name, ok := described.Type.(string); ok {
			return "JSON " + name
		}
	}
	return contentType
}
