package lambda_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/endpoint/lambda"
	"github.com/restate-go/restate/pkg/errcode"
)

const accepted = `{"statusCode": 202, "headers": {"content-type": "a/b", "X-Restate-Server": "sdk"}, "body": "AAEC", "isBase64Encoded": true}`

func TestRequestIsAnEvent(t *testing.T) {
	aws := start(t, say(accepted))
	given, err := invoke(t, aws.client(), lambda.Function{ARN: arn}, "\x00frames")
	require.NoError(t, err)
	require.Equal(t, "\x00\x01\x02", given.body)
	require.Equal(t, http.StatusAccepted, given.code)
	require.Equal(t, "202 Accepted", given.status)
	require.Equal(t, http.Header{"Content-Type": {"a/b"}, "X-Restate-Server": {"sdk"}}, given.header)

	seen := aws.last(t)
	require.Equal(t, arn, seen.function)
	require.Equal(t, "RequestResponse", seen.header.Get("X-Amz-Invocation-Type"))
	require.Equal(t, "application/octet-stream", seen.header.Get("Content-Type"))
	require.Regexp(t, `^OWN/\d{8}/eu-central-1/lambda/aws4_request$`, seen.credential())
	require.Regexp(t, `^AWS4-HMAC-SHA256 .*Signature=[0-9a-f]{64}$`, seen.header.Get("Authorization"))
	require.Equal(t, event{
		Path: "/invoke/Greeter/greet", HTTPMethod: "POST", Body: []byte("\x00frames"), IsBase64Encoded: true,
		Headers: map[string]string{"content-type": "application/vnd.restate.invocation.v7", "x-many": "a, b", "host": "greeter.test"},
	}, seen.event)
}

// Discovery has no body, which is empty and not absent.
func TestRequestWithoutBody(t *testing.T) {
	var payload []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, accepted)
	}))
	t.Cleanup(server.Close)
	environment(t, map[string]string{"AWS_ACCESS_KEY_ID": "OWN", "AWS_SECRET_ACCESS_KEY": "secret"})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, arn, http.NoBody)
	require.NoError(t, err)
	r.URL.Path = "/discover"
	response, err := lambda.New(lambda.Config{EndpointURL: server.URL}, http.DefaultTransport).
		Transport(lambda.Function{ARN: arn}).RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.JSONEq(t, `{"path": "/discover", "httpMethod": "GET", "headers": {}, "body": "", "isBase64Encoded": true}`, string(payload))
}

func TestAnswerInPlainText(t *testing.T) {
	aws := start(t, say(`{"statusCode": 500, "headers": {}, "body": "oh"}`))
	given, err := invoke(t, aws.client(), lambda.Function{ARN: arn}, "")
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, given.code)
	require.Equal(t, "oh", given.body)
}

