// Package lambda reaches service endpoints that are functions on AWS Lambda: each request is one synchronous invocation
// of the function, with an event like those of a gateway, as the SDKs read it.
package lambda

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/fairshare"
)

// Config of the calls to AWS. The region is the one in the ARN of a function; credentials come from where the SDK of AWS
// looks for them: the environment, its files, a web identity, the container, the machine.
type Config struct {
	// Profile of the files of AWS to use. Empty: AWS_PROFILE of the environment, or else default.
	Profile string `yaml:"profile"`
	// EndpointURL is where the APIs of AWS are, Lambda and STS. Empty: AWS_ENDPOINT_URL_LAMBDA and the like of the
	// environment, or else AWS's own.
	EndpointURL string `yaml:"endpoint_url" split_words:"true"`
	// AssumeRoleExternalID is told with roles that are assumed, for those that demand one. Empty: none is.
	AssumeRoleExternalID string `yaml:"assume_role_external_id" split_words:"true"`
}

// Function is a function, and how it is invoked.
type Function struct {
	// ARN with the version or alias.
	ARN string
	// Role is the ARN of the role that is assumed; empty for none.
	Role string
	// Compression is what the function takes and gives large payloads in; others than Zstd are none.
	Compression string
}

// Client invokes functions. It may be used from any goroutine.
type Client struct {
	cfg       Config
	transport http.RoundTripper
	// memory is what events and answers take of it, in bytes.
	memory *fairshare.Pool

	mu   sync.Mutex
	base *aws.Config // nil until a function is invoked: who has none needs nothing of AWS
	apis map[place]*lambda.Client
}

// place is what functions have to share to be invoked through the same client.
type place struct{ region, role string }

// maxPlaces bounds the clients that are kept. Each has credentials of its own.
const maxPlaces = 1000

// stsTimeout is how long STS may take. The SDK goes on to ask when the request is over that wants the credentials, and all
// others that want them wait for the same answer.
const stsTimeout = 10 * time.Second

// New returns a client that sends its requests through the transport.
func New(cfg Config, transport http.RoundTripper) *Client {
	return &Client{cfg: cfg, transport: transport, memory: fairshare.NewPool(maxMemory), apis: map[place]*lambda.Client{}}
}

// over returns what sends requests to AWS, and takes memory for the answers.
func (c *Client) over(taken *share) *http.Client {
	return &http.Client{
		Transport:     bounded{c.transport, taken},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Transport returns what turns a request into an invocation of the function. The path of the URL is the path of the
// event. It sends nothing before the request's body has ended, so that this must not wait for the response; and returns
// when the whole answer is there. Until then it has the body in memory, and does not close it. A function that is throttled answers with status 429; the error of one that failed, or
// cannot be invoked as things stand, is an *errcode.Error. Other errors may pass.
func (c *Client) Transport(f Function) http.RoundTripper { return function{f, c} }

type function struct {
	Function
	client *Client
}

// RoundTrip implements http.RoundTripper.
func (f function) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // it was read
	}
	taken := &share{of: f.client.memory, function: f.ARN}
	response, err := f.invoke(r, taken)
	if err != nil {
		taken.release()
		return nil, err
	}
	response.Body = &held{response.Body, taken}
	return response, nil
}

func (f function) invoke(r *http.Request, taken *share) (*http.Response, error) {
	event, err := f.event(r, taken)
	if err != nil {
		return nil, err
	}
	taken.keep(len(event))
	ctx := r.Context()
	api, err := f.client.api(ctx, f.Function)
	if err != nil {
		return nil, errcode.Wrap(errcode.FunctionRefused, err)
	}
	// The SDK asks for them too, and does not tell this failure from others.
	if _, err := api.Options().Credentials.Retrieve(ctx); err != nil {
		return nil, noCredentials(err)
	}
	output, err := api.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &f.ARN, InvocationType: types.InvocationTypeRequestResponse, Payload: event,
	}, func(o *lambda.Options) { o.HTTPClient = f.client.over(taken) })
	if err != nil {
		return refused(r, err)
	}
	if output.FunctionError != nil {
		return nil, failed(*output.FunctionError, output.Payload)
	}
	return readAnswer(r, output.Payload)
}

// api returns the client for the region and the role of the function.
func (c *Client) api(ctx context.Context, f Function) (*lambda.Client, error) {
	region, err := regionOf(f.ARN)
	if err != nil {
		return nil, err
	}
	at := place{region, f.Role}
	c.mu.Lock()
	defer c.mu.Unlock()
	if api := c.apis[at]; api != nil {
		return api, nil
	}
	if c.base == nil {
		base, err := config.LoadDefaultConfig(ctx,
			config.WithSharedConfigProfile(c.cfg.Profile), config.WithLogger(logging.Nop{})) // what goes wrong is an error too
		if err != nil {
			return nil, fmt.Errorf("read the configuration of AWS: %w", err)
		}
		c.base = &base
	}
	if len(c.apis) >= maxPlaces {
		clear(c.apis) // those in use are made again
	}
	c.apis[at] = c.newAPI(*c.base, at)
	return c.apis[at], nil
}

func (c *Client) newAPI(base aws.Config, at place) *lambda.Client {
	base.Region = at.region
	forSTS := c.over(nil)
	forSTS.Timeout = stsTimeout
	base.HTTPClient = forSTS
	base.Retryer = func() aws.Retryer { return aws.NopRetryer{} } // whoever sends the request has a policy
	var endpoint *string
	if c.cfg.EndpointURL != "" {
		endpoint = &c.cfg.EndpointURL
	}
	if at.role != "" {
		api := sts.NewFromConfig(base, func(o *sts.Options) {
			if endpoint != nil {
				o.BaseEndpoint = endpoint
			}
		})
		base.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(api, at.role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "restate-" + strconv.FormatInt(time.Now().Unix(), 10)
			if c.cfg.AssumeRoleExternalID != "" {
				o.ExternalID = &c.cfg.AssumeRoleExternalID
			}
		}))
	}
	return lambda.NewFromConfig(base, func(o *lambda.Options) {
		if endpoint != nil {
			o.BaseEndpoint = endpoint
		}
	})
}

// cut shortens a text that comes from outside.
func cut(text string) string {
	const most = 1 << 10
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
