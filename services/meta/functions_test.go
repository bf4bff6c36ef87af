package meta_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/services/meta"
)

const (
	functionARN = "arn:aws:lambda:eu-central-1:123456789012:function:f:1"
	otherARN    = "arn:aws:lambda:eu-central-1:123456789012:function:f:2"
	roleARN     = "arn:aws:iam::123456789012:role/invoker"
)

// ofAWS configures a meta to find functions, whose versions 1 and 2 answer with the manifest, where the stand-in for AWS is.
// The first invocations are refused with the statuses. Roles are given credentials; versions above 2 do not exist.
func ofAWS(t *testing.T, manifest string, refusals ...int) func(*meta.Config) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "OWN")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_PROFILE", "")
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			_, _ = w.Write([]byte(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>` +
				`<AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>` +
				`<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`))
			return
		}
		if n := int(asked.Add(1)); n <= len(refusals) {
			w.WriteHeader(refusals[n-1])
			return
		}
		arn := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/2015-03-31/functions/"), "/invocations")
		if arn != functionARN && arn != otherARN {
			w.Header().Set("X-Amzn-Errortype", "ResourceNotFoundException")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"Message": "Function not found"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"statusCode": 200, "isBase64Encoded": true, "body": base64.StdEncoding.EncodeToString([]byte(manifest)),
			"headers": map[string]string{
				"content-type": "application/vnd.restate.endpointmanifest.v4+json", "x-restate-server": "restate-sdk-test/1.0.0",
			},
		})
	}))
	t.Cleanup(server.Close)
	return func(cfg *meta.Config) { cfg.Endpoint.AWS.EndpointURL = server.URL }
}

func TestFunctions(t *testing.T) {
	compresses := strings.Replace(smallManifest, `{`, `{"lambdaCompression":"zstd",`, 1)
	r := start(t, ofAWS(t, compresses))
	created := r.deploy(map[string]any{"arn": functionARN, "assume_role_arn": roleARN, "metadata": map[string]string{"a": "b"}})
	require.Equal(t, 201, created.status, created.body)
	path := "/deployments/" + created.member(t, "id").(string)

	shown := r.call("GET", path, "")
	require.Equal(t, functionARN, shown.member(t, "arn"))
	require.Equal(t, roleARN, shown.member(t, "assume_role_arn"))
	require.Equal(t, "zstd", shown.member(t, "compression"))
	require.Equal(t, "restate-sdk-test/1.0.0", shown.member(t, "sdk_version"))
	listed := r.call("GET", "/deployments", "").member(t, "deployments").([]any)[0].(map[string]any)
	require.Equal(t, functionARN, listed["arn"])
	for _, of := range []string{"uri", "protocol_type", "http_version"} {
		require.NotContains(t, listed, of)
	}
	endpoint := r.call("GET", "/endpoints", "").member(t, "endpoints").([]any)[0].(map[string]any)
	require.Equal(t, functionARN, endpoint["arn"])
	require.NotContains(t, endpoint, "uri")
	require.Equal(t, "RequestResponse", endpoint["protocol_type"], "whatever the manifest says")

	require.Equal(t, 200, r.deploy(map[string]any{"arn": functionARN}).status, "it is there already")
	second := r.deploy(map[string]any{"arn": otherARN})
	require.Equal(t, 201, second.status, second.body)
	require.NotEqual(t, created.member(t, "id"), second.member(t, "id"), "each version is a deployment")
	require.Equal(t, 202, r.call("DELETE", "/deployments/"+second.member(t, "id").(string)+"?force=true", "").status)

	moved := r.call("PATCH", path, `{"arn":"`+otherARN+`","assume_role_arn":""}`)
	require.Equal(t, 200, moved.status, moved.body)
	require.Equal(t, otherARN, moved.member(t, "arn"))
	require.NotContains(t, moved.body, "assume_role_arn")
	require.Equal(t, map[string]any{"a": "b"}, moved.member(t, "metadata"))
	require.Equal(t, 400, r.call("PATCH", path, `{"uri":"http://127.0.0.1:1"}`).status)
	require.Equal(t, 400, r.call("PATCH", path, `{"arn":"arn"}`).status)
}

func TestFunctionsThatCannotBeRegistered(t *testing.T) {
	r := start(t, ofAWS(t, smallManifest))
	for name, c := range map[string]struct {
		request    map[string]any
		status     int
		code, says string
	}{
		"no version":     {map[string]any{"arn": strings.TrimSuffix(functionARN, ":1")}, 400, "META0400", "which version or alias"},
		"no function":    {map[string]any{"arn": "arn:aws:s3:::bucket"}, 400, "META0400", "has to be arn:aws:lambda"},
		"no role":        {map[string]any{"arn": functionARN, "assume_role_arn": "me"}, 400, "META0400", "has to be arn:aws:iam"},
		"both":           {map[string]any{"arn": functionARN, "uri": "http://127.0.0.1:1"}, 400, "META0400", "not both"},
		"a role for URI": {map[string]any{"assume_role_arn": roleARN, "uri": "http://127.0.0.1:1"}, 400, "META0400", "assume_role_arn is for functions"},
		"a bad header":   {map[string]any{"arn": functionARN, "additional_headers": map[string]string{"accept": "x"}}, 400, "META0400", "set by the runtime"},
		"missing":        {map[string]any{"arn": functionARN + "0"}, 500, "META0003", "(1 attempt in"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := r.deploy(c.request)
			require.Equal(t, c.status, answer.status, answer.body)
			message, code := answer.failure(t)
			require.Equal(t, c.code, code)
			require.Contains(t, message, c.says)
		})
	}
	require.Empty(t, r.call("GET", "/deployments", "").member(t, "deployments"))
}

// A function that is throttled, or just being created, is asked again.
func TestFunctionsThatAreNotReadyYet(t *testing.T) {
	r := start(t, ofAWS(t, smallManifest, http.StatusTooManyRequests, http.StatusConflict))
	created := r.deploy(map[string]any{"arn": functionARN})
	require.Equal(t, 201, created.status, created.body)
}

func TestCommandsForFunctions(t *testing.T) {
	r := start(t, ofAWS(t, smallManifest))
	printed, err := r.run("deployments", "register", functionARN, "--assume-role-arn", roleARN)
	require.NoError(t, err)
	require.Contains(t, printed, "Registered:  "+functionARN)
	printed, err = r.run("deployments", "describe", functionARN)
	require.NoError(t, err)
	require.Regexp(t, `ARN: +`+functionARN, printed)
	require.Regexp(t, `Role: +`+roleARN, printed)
	printed, err = r.run("deployments", "list")
	require.NoError(t, err)
	require.Regexp(t, functionARN+` +Lambda +1 `, printed)
	printed, err = r.run("endpoints", "list")
	require.NoError(t, err)
	require.Regexp(t, functionARN+` +RequestResponse +1 `, printed)
	_, err = r.run("deployments", "remove", functionARN, "--force")
	require.NoError(t, err)
	_, err = r.run("endpoints", "describe", functionARN)
	require.ErrorContains(t, err, "there is no endpoint at "+functionARN)
}
