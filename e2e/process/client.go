package process

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
)

// Answer is what an HTTP request got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// JSON decodes the body.
func (a Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var decoded map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.Body), &decoded), a.Body)
	return decoded
}

// requestTimeout is longer than anything that a test waits for.
const requestTimeout = 2 * time.Minute

// Do sends a request as curl would: with a JSON body unless that is empty. Headers come as name, value, ...
func Do(method, url, body string, headers ...string) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewBufferString(body))
	if err != nil {
		return Answer{}, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close() //nolint:errcheck // it is read to its end
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: string(content)}, nil
}

// Registration is a request to register an endpoint.
type Registration struct {
	URI               string            `json:"uri"`
	AdditionalHeaders map[string]string `json:"additional_headers,omitempty"`
	Force             bool              `json:"force,omitempty"`
}

// TryRegister asks meta to register an endpoint.
func (r *Runtime) TryRegister(registration Registration) Answer {
	r.t.Helper()
	body, err := json.Marshal(registration)
	require.NoError(r.t, err)
	return r.MetaDo(http.MethodPost, "/endpoints", string(body))
}

// Register registers an endpoint and returns its id.
func (r *Runtime) Register(registration Registration) string {
	r.t.Helper()
	answer := r.TryRegister(registration)
	require.Equal(r.t, http.StatusCreated, answer.Status, answer.Body)
	id, ok := answer.JSON(r.t)["id"].(string)
	require.True(r.t, ok, answer.Body)
	return id
}

// RegisterDeployment registers an endpoint in the manner of today, and returns its id.
func (r *Runtime) RegisterDeployment(uri string) string {
	r.t.Helper()
	body, err := json.Marshal(map[string]string{"uri": uri})
	require.NoError(r.t, err)
	answer := r.MetaDo(http.MethodPost, "/deployments", string(body))
	require.Equal(r.t, http.StatusCreated, answer.Status, answer.Body)
	id, ok := answer.JSON(r.t)["id"].(string)
	require.True(r.t, ok, answer.Body)
	return id
}

// Call calls a method with a JSON request, as curl would.
func (r *Runtime) Call(method, request string, headers ...string) (Answer, error) {
	return Do(http.MethodPost, "http://"+r.Ingress+"/"+method, request, headers...)
}

// MustCall calls a method, expects success and returns the answer's body.
func (r *Runtime) MustCall(method, request string, headers ...string) string {
	r.t.Helper()
	answer, err := r.Call(method, request, headers...)
	require.NoError(r.t, err)
	require.Equal(r.t, http.StatusOK, answer.Status, answer.Body)
	return answer.Body
}

// MetaGet reads from the REST API of meta.
func (r *Runtime) MetaGet(path string) Answer {
	r.t.Helper()
	return r.MetaDo(http.MethodGet, path, "")
}

// MetaDo sends a request to the REST API of meta.
func (r *Runtime) MetaDo(method, path, body string) Answer {
	r.t.Helper()
	answer, err := Do(method, "http://"+r.Meta+path, body)
	require.NoError(r.t, err)
	return answer
}

// Invocation is an invocation that is not over.
type Invocation struct {
	ID       string `json:"id"`
	Service  string `json:"service"`
	Method   string `json:"method"`
	Status   string `json:"status"`
	Endpoint string `json:"endpoint_id"`
	// JournalLength is how many entries its journal has.
	JournalLength int `json:"journal_length"`
	// Attempts, LastFailure and LastFailureCode are about the current run.
	Attempts        int    `json:"attempts"`
	LastFailure     string `json:"last_failure"`
	LastFailureCode string `json:"last_failure_code"`
}

// Invocations returns the invocations that are not over.
func (r *Runtime) Invocations() ([]Invocation, error) {
	answer, err := Do(http.MethodGet, "http://"+r.Meta+"/invocations", "")
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, fmt.Errorf("meta answers %d %s", answer.Status, answer.Body)
	}
	var list struct {
		Invocations []Invocation `json:"invocations"`
	}
	err = json.Unmarshal([]byte(answer.Body), &list)
	return list.Invocations, err
}

// AwaitInvocation waits until the method of the service has one invocation, with that status, and returns it.
func (r *Runtime) AwaitInvocation(service, method, status string) Invocation {
	r.t.Helper()
	var found []Invocation
	await.True(r.t, await.Deadline, func() bool {
		all, err := r.Invocations()
		found = slices.DeleteFunc(all, func(i Invocation) bool { return i.Service != service || i.Method != method || i.Status != status })
		return err == nil && len(found) == 1
	}, fmt.Sprintf("%s/%s to be %s", service, method, status))
	return found[0]
}

// AwaitIdle waits until every invocation is over.
func (r *Runtime) AwaitIdle(deadline time.Duration) {
	r.t.Helper()
	var open []Invocation
	var err error
	end := time.Now().Add(deadline)
	for {
		if open, err = r.Invocations(); err == nil && len(open) == 0 {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("after %s, %d invocations are not over: %+v, error %v", deadline, len(open), open, err)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the pace of polling
	}
}