func TestAnswersOfOthers(t *testing.T) {
	for name, c := range map[string]struct{ answer, says string }{
		"nothing":          {`null`, "statusCode 0"},
		"text":             {`"hello"`, "not that of a Restate SDK"},
		"no JSON":          {`<html>`, "not that of a Restate SDK"},
		"a wild status":    {`{"statusCode": 70000}`, "statusCode 70000"},
		"no base64":        {`{"statusCode": 200, "body": "?", "isBase64Encoded": true}`, "the body"},
		"an endless story": {strings.Repeat("x", 9<<20), "larger than 8388608 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			aws := start(t, say(c.answer))
			_, err := invoke(t, aws.client(), lambda.Function{ARN: arn}, "")
			require.Equal(t, errcode.ProtocolViolated, errcode.Of(err, ""), err)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestFailuresOfFunctions(t *testing.T) {
	for name, c := range map[string]struct{ payload, says string }{
		"an exception": {
			`{"errorType": "Runtime.ImportModuleError", "errorMessage": "Cannot find module 'x'", "trace": []}`,
			"the function failed (Unhandled): Runtime.ImportModuleError: Cannot find module 'x'",
		},
		"something else": {`oops`, "the function failed (Unhandled): oops"},
	} {
		t.Run(name, func(t *testing.T) {
			aws := start(t, func(w http.ResponseWriter, _ event) {
				w.Header().Set("X-Amz-Function-Error", "Unhandled")
				_, _ = io.WriteString(w, c.payload)
			})
			_, err := invoke(t, aws.client(), lambda.Function{ARN: arn}, "")
			require.Equal(t, errcode.ServiceFailed, errcode.Of(err, ""), err)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// What AWS refuses tells whether it may pass: an error without a code may.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, event)
		code   errcode.Code
		says   string
	}{
		"missing": {
			refuse(404, "ResourceNotFoundException", "Function not found: "+arn), errcode.FunctionRefused, "404 ResourceNotFoundException: Function not found",
		},
		"forbidden": {
			refuse(403, "AccessDeniedException", "no lambda:InvokeFunction"), errcode.FunctionRefused, "403 AccessDeniedException: no lambda:InvokeFunction",
		},
		"too large": {refuse(413, "RequestTooLargeException", "6291456"), errcode.RequestTooLarge, "413 RequestTooLargeException"},
		"pending":   {refuse(409, "ResourceConflictException", "Pending"), "", "409 ResourceConflictException: Pending"},
		"broken":    {refuse(500, "ServiceException", "sorry"), "", "AWS Lambda answers 500 ServiceException: sorry"},
		"a gateway": {func(w http.ResponseWriter, _ event) { w.WriteHeader(http.StatusBadGateway) }, "", "AWS Lambda answers 502"},
		"an answer that breaks off": {
			func(w http.ResponseWriter, _ event) {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, `{"statusCode"`)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler) //nolint:forbidigo // how a handler of net/http breaks off
			}, "", "unexpected EOF",
		},
		"elsewhere": {
			func(w http.ResponseWriter, _ event) {
				w.Header().Set("Location", "http://elsewhere.test/")
				w.WriteHeader(http.StatusTemporaryRedirect)
			}, errcode.FunctionRefused, "307",
		},
	} {
		t.Run(name, func(t *testing.T) {
			aws := start(t, c.answer)
			_, err := invoke(t, aws.client(), lambda.Function{ARN: arn}, "")
			require.ErrorContains(t, err, c.says)
			require.Equal(t, c.code, errcode.Of(err, ""), err)
			require.Len(t, aws.invocations, 1, "it is for others to try again")
		})
	}
}

func TestThrottledIsBusy(t *testing.T) {
	aws := start(t, refuse(429, "TooManyRequestsException", "Rate Exceeded.", "Retry-After", "3"))
	given, err := invoke(t, aws.client(), lambda.Function{ARN: arn}, "")
	require.NoError(t, err)
	require.Equal(t, http.StatusTooManyRequests, given.code)
	require.Equal(t, "429 TooManyRequestsException: Rate Exceeded.", given.status)
	require.Equal(t, "3", given.header.Get("Retry-After"))
	require.Empty(t, given.body)
	require.Len(t, aws.invocations, 1)
}

func TestNobodyAnswers(t *testing.T) {
	environment(t, map[string]string{"AWS_ACCESS_KEY_ID": "OWN", "AWS_SECRET_ACCESS_KEY": "secret"})
	client := lambda.New(lambda.Config{EndpointURL: "http://127.0.0.1:1"}, http.DefaultTransport)
	_, err := invoke(t, client, lambda.Function{ARN: arn}, "")
	require.ErrorContains(t, err, "connection refused")
	require.Empty(t, errcode.Of(err, ""))
}

func TestRole(t *testing.T) {
	aws := start(t, say(accepted))
	client := aws.client(func(c *lambda.Config) { c.AssumeRoleExternalID = "mine" })
	for range 3 {
		_, err := invoke(t, client, lambda.Function{ARN: arn, Role: role}, "")
		require.NoError(t, err)
		require.Regexp(t, `^ASSUMED/\d{8}/eu-central-1/lambda/`, aws.last(t).credential())
		require.Equal(t, "token", aws.last(t).header.Get("X-Amz-Security-Token"))
	}
	require.Len(t, aws.assumed, 1, "the credentials are kept")
	require.Equal(t, "AssumeRole", aws.assumed[0].Get("Action"))
	require.Equal(t, role, aws.assumed[0].Get("RoleArn"))
	require.Equal(t, "mine", aws.assumed[0].Get("ExternalId"))
	require.Regexp(t, `^restate-\d+$`, aws.assumed[0].Get("RoleSessionName"))

	_, err := invoke(t, client, lambda.Function{ARN: arn}, "")
	require.NoError(t, err)
	require.Regexp(t, `^OWN/`, aws.last(t).credential())

	_, err = invoke(t, client, lambda.Function{ARN: arn, Role: role + "/forbidden"}, "")
	require.Equal(t, errcode.FunctionRefused, errcode.Of(err, ""), err)
	require.ErrorContains(t, err, "there are no credentials for AWS")
	require.ErrorContains(t, err, "not for you")
}

// The SDK of AWS finds its way as it does elsewhere.
func TestEnvironment(t *testing.T) {
	aws := start(t, say(accepted))
	t.Setenv("AWS_ENDPOINT_URL_LAMBDA", aws.url)
	other := strings.Replace(arn, "eu-central-1", "us-east-1", 1)
	_, err := invoke(t, lambda.New(lambda.Config{}, http.DefaultTransport), lambda.Function{ARN: other}, "")
	require.NoError(t, err)
	require.Regexp(t, `^OWN/\d{8}/us-east-1/lambda/`, aws.last(t).credential())
}

func TestProfile(t *testing.T) {
	aws := start(t, say(accepted))
	file := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(file, []byte("[team]\naws_access_key_id = TEAM\naws_secret_access_key = secret\n"), 0o600))
	environment(t, map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file})
	_, err := invoke(t, aws.client(func(c *lambda.Config) { c.Profile = "team" }), lambda.Function{ARN: arn}, "")
	require.NoError(t, err)
	require.Regexp(t, `^TEAM/`, aws.last(t).credential())

	client := aws.client(func(c *lambda.Config) { c.Profile = "nobody" })
	_, err = invoke(t, client, lambda.Function{ARN: arn}, "")
	require.Equal(t, errcode.FunctionRefused, errcode.Of(err, ""), err)
	require.ErrorContains(t, err, "nobody")
}

func TestNoCredentials(t *testing.T) {
	aws := start(t, say(accepted))
	environment(t, nil)
	_, err := invoke(t, aws.client(), lambda.Function{ARN: arn}, "")
	require.Equal(t, errcode.FunctionRefused, errcode.Of(err, ""), err)
	require.ErrorContains(t, err, "there are no credentials for AWS")
	require.Empty(t, aws.invocations)
}

// Whoever gives the credentials may be away for a moment, which is no refusal.
func TestCredentialsMayComeLater(t *testing.T) {
	metadata := func(status int) map[string]string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(server.Close)
		return map[string]string{"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL}
	}
	container := func(status int) map[string]string {
		return map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata(status)["AWS_EC2_METADATA_SERVICE_ENDPOINT"]}
	}
	own := map[string]string{"AWS_ACCESS_KEY_ID": "OWN", "AWS_SECRET_ACCESS_KEY": "secret"}
	for name, c := range map[string]struct {
		environment map[string]string
		role        string
		sts         string
		code        errcode.Code
	}{
		"STS refuses":              {environment: own, role: role + "/forbidden", code: errcode.FunctionRefused},
		"STS is unwell":            {environment: own, role: role + "/unwell"},
		"STS is asked too often":   {environment: own, role: role + "/throttled"},
		"STS cannot be reached":    {environment: own, role: role, sts: "http://127.0.0.1:1"},
		"the machine has no role":  {environment: metadata(http.StatusNotFound), code: errcode.FunctionRefused},
		"the machine is unwell":    {environment: metadata(http.StatusServiceUnavailable)},
		"the container refuses":    {environment: container(http.StatusForbidden), code: errcode.FunctionRefused},
		"the container is unwell":  {environment: container(http.StatusInternalServerError)},
		"the container is not up":  {environment: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1"}},
		"the container is nowhere": {environment: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://10.0.0.1"}, code: errcode.FunctionRefused},
	} {
		t.Run(name, func(t *testing.T) {
			aws := start(t, say(accepted))
			environment(t, c.environment)
			t.Setenv("AWS_ENDPOINT_URL_LAMBDA", aws.url)
			t.Setenv("AWS_ENDPOINT_URL_STS", cmp.Or(c.sts, aws.url))
			_, err := invoke(t, lambda.New(lambda.Config{}, http.DefaultTransport), lambda.Function{ARN: arn, Role: c.role}, "")
			require.Error(t, err)
			require.Equal(t, c.code, errcode.Of(err, ""), err)
			require.Empty(t, aws.invocations)
		})
	}
}

// An attempt that is over says nothing about the credentials.
func TestCredentialsOutOfTime(t *testing.T) {
	over := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(over) }) // the SDK of AWS goes on to ask when the attempt is over
	environment(t, map[string]string{"AWS_ACCESS_KEY_ID": "OWN", "AWS_SECRET_ACCESS_KEY": "secret"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, arn, http.NoBody)
	require.NoError(t, err)
	client := lambda.New(lambda.Config{EndpointURL: silent.URL}, http.DefaultTransport)
	response, err := client.Transport(lambda.Function{ARN: arn, Role: role}).RoundTrip(r)
	if err == nil {
		response.Body.Close()
	}
	require.ErrorContains(t, err, "there are no credentials for AWS")
	require.Empty(t, errcode.Of(err, ""))
}

func TestCompression(t *testing.T) {
	large := strings.Repeat("a large journal ", 5<<16) // 5 MiB
	aws := start(t, func(w http.ResponseWriter, e event) {
		body, headers := e.Body, map[string]string{}
		if e.Headers["content-encoding"] == lambda.Zstd {
			decoder, _ := zstd.NewReader(bytes.NewReader(body))
			defer decoder.Close()
			body, _ = io.ReadAll(decoder)
		}
		if e.Headers["accept-encoding"] == lambda.Zstd {
			encoder, _ := zstd.NewWriter(nil)
			body = encoder.EncodeAll(body, nil)
			headers["content-encoding"] = lambda.Zstd
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"statusCode": 200, "headers": headers, "body": base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true,
		})
	})
	function := lambda.Function{ARN: arn, Compression: lambda.Zstd}
	given, err := invoke(t, aws.client(), function, large)
	require.NoError(t, err)
	require.Equal(t, large, given.body)
	require.Empty(t, given.header)
	require.Less(t, len(aws.last(t).event.Body), 1<<20)

	given, err = invoke(t, aws.client(), function, "small")
	require.NoError(t, err)
	require.Equal(t, "small", given.body)
	require.Equal(t, "small", string(aws.last(t).event.Body))
	require.NotContains(t, aws.last(t).event.Headers, "content-encoding")

	_, err = invoke(t, aws.client(), lambda.Function{ARN: arn}, "small")
	require.NoError(t, err)
	require.NotContains(t, aws.last(t).event.Headers, "accept-encoding")
}

