package rest

import (
	"net/url"

	"github.com/restate-go/restate/pkg/endpoint/lambda"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
	"github.com/restate-go/restate/services/meta/internal/discovery"
)

// targetOf checks where a deployment is said to be, and how it is reached.
func targetOf(r api.RegisterDeploymentRequest) (discovery.Target, error) {
	switch {
	case r.ARN != "" && r.URI != "":
		return discovery.Target{}, errcode.New(errcode.BadRequest, "a deployment has a uri or an arn, not both")
	case r.ARN != "":
		return newFunction(r.ARN, r.AssumeRoleARN, r.AdditionalHeaders)
	case r.AssumeRoleARN != "":
		return discovery.Target{}, errcode.New(errcode.BadRequest, "assume_role_arn is for functions on AWS Lambda, which are named by their arn")
	}
	return newTarget(r.URI, r.AdditionalHeaders, r.UseHTTP11)
}

// changedTarget checks where a deployment will be, and how it will be reached.
func changedTarget(e *schema.Endpoint, r api.UpdateDeploymentRequest) (discovery.Target, error) {
	headers := e.AdditionalHeaders
	if r.AdditionalHeaders != nil {
		headers = r.AdditionalHeaders
	}
	switch function := e.IsFunction(); {
	case function && (r.URI != nil || r.UseHTTP11 != nil):
		return discovery.Target{}, errcode.New(errcode.BadRequest, "uri and use_http_11 are not for a function on AWS Lambda")
	case !function && (r.ARN != nil || r.AssumeRoleARN != nil):
		return discovery.Target{}, errcode.New(errcode.BadRequest, "arn and assume_role_arn are not for a deployment with a URI")
	case function:
		return newFunction(or(r.ARN, e.URI), or(r.AssumeRoleARN, e.AssumeRole), headers)
	}
	return newTarget(or(r.URI, e.URI), headers, or(r.UseHTTP11, e.HTTP1))
}

// or returns what was given, or else what there is.
func or[T any](given *T, otherwise T) T {
	if given != nil {
		return *given
	}
	return otherwise
}

// newTarget checks where an endpoint is said to be, and how it is reached.
func newTarget(uri string, headers map[string]string, http1 bool) (discovery.Target, error) {
	parsed, err := parseURI(uri)
	if err != nil {
		return discovery.Target{}, err
	}
	return discovery.Target{URI: parsed, Headers: headers, HTTP1: http1}, checkHeaders(headers)
}

// newFunction checks which function on AWS Lambda is to be invoked; the role may be empty.
func newFunction(arn, role string, headers map[string]string) (discovery.Target, error) {
	if err := lambda.CheckARN(arn); err != nil {
		return discovery.Target{}, errcode.Wrap(errcode.BadRequest, err)
	}
	if role != "" {
		if err := lambda.CheckRole(role); err != nil {
			return discovery.Target{}, errcode.Wrap(errcode.BadRequest, err)
		}
	}
	parsed, err := url.Parse(arn)
	if err != nil {
		return discovery.Target{}, errcode.Wrap(errcode.BadRequest, err)
	}
	return discovery.Target{URI: parsed, Headers: headers, AssumeRole: role}, checkHeaders(headers)
}
