package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
	"github.com/restate-go/restate/services/meta/internal/discovery"
)

// posted is a request with the body.
func posted(body []byte) *gin.Context {
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	c.Request.Header.Set("Content-Type", "application/json")
	return c
}

// requireBadRequest checks that the error says that the request is at fault, and how.
func requireBadRequest(t *testing.T, err error) {
	require.Equal(t, errcode.BadRequest, errcode.Of(err, ""), "%v", err)
	var other *statusError
	if errors.As(err, &other) {
		require.Contains(t, []int{http.StatusBadRequest, http.StatusUnprocessableEntity}, other.status)
	}
}

// read decodes the body; false when it was refused.
func read[T any](t *testing.T, how func(*gin.Context, any) error, body []byte) (request T, ok bool) {
	if err := how(posted(body), &request); err != nil {
		requireBadRequest(t, err)
		return request, false
	}
	return request, true
}

// FuzzRegistration registers anything: it is refused as a bad request, or names one place, which it still does written as
// it is stored, with headers that can be sent.
func FuzzRegistration(f *testing.F) {
	for _, seed := range []string{
		`{"uri":"http://LOCALHOST:9080/a/../b//","additional_headers":{"x-key":"v"},"force":true}`, `{"uri":"https://[::1]:1/%2f"}`,
		`{"arn":"arn:aws:lambda:eu-central-1:123456789012:function:greeter:1","assume_role_arn":"arn:aws:iam::123456789012:role/r"}`,
		`{"uri":"http://h:0"}`, `{"uri":"http://u@h?q#f"}`, `{"uri":"http://h","additional_headers":{"te":"x"}}`, `{"uri":1}`, `{"uri":`, `{} {}`,
		`{"uri":"http://h","use_http_11":true,"metadata":{"a":"b"},"breaking":true,"dry_run":true}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if request, ok := read[api.RegisterRequest](t, readJSON, body); ok {
			requireTarget(t, func() (discovery.Target, error) { return newTarget(request.URI, request.AdditionalHeaders, false) })
		}
		if request, ok := read[api.RegisterDeploymentRequest](t, readMembers, body); ok {
			requireTarget(t, func() (discovery.Target, error) { return targetOf(request) })
		}
		if request, ok := read[api.UpdateDeploymentRequest](t, readMembers, body); ok {
			for _, e := range []*schema.Endpoint{{URI: "http://greeter.test/"}, {URI: "arn:aws:lambda:eu-central-1:123456789012:function:greeter:1"}} {
				requireTarget(t, func() (discovery.Target, error) { return changedTarget(e, request) })
			}
		}
	})
}

func requireTarget(t *testing.T, of func() (discovery.Target, error)) {
	target, err := of()
	if err != nil {
		requireBadRequest(t, err)
		return
	}
	stored := target.URI.String()
	again, err := changedTarget(
		&schema.Endpoint{URI: stored, AdditionalHeaders: target.Headers, HTTP1: target.HTTP1, AssumeRole: target.AssumeRole},
		api.UpdateDeploymentRequest{},
	)
	require.NoError(t, err)
	require.Equal(t, stored, again.URI.String())
	require.Equal(t, target.AssumeRole, again.AssumeRole)
	if target.URI.Scheme == "arn" {
		return
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, stored, http.NoBody)
	require.NoError(t, err)
	require.NotEmpty(t, request.URL.Hostname())
}

// FuzzPatch changes services and states as anything says: it is refused as a bad request, or means the same written anew.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		`{"public":false,"journal_retention":"1d","abort_timeout":"PT1M"}`, `{"idempotency_retention":"2 hours","inactivity_timeout":null}`,
		`{"workflow_completion_retention":"-1s"}`, `{"public":"no"}`,
		`{"object_key":"k","new_state":{"a":[1,2,255],"b":"text","":[]},"version":"v","scope":"s"}`, `{"object_key":"k","new_state":{"a":null}}`,
		`{"object_key":"k","new_state":{"a":[256]}}`, `{"object_key":1}`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if request, ok := read[api.ModifyRequest](t, readMembers, body); ok {
			requireWritten(t, request, request)
		}
		if request, ok := read[api.PatchStateRequest](t, readMembers, body); ok {
			requireWritten(t, request, struct {
				api.PatchStateRequest
				State map[string][]int `json:"new_state"`
			}{request, numbersOf(request.State)})
		}
	})
}

func numbersOf(state map[string]api.Bytes) map[string][]int {
	if state == nil {
		return nil
	}
	numbers := make(map[string][]int, len(state))
	for key, value := range state {
		numbers[key] = make([]int, len(value))
		for i, b := range value {
			numbers[key][i] = int(b)
		}
	}
	return numbers
}

// requireWritten checks that what was read is read again from what is written of it.
func requireWritten[T any](t *testing.T, want T, written any) {
	encoded, err := json.Marshal(written)
	require.NoError(t, err)
	again, ok := read[T](t, readMembers, encoded)
	require.True(t, ok)
	require.Equal(t, want, again)
}