func TestCompressedGarbage(t *testing.T) {
	aws := start(t, say(`{"statusCode": 200, "headers": {"content-encoding": "zstd"}, "body": "AAEC", "isBase64Encoded": true}`))
	_, err := invoke(t, aws.client(), lambda.Function{ARN: arn, Compression: lambda.Zstd}, "")
	require.Error(t, err)
}

func TestTooLarge(t *testing.T) {
	aws := start(t, say(accepted))
	_, err := invoke(t, aws.client(), lambda.Function{ARN: arn}, strings.Repeat("x", 5<<20))
	require.Equal(t, errcode.RequestTooLarge, errcode.Of(err, ""), err)
	require.ErrorContains(t, err, "more than the 6291456 bytes")
	require.Empty(t, aws.invocations)
}

// endless is a request's body that never ends. It says when it is closed.
type endless struct {
	io.Reader
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	e.read += n
	return n, err
}

func (e *endless) Close() error {
	e.closed = true
	return nil
}

// No more is read of a request than may fit.
func TestEndlessRequests(t *testing.T) {
	aws := start(t, say(accepted))
	client := aws.client()
	for compression, most := range map[string]int{"": 5 << 20, lambda.Zstd: 10 << 20} {
		body := &endless{Reader: rand.NewChaCha8([32]byte{})} // which does not compress
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, arn, body)
		require.NoError(t, err)
		response, err := client.Transport(lambda.Function{ARN: arn, Compression: compression}).RoundTrip(r)
		if err == nil {
			require.NoError(t, response.Body.Close())
		}
		require.Equal(t, errcode.RequestTooLarge, errcode.Of(err, ""), err)
		require.Less(t, body.read, most)
		require.True(t, body.closed)
	}
	require.Empty(t, aws.invocations)
}

