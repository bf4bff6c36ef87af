// Package aws stands in for the API of AWS Lambda.
package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxEvent bounds an event, and maxResult what a function may answer, in bytes.
	maxEvent  = 6 << 20
	maxResult = maxEvent + 100
)

// Lambda has one function.
type Lambda struct {
	// ARN of the function, in Region, and Function is where events are posted to, as JSON, and results come from.
	ARN, Region, Function string
	// Timeout is how long the function may take.
	Timeout time.Duration
	// ThrottleEach is after how many invocations one is refused as too many; 0 is never.
	ThrottleEach uint64

	invocations, throttled atomic.Uint64
}

// Throttled is how many invocations were refused as too many.
func (l *Lambda) Throttled() uint64 { return l.throttled.Load() }

var signature = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=\w+/\d{8}/([a-z0-9-]+)/lambda/aws4_request, .*Signature=[0-9a-f]{64}$`)

// ServeHTTP implements http.Handler.
func (l *Lambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if signed := signature.FindStringSubmatch(r.Header.Get("Authorization")); len(signed) == 0 || signed[1] != l.Region {
		refuse(w, http.StatusForbidden, "InvalidSignatureException", "Credential should be scoped to a valid region.")
		return
	}
	arn, found := strings.CutPrefix(r.URL.Path, "/2015-03-31/functions/")
	arn, invoked := strings.CutSuffix(arn, "/invocations")
	if !found || !invoked || r.Method != http.MethodPost || arn != l.ARN {
		refuse(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+arn)
		return
	}
	if n := l.invocations.Add(1); l.ThrottleEach != 0 && n%l.ThrottleEach == 0 {
		l.throttled.Add(1)
		refuse(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
		return
	}
	event, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", fmt.Sprintf("Request must be smaller than %d bytes", maxEvent))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), l.Timeout)
	defer cancel()
	result, err := l.invoke(ctx, event)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("Task timed out after %s", l.Timeout) //nolint:staticcheck // the words of AWS
	}
	w.Header().Set("X-Amz-Executed-Version", "1")
	if err != nil {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		result = object(map[string]string{"errorType": "Error", "errorMessage": err.Error()})
	}
	_, _ = w.Write(result) // the caller may be gone
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", kind)
	w.WriteHeader(status)
	_, _ = w.Write(object(map[string]string{"Message": message})) // the caller may be gone
}

func object(members map[string]string) []byte {
	encoded, err := json.Marshal(members)
	if err != nil {
		return nil // texts can always be encoded
	}
	return encoded
}

func (l *Lambda) invoke(ctx context.Context, event []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.Function, bytes.NewReader(event))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // what was read counts
	result, err := io.ReadAll(io.LimitReader(response.Body, maxResult+1))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, errors.New(string(result))
	case len(result) > maxResult:
		return nil, fmt.Errorf("Response payload size exceeded maximum allowed payload size (%d bytes).", maxResult) //nolint:staticcheck,revive // the words of AWS
	}
	return result, nil
}
