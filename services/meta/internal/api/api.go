// Package api is what the REST API of meta takes and gives, as its server and its client know it. The doc tags are for
// the OpenAPI document.
package api

import "github.com/restate-go/restate/pkg/schema"

// RegisterRequest asks for an endpoint to be discovered and registered.
type RegisterRequest struct {
	URI               string            `json:"uri" doc:"Where the endpoint is served, path prefix included: http://host:port/path or https://host:port/path"`
	AdditionalHeaders map[string]string `json:"additional_headers,omitempty" doc:"Go with every request to the endpoint"`
	Force             bool              `json:"force,omitempty" doc:"Replaces what is registered under the URI, and lets incompatible revisions pass. Invocations in flight may break"`
}

// RegisterResponse says what was registered.
type RegisterResponse struct {
	ID       string              `json:"id"`
	Services []schema.ServiceRef `json:"services"`
}

// Endpoint is a service endpoint.
type Endpoint struct {
	ID                string              `json:"id"`
	URI               string              `json:"uri,omitempty"`
	ARN               string              `json:"arn,omitempty" doc:"Instead of the URI, of a function on AWS Lambda"`
	AssumeRoleARN     string              `json:"assume_role_arn,omitempty"`
	ProtocolType      schema.ProtocolMode `json:"protocol_type" doc:"BidiStream or RequestResponse"`
	AdditionalHeaders map[string]string   `json:"additional_headers,omitempty"`
	Services          []schema.ServiceRef `json:"services"`
}

// Endpoints are all service endpoints.
type Endpoints struct {
	Endpoints []Endpoint `json:"endpoints" doc:"In order of registration"`
}

// Invocation is an invocation as it is now.
type Invocation struct {
	ID                    string `json:"id"`
	Service               string `json:"service"`
	Method                string `json:"method"`
	Key                   string `json:"key,omitempty" doc:"Of the service instance: text, of virtual objects and workflows; of services with protobuf messages base64 of what is stored"`
	KeyEncoding           string `json:"key_encoding,omitempty" doc:"base64 where the key is that; left out where it is text"`
	Status                string `json:"status" doc:"scheduled, pending, running, backing-off, suspended, paused or completed"`
	CreatedAt             string `json:"created_at" doc:"As all times, RFC 3339"`
	ModifiedAt            string `json:"modified_at"`
	EndpointID            string `json:"endpoint_id,omitempty" doc:"Where it began, and stays"`
	JournalLength         uint32 `json:"journal_length"`
	InvokedBy             string `json:"invoked_by,omitempty" doc:"The invocation that called it"`
	Attempts              uint32 `json:"attempts,omitempty" doc:"Of the current run"`
	LastFailure           string `json:"last_failure,omitempty"`
	LastFailureCode       string `json:"last_failure_code,omitempty"`
	NextAttemptAt         string `json:"next_attempt_at,omitempty"`
	ScheduledAt           string `json:"scheduled_at,omitempty"`
	ExpiresAt             string `json:"expires_at,omitempty" doc:"Until when the result is kept"`
	CompletionResult      string `json:"completion_result,omitempty" doc:"How a completed invocation ended: success or failure"`
	CompletionFailure     string `json:"completion_failure,omitempty" doc:"The message of the failure: killed, where somebody did that"`
	CompletionFailureCode uint32 `json:"completion_failure_code,omitempty"`
}

// Invocations are those that a question was about.
type Invocations struct {
	Invocations []Invocation `json:"invocations"`
	Unreachable []string     `json:"unreachable,omitempty" doc:"Partition-workers that did not answer: the invocations of their partitions may be missing"`
}

// Failure is the body of every answer that is no success.
type Failure struct {
	Message     string `json:"message" doc:"What happened, and in the second line what can be done about it"`
	RestateCode string `json:"restate_code" doc:"The published code of the error"`
}

// Probe is what package health writes.
type Probe struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty" doc:"What is missing, by the name of the check"`
}