// Whoever accounts for the body of a request does so for as long as it is in memory.
func TestRequestIsHeldUntilTheAnswer(t *testing.T) {
	body := &endless{Reader: strings.NewReader("frames")}
	asked := make(chan bool, 1)
	aws := start(t, func(w http.ResponseWriter, _ event) {
		asked <- body.closed
		_, _ = io.WriteString(w, accepted)
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, arn, body)
	require.NoError(t, err)
	response, err := aws.client().Transport(lambda.Function{ARN: arn}).RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.False(t, <-asked)
	require.True(t, body.closed)
}

// Answers that nobody has read yet take memory, of which there is an end; and give it back.
func TestMemory(t *testing.T) {
	large := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 4<<20))
	aws := start(t, say(`{"statusCode": 200, "body": "`+large+`", "isBase64Encoded": true}`))
	client := aws.client()
	answerOf := func(arn string) (unread io.Closer, err error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, arn, http.NoBody)
		require.NoError(t, err)
		response, err := client.Transport(lambda.Function{ARN: arn}).RoundTrip(r)
		if err != nil {
			return nil, err
		}
		return response.Body, nil
	}
	answer := func() (unread io.Closer, err error) { return answerOf(arn) }
	var unread []io.Closer
	for {
		body, err := answer()
		if err != nil {
			require.Equal(t, errcode.MemoryExhausted, errcode.Of(err, ""), err)
			break
		}
		unread = append(unread, body)
		require.Less(t, len(unread), 100)
	}
	require.Greater(t, len(unread), 8)
	other, err := answerOf(strings.Replace(arn, "greeter", "other", 1))
	require.NoError(t, err, "no function has all of it")
	require.NoError(t, other.Close())
	for _, body := range unread {
		require.NoError(t, body.Close())
	}
	for range unread {
		body, err := answer()
		require.NoError(t, err)
		require.NoError(t, body.Close())
	}
}

