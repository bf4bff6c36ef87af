package api

import "github.com/restate-go/restate/pkg/schema"

// RegisterDeploymentRequest asks for an endpoint to be discovered and registered.
type RegisterDeploymentRequest struct {
	URI               string            `json:"uri,omitempty" doc:"Where the endpoint is served, path prefix included: http://host:port/path or https://host:port/path"`
	ARN               string            `json:"arn,omitempty" doc:"Names a function on AWS Lambda instead, its version or alias included: arn:aws:lambda:REGION:ACCOUNT:function:NAME:VERSION"`
	AssumeRoleARN     string            `json:"assume_role_arn,omitempty" doc:"The role that the function is invoked as"`
	AdditionalHeaders map[string]string `json:"additional_headers,omitempty" doc:"Go with every request to the endpoint"`
	Metadata          map[string]string `json:"metadata,omitempty" doc:"Shown with the deployment"`
	UseHTTP11         bool              `json:"use_http_11,omitempty" doc:"Calls the endpoint over HTTP/1.1"`
	Breaking          bool              `json:"breaking,omitempty" doc:"Lets revisions pass that are incompatible with those before: another type of a service, or a handler less"`
	Force             *bool             `json:"force,omitempty" doc:"Replaces what is registered under the URI or ARN, and lets incompatible revisions pass. Invocations in flight may break"`
	DryRun            bool              `json:"dry_run,omitempty" doc:"Answers as if, and registers nothing"`
}

// RegisterDeploymentResponse says what is registered.
type RegisterDeploymentResponse struct {
	ID       string    `json:"id"`
	Services []Service `json:"services"`
	Protocol
}

// Protocol is what an endpoint speaks.
type Protocol struct {
	MinProtocolVersion uint32 `json:"min_protocol_version" doc:"Of the service protocol; 0 is that of 2023"`
	MaxProtocolVersion uint32 `json:"max_protocol_version"`
	SDKVersion         string `json:"sdk_version,omitempty" doc:"What the endpoint calls itself"`
}

// UpdateDeploymentRequest changes a deployment. What is null or not there stays.
type UpdateDeploymentRequest struct {
	URI               *string           `json:"uri,omitempty" doc:"Like use_http_11, not for functions on AWS Lambda"`
	AdditionalHeaders map[string]string `json:"additional_headers,omitempty"`
	UseHTTP11         *bool             `json:"use_http_11,omitempty"`
	ARN               *string           `json:"arn,omitempty" doc:"Like assume_role_arn, for functions on AWS Lambda only"`
	AssumeRoleARN     *string           `json:"assume_role_arn,omitempty" doc:"Empty for none"`
	Overwrite         bool              `json:"overwrite,omitempty" doc:"Replaces the services too by what is served there. Without it they stay, and have to be served still"`
	DryRun            bool              `json:"dry_run,omitempty" doc:"Answers as if, and changes nothing"`
}

// DeploymentInfo is what is known of a deployment but its services.
type DeploymentInfo struct {
	ID            string              `json:"id"`
	URI           string              `json:"uri,omitempty" doc:"Not there, as protocol_type and http_version, for a function on AWS Lambda"`
	ProtocolType  schema.ProtocolMode `json:"protocol_type,omitempty" doc:"BidiStream or RequestResponse"`
	HTTPVersion   string              `json:"http_version,omitempty" doc:"HTTP/2.0 or HTTP/1.1"`
	ARN           string              `json:"arn,omitempty" doc:"Of a function on AWS Lambda"`
	AssumeRoleARN string              `json:"assume_role_arn,omitempty"`
	Compression   string              `json:"compression,omitempty" doc:"Of large payloads: zstd"`
	CreatedAt     string              `json:"created_at" doc:"RFC 3339; the last registration by force counts"`
	Protocol
	AdditionalHeaders map[string]string `json:"additional_headers,omitempty"`
	Metadata          map[string]string `json:"metadata,omitempty"`
}

// Deployment is a service endpoint.
type Deployment struct {
	DeploymentInfo
	Services []schema.ServiceRef `json:"services"`
}

// Deployments are all service endpoints.
type Deployments struct {
	Deployments []Deployment `json:"deployments" doc:"In order of registration"`
}

// DetailedDeployment is a service endpoint with what it serves.
type DetailedDeployment struct {
	DeploymentInfo
	Services []Service `json:"services"`
}

// Version says which release answers, and what it can do.
type Version struct {
	Version            string          `json:"version"`
	MinAdminAPIVersion int             `json:"min_admin_api_version" doc:"The routes are served under /v2 to /v4 too"`
	MaxAdminAPIVersion int             `json:"max_admin_api_version"`
	IngressEndpoint    *string         `json:"ingress_endpoint" doc:"Where requests to services go (meta.advertised_ingress)"`
	Features           map[string]bool `json:"features"`
}
