package api

import (
	"encoding/json"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"
)

// Service is a revision of a service. The members of its second half are those of 2023.
type Service struct {
	Name          string            `json:"name"`
	Type          string            `json:"ty" doc:"Service, VirtualObject or Workflow"`
	Handlers      []Handler         `json:"handlers"`
	Documentation string            `json:"documentation,omitempty" doc:"As all documentation and metadata of services and handlers, their author's"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	DeploymentID  string            `json:"deployment_id"`
	Revision      uint32            `json:"revision"`
	Public        bool              `json:"public" doc:"Whether requests from outside may call the service"`
	Options
	IdempotencyRetention *Duration    `json:"idempotency_retention,omitempty" doc:"How long the result of an invocation with an idempotency key is kept"`
	WorkflowRetention    *Duration    `json:"workflow_completion_retention,omitempty" doc:"How long the run of a workflow is kept"`
	JournalRetention     *Duration    `json:"journal_retention,omitempty" doc:"How long the journal is kept, and the result where nothing else keeps it"`
	LazyState            bool         `json:"enable_lazy_state" doc:"The endpoint asks for each value of the state"`
	RetryPolicy          *RetryPolicy `json:"retry_policy,omitempty"`
	Info                 []Info       `json:"info,omitempty" doc:"What is not as the service asks for"`

	Methods      []Method `json:"methods"`
	InstanceType string   `json:"instance_type" doc:"Keyed, Unkeyed, Singleton or Workflow"`
	EndpointID   string   `json:"endpoint_id"`
}

// Options of services and handlers.
type Options struct {
	InactivityTimeout *Duration `json:"inactivity_timeout,omitempty" doc:"How long an attempt may go without a message before the handler is asked to suspend; without it as the partition-worker is configured"`
	AbortTimeout      *Duration `json:"abort_timeout,omitempty" doc:"How long the handler has for it; without it as the partition-worker is configured"`
}

// RetryPolicy of a service.
type RetryPolicy struct {
	InitialInterval Duration         `json:"initial_interval"`
	Factor          float64          `json:"exponentiation_factor"`
	MaxAttempts     *uint32          `json:"max_attempts" doc:"The first one counts; null is without end"`
	MaxInterval     *Duration        `json:"max_interval,omitempty"`
	OnMaxAttempts   schema.Exhausted `json:"on_max_attempts" doc:"Pause or Kill"`
}

// Services are all services.
type Services struct {
	Services []Service `json:"services"`
}

// Handler is a handler of a service. Options are there where they are not those of the service.
type Handler struct {
	Name          string            `json:"name"`
	Type          string            `json:"ty,omitempty" doc:"Exclusive, Shared or Workflow; none for handlers of plain services"`
	Documentation string            `json:"documentation,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	Options
	IdempotencyRetention *Duration          `json:"idempotency_retention,omitempty"`
	JournalRetention     *Duration          `json:"journal_retention,omitempty"`
	LazyState            *bool              `json:"enable_lazy_state,omitempty"`
	Public               bool               `json:"public"`
	InputDescription     string             `json:"input_description"`
	OutputDescription    string             `json:"output_description"`
	InputSchema          json.RawMessage    `json:"input_json_schema,omitempty"`
	OutputSchema         json.RawMessage    `json:"output_json_schema,omitempty"`
	RetryPolicy          HandlerRetryPolicy `json:"retry_policy"`
	Info                 []Info             `json:"info,omitempty"`
}

// Info is a remark on a service or a handler.
type Info struct {
	Code    errcode.Code `json:"code" doc:"One of the error codes"`
	Message string       `json:"message"`
}

// HandlerRetryPolicy is what is not as in the policy of the service.
type HandlerRetryPolicy struct {
	InitialInterval *Duration        `json:"initial_interval,omitempty"`
	Factor          *float64         `json:"exponentiation_factor,omitempty"`
	MaxAttempts     *uint32          `json:"max_attempts" doc:"null is as in the service"`
	MaxInterval     *Duration        `json:"max_interval,omitempty"`
	OnMaxAttempts   schema.Exhausted `json:"on_max_attempts,omitempty"`
}

// Handlers are all handlers of a service.
type Handlers struct {
	Handlers []Handler `json:"handlers"`
}

// Method is a method of a service.
type Method struct {
	Name           string `json:"name"`
	InputType      string `json:"input_type" doc:"The protobuf message, or what a handler of bytes takes"`
	OutputType     string `json:"output_type"`
	KeyFieldNumber int32  `json:"key_field_number,omitempty" doc:"The field of the input that holds the key"`
}

// Methods are all methods of a service.
type Methods struct {
	Methods []Method `json:"methods"`
}

// ModifyRequest changes a service, its handlers included. What is null or not there stays.
type ModifyRequest struct {
	Public               *bool     `json:"public,omitempty" doc:"Whether requests from outside may call the service"`
	IdempotencyRetention *Duration `json:"idempotency_retention,omitempty"`
	WorkflowRetention    *Duration `json:"workflow_completion_retention,omitempty"`
	JournalRetention     *Duration `json:"journal_retention,omitempty"`
	InactivityTimeout    *Duration `json:"inactivity_timeout,omitempty"`
	AbortTimeout         *Duration `json:"abort_timeout,omitempty"`
}