func TestARNs(t *testing.T) {
	for _, good := range []string{
		arn, "arn:aws-cn:lambda:cn-north-1:123456789012:function:f:$LATEST", "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:a_b-c:live",
	} {
		require.NoError(t, lambda.CheckARN(good), good)
	}
	for bad, says := range map[string]string{
		"arn:aws:lambda:eu-central-1:123456789012:function:greeter":    "which version or alias",
		"arn:aws:lambda:eu-central-1:123456789012:function:greeter:":   "which version or alias",
		"arn:aws:lambda:eu-central-1:123456789012:function:greeter:1:": "has to be arn:aws:lambda:REGION",
		"arn:aws:lambda:eu-central-1:1234:function:greeter:1":          "has to be",
		"arn:aws:s3:::bucket": "has to be",
		"greeter:1":           "has to be",
		arn + "\n":            "has to be",
		arn + "/../x":         "has to be",
		"arn:aws:lambda:" + strings.Repeat("x", 3000): "the most is 2048",
	} {
		require.ErrorContains(t, lambda.CheckARN(bad), says, bad)
	}
	require.NoError(t, lambda.CheckRole(role))
	for _, bad := range []string{"", "invoker", arn, "arn:aws:iam::210987654321:user/me", role + " x"} {
		require.Error(t, lambda.CheckRole(bad), bad)
	}
}
