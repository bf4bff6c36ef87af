package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/restate-go/restate/pkg/errcode"
)

// failed is the error of a function that was run and came to no answer.
func failed(kind string, payload []byte) error {
	var reason struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if err := json.Unmarshal(payload, &reason); err != nil || reason.Type == "" && reason.Message == "" {
		return errcode.New(errcode.ServiceFailed, "the function failed (%s): %s", cut(kind), cut(string(payload)))
	}
	return errcode.New(errcode.ServiceFailed, "the function failed (%s): %s: %s", cut(kind), cut(reason.Type), cut(reason.Message))
}

// noCredentials is FunctionRefused, unless what keeps from the credentials may pass: whoever has them to give (the machine,
// the container, STS) does not answer, is unwell, or asked too often.
func noCredentials(err error) error {
	told := fmt.Errorf("there are no credentials for AWS: %w", err)
	if passes(err) {
		return told
	}
	return errcode.Wrap(errcode.FunctionRefused, told)
}

func passes(err error) bool {
	var status interface{ HTTPStatusCode() int }
	if errors.As(err, &status) && status.HTTPStatusCode() >= http.StatusMultipleChoices {
		code := status.HTTPStatusCode()
		return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout ||
			retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool() // some throttle with 400
	}
	var unsent interface{ ConnectionError() bool }
	var network net.Error
	return errors.As(err, &unsent) && unsent.ConnectionError() || errors.As(err, &network) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// refused tells what kept AWS from running the function.
func refused(r *http.Request, err error) (*http.Response, error) {
	var coded *errcode.Error
	if errors.As(err, &coded) { // of reading the answer
		return nil, coded
	}
	var status *awshttp.ResponseError
	if !errors.As(err, &status) || status.HTTPStatusCode() < http.StatusMultipleChoices {
		return nil, err // AWS did not answer, or not to the end
	}
	reason := http.StatusText(status.HTTPStatusCode())
	var answer smithy.APIError
	if errors.As(err, &answer) {
		reason = cut(answer.ErrorCode() + ": " + answer.ErrorMessage())
	}
	switch code := status.HTTPStatusCode(); {
	case code == http.StatusTooManyRequests:
		response := &http.Response{
			Status: fmt.Sprintf("%d %s", code, reason), StatusCode: code, Header: http.Header{}, Body: http.NoBody, Request: r,
		}
		if after := status.Response.Header.Get("Retry-After"); after != "" {
			response.Header.Set("Retry-After", after)
		}
		return response, nil
	case code == http.StatusRequestEntityTooLarge:
		return nil, errcode.New(errcode.RequestTooLarge, "AWS Lambda answers %d %s", code, reason)
	case code >= http.StatusInternalServerError, code == http.StatusConflict, code == http.StatusRequestTimeout:
		// Conflict is a function that is being updated, or waking up.
		return nil, fmt.Errorf("AWS Lambda answers %d %s", code, reason)
	default:
		return nil, errcode.New(errcode.FunctionRefused, "AWS Lambda answers %d %s", code, reason)
	}
}
