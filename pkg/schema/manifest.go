package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/errcode"
)

// Manifest is what endpoints with today's SDKs answer to discovery, as SDK 1.17.2 writes it.
// Members that it does not have are ignored: newer SDKs say more.
type Manifest struct {
	ProtocolMode       string            `json:"protocolMode"`
	MinProtocolVersion int64             `json:"minProtocolVersion"`
	MaxProtocolVersion int64             `json:"maxProtocolVersion"`
	Services           []manifestService `json:"services"`
	LambdaCompression  string            `json:"lambdaCompression,omitempty"`
}

type manifestService struct {
	Name          string            `json:"name"`
	Type          string            `json:"ty"`
	Documentation string            `json:"documentation,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	Handlers      []manifestHandler `json:"handlers"`
	manifestOptions
}

type manifestHandler struct {
	Name              string            `json:"name"`
	Type              string            `json:"ty,omitempty"`
	Documentation     string            `json:"documentation,omitempty"`
	Metadata          map[string]string `json:"metadata,omitempty"`
	Input             *manifestInput    `json:"input,omitempty"`
	Output            *manifestOutput   `json:"output,omitempty"`
	WorkflowRetention *int64            `json:"workflowCompletionRetention,omitempty"`
	manifestOptions
}

type manifestInput struct {
	Required    bool            `json:"required"`
	ContentType *string         `json:"contentType,omitempty"`
	Schema      json.RawMessage `json:"jsonSchema,omitempty"`
}

type manifestOutput struct {
	ContentType *string         `json:"contentType,omitempty"`
	IfEmpty     bool            `json:"setContentTypeIfEmpty"`
	Schema      json.RawMessage `json:"jsonSchema,omitempty"`
}

// manifestOptions are of a service or a handler; times are in milliseconds.
type manifestOptions struct {
	InactivityTimeout    *int64   `json:"inactivityTimeout,omitempty"`
	AbortTimeout         *int64   `json:"abortTimeout,omitempty"`
	JournalRetention     *int64   `json:"journalRetention,omitempty"`
	IdempotencyRetention *int64   `json:"idempotencyRetention,omitempty"`
	LazyState            *bool    `json:"enableLazyState,omitempty"`
	Private              *bool    `json:"ingressPrivate,omitempty"`
	RetryInitial         *int64   `json:"retryPolicyInitialInterval,omitempty"`
	RetryMax             *int64   `json:"retryPolicyMaxInterval,omitempty"`
	RetryAttempts        *int64   `json:"retryPolicyMaxAttempts,omitempty"`
	RetryFactor          *float64 `json:"retryPolicyExponentiationFactor,omitempty"`
	RetryExhausted       *string  `json:"retryPolicyOnMaxAttempts,omitempty"`
}

const (
	// MinServiceProtocol is the oldest service protocol that the runtime speaks to endpoints with a manifest.
	MinServiceProtocol = 5
	// MaxServiceProtocol is the latest.
	MaxServiceProtocol = 7
	// SeededServiceProtocol is the oldest whose SDKs draw random numbers from a seed that they are given. Before, they
	// drew them from the id of the invocation, so that another one cannot go on with its journal.
	SeededServiceProtocol = 6

	maxHandlers = 10000
)

var (
	serviceName = regexp.MustCompile(`^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*$`)
	handlerName = regexp.MustCompile(`^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*$`)
)

// ParseManifest decodes a manifest.
func ParseManifest(body []byte) (*Manifest, error) {
	m := &Manifest{}
	if err := json.Unmarshal(body, m); err != nil {
		return nil, errcode.Wrap(errcode.BadManifest, fmt.Errorf("decode the manifest: %w", err))
	}
	return m, nil
}

// Mode returns the protocol mode that the manifest announces.
func (m *Manifest) Mode() (ProtocolMode, error) {
	switch m.ProtocolMode {
	case "BIDI_STREAM":
		return ModeBidiStream, nil
	case "REQUEST_RESPONSE":
		return ModeRequestResponse, nil
	}
	return "", errcode.New(errcode.BadManifest, "the manifest has the protocolMode %q, which is neither BIDI_STREAM nor REQUEST_RESPONSE", m.ProtocolMode)
}

// Versions returns the range of service protocols that the endpoint speaks. It overlaps that of the runtime.
func (m *Manifest) Versions() (lowest, highest uint32, err error) {
	if m.MinProtocolVersion < 1 || m.MaxProtocolVersion < m.MinProtocolVersion || m.MaxProtocolVersion > math.MaxInt32 {
		return 0, 0, errcode.New(errcode.BadManifest, "the manifest has the protocol versions %d to %d, which are no range",
			m.MinProtocolVersion, m.MaxProtocolVersion)
	}
	if m.MinProtocolVersion > MaxServiceProtocol || m.MaxProtocolVersion < MinServiceProtocol {
		return 0, 0, errcode.New(errcode.UnsupportedProtocol,
			"the endpoint speaks the service protocols %d to %d, and the runtime %d to %d",
			m.MinProtocolVersion, m.MaxProtocolVersion, MinServiceProtocol, MaxServiceProtocol)
	}
	return uint32(m.MinProtocolVersion), uint32(m.MaxProtocolVersion), nil
}

// Load reads the services of a manifest. The error is an *errcode.Error.
func (m *Manifest) Load() (*Discovered, error) {
	discovered := &Discovered{}
	seen := map[string]bool{}
	for i := range m.Services {
		s := &m.Services[i]
		if seen[s.Name] {
			return nil, errcode.New(errcode.BadManifest, "the manifest has the service %s twice", s.Name)
		}
		seen[s.Name] = true
		service, err := s.load()
		if err != nil {
			return nil, err
		}
		discovered.Services = append(discovered.Services, service)
	}
	return discovered, nil
}

// manifestKind reads the type of a service.
func manifestKind(name string) (journalv1.ServiceKind, bool) {
	switch name {
	case "SERVICE":
		return journalv1.ServiceKind_SERVICE_KIND_UNKEYED, true
	case "VIRTUAL_OBJECT":
		return journalv1.ServiceKind_SERVICE_KIND_KEYED, true
	case "WORKFLOW":
		return journalv1.ServiceKind_SERVICE_KIND_WORKFLOW, true
	}
	return 0, false
}

func (s *manifestService) load() (*Service, error) {
	kind, ok := manifestKind(s.Type)
	switch {
	case len(s.Name) > maxServiceName || !serviceName.MatchString(s.Name):
		return nil, errcode.New(errcode.BadService, "%.64q is no name of a service", s.Name)
	case Reserved(s.Name) || strings.HasPrefix(strings.ToLower(s.Name), "restate") || strings.EqualFold(s.Name, "openapi"):
		return nil, errcode.New(errcode.BadService, "the name of the service %s is reserved for the runtime", s.Name)
	case !ok:
		return nil, errcode.New(errcode.BadManifest, "the service %s has the type %q, which is none", s.Name, s.Type)
	case len(s.Handlers) > maxHandlers:
		return nil, errcode.New(errcode.BadManifest, "the service %s has %d handlers, more than %d", s.Name, len(s.Handlers), maxHandlers)
	}
	service := &Service{
		Name: s.Name, Kind: kind, Public: s.Private == nil || !*s.Private,
		Documentation: s.Documentation, Metadata: s.Metadata, Options: defaultOptions(),
	}
	if err := s.apply(&service.Options); err != nil {
		return nil, errcode.Wrap(errcode.BadService, fmt.Errorf("the service %s: %w", s.Name, err))
	}
	for i := range s.Handlers {
		method, err := s.Handlers[i].load(service)
		if err != nil {
			return nil, err
		}
		if _, twice := service.Method(method.Name); twice {
			return nil, errcode.New(errcode.BadService, "the service %s has the handler %s twice", s.Name, method.Name)
		}
		service.Methods = append(service.Methods, method)
	}
	return service, nil
}

func (h *manifestHandler) load(service *Service) (*Method, error) {
	fail := func(format string, args ...any) (*Method, error) {
		return nil, errcode.New(errcode.BadService, "the handler %s/%.64s "+format, append([]any{service.Name, h.Name}, args...)...)
	}
	if !handlerName.MatchString(h.Name) {
		return fail("has a name that is none of a handler")
	}
	method := &Method{
		Name: h.Name, Documentation: h.Documentation, Metadata: h.Metadata, Options: service.Options,
		Private: h.Private != nil && *h.Private, Bytes: &ByteHandler{},
	}
	workflow := service.Kind == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW
	switch h.Type {
	case "":
		method.Shared = workflow
	case "SHARED":
		method.Shared = service.Kind != journalv1.ServiceKind_SERVICE_KIND_UNKEYED
	case "EXCLUSIVE":
		if service.Kind != journalv1.ServiceKind_SERVICE_KIND_KEYED {
			return fail("is EXCLUSIVE, which only those of virtual objects can be")
		}
	case "WORKFLOW":
		if !workflow {
			return fail("is WORKFLOW, which only those of workflows can be")
		}
	default:
		return fail("has the type %q, which is none", h.Type)
	}
	if !service.Public && h.Private != nil && !*h.Private {
		return fail("is public, and the service private")
	}
	if err := h.apply(&method.Options); err != nil {
		return fail("has options that cannot be used: %w", err)
	}
	if h.WorkflowRetention != nil {
		if !workflow || method.Shared {
			return fail("has a workflowCompletionRetention, which only the WORKFLOW handler can have")
		}
		retention, err := milliseconds(h.WorkflowRetention)
		if err != nil {
			return fail("has a workflowCompletionRetention that is none: %w", err)
		}
		method.Options.WorkflowRetention = retention
	}
	if workflow && !method.Shared && h.IdempotencyRetention != nil {
		return fail("has an idempotencyRetention, which the WORKFLOW handler cannot have")
	}
	if in := h.Input; in != nil {
		method.Bytes.Input = Input{Declared: true, Required: in.Required, Schema: present(in.Schema)}
		if in.ContentType != nil {
			method.Bytes.Input.ContentType = *in.ContentType
			if kind, subtype, ok := strings.Cut(*in.ContentType, "/"); !ok || kind == "" || subtype == "" {
				return fail("has the input content type %q, which is none", *in.ContentType)
			}
		}
	}
	if out := h.Output; out != nil {
		method.Bytes.Output = Output{Declared: true, ContentTypeIfEmpty: out.IfEmpty, Schema: present(out.Schema)}
		if out.ContentType != nil {
			method.Bytes.Output.ContentType = *out.ContentType
		}
	}
	return method, nil
}

func present(schema json.RawMessage) json.RawMessage {
	if len(schema) == 0 || string(schema) == "null" {
		return nil
	}
	return schema
}

// apply sets what the manifest says over the options.
func (o *manifestOptions) apply(to *Options) error {
	retry := *to.Retry
	for _, d := range []struct {
		given *int64
		set   func(time.Duration)
	}{
		{o.InactivityTimeout, func(d time.Duration) { to.InactivityTimeout = &d }},
		{o.AbortTimeout, func(d time.Duration) { to.AbortTimeout = &d }},
		{o.JournalRetention, func(d time.Duration) { to.JournalRetention = d }},
		{o.IdempotencyRetention, func(d time.Duration) { to.IdempotencyRetention = d }},
		{o.RetryInitial, func(d time.Duration) { retry.InitialInterval = d }},
		{o.RetryMax, func(d time.Duration) { retry.MaxInterval = d }},
	} {
		if d.given == nil {
			continue
		}
		duration, err := milliseconds(d.given)
		if err != nil {
			return err
		}
		d.set(duration)
	}
	if o.RetryAttempts != nil {
		retry.MaxAttempts = uint32(min(max(*o.RetryAttempts, 1), math.MaxUint32))
	}
	if o.RetryFactor != nil {
		if !ValidFactor(*o.RetryFactor) {
			return fmt.Errorf("a retry factor of %g is not from 1 to %d", *o.RetryFactor, MaxFactor)
		}
		retry.Factor = *o.RetryFactor
	}
	if o.RetryExhausted != nil {
		switch *o.RetryExhausted {
		case "PAUSE":
			retry.Exhausted = ExhaustedPause
		case "KILL":
			retry.Exhausted = ExhaustedKill
		default:
			return fmt.Errorf("retryPolicyOnMaxAttempts is %q, and has to be PAUSE or KILL", *o.RetryExhausted)
		}
	}
	to.Retry = &retry
	if o.LazyState != nil {
		to.LazyState = *o.LazyState
	}
	return nil
}

// maxMilliseconds is what a time.Duration has room for.
const maxMilliseconds = int64(math.MaxInt64 / time.Millisecond)

func milliseconds(n *int64) (time.Duration, error) {
	if *n < 0 {
		return 0, fmt.Errorf("a time of %d ms is negative", *n)
	}
	return time.Duration(min(*n, maxMilliseconds)) * time.Millisecond, nil
}
