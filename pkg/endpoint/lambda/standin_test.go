package lambda_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/endpoint/lambda"
)

const (
	arn  = "arn:aws:lambda:eu-central-1:123456789012:function:greeter:7"
	role = "arn:aws:iam::210987654321:role/invoker"
)

// event is what a function gets.
type event struct {
	Path            string
	HTTPMethod      string
	Headers         map[string]string
	Body            []byte
	IsBase64Encoded bool
}

// invocation is what reached the API of Lambda.
type invocation struct {
	function string
	header   http.Header
	event    event
}

// credential returns who signed, and for what.
func (i invocation) credential() string {
	_, rest, _ := strings.Cut(i.header.Get("Authorization"), "Credential=")
	credential, _, _ := strings.Cut(rest, ",")
	return credential
}

// standIn is in the place of the APIs of AWS.
type standIn struct {
	url string

	mu sync.Mutex
	// invocations and assumed are what was asked of Lambda and STS.
	invocations []invocation
	assumed     []url.Values
}

// refusals are what STS answers to those who ask for the role of this name below the usual one.
var refusals = map[string]struct {
	status int
	code   string
}{
	"forbidden": {http.StatusForbidden, "AccessDenied"},
	"unwell":    {http.StatusServiceUnavailable, "ServiceUnavailable"},
	"throttled": {http.StatusBadRequest, "Throttling"},
}

// start starts a stand-in whose functions answer so, with credentials for it in the environment.
func start(t *testing.T, answer func(http.ResponseWriter, event)) *standIn {
	t.Helper()
	s := &standIn{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{function}/invocations", func(w http.ResponseWriter, r *http.Request) {
		i := invocation{function: r.PathValue("function"), header: r.Header}
		if err := json.NewDecoder(r.Body).Decode(&i.event); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.invocations = append(s.invocations, i)
		s.mu.Unlock()
		answer(w, i.event)
	})
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		s.mu.Lock()
		s.assumed = append(s.assumed, r.PostForm)
		s.mu.Unlock()
		_, name, _ := strings.Cut(r.PostForm.Get("RoleArn"), "/invoker/")
		if refusal, ok := refusals[name]; ok {
			w.WriteHeader(refusal.status)
			_, _ = io.WriteString(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>`+
				`<Code>`+refusal.code+`</Code><Message>not for you</Message></Error></ErrorResponse>`)
			return
		}
		_, _ = io.WriteString(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
			`<AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>`+
			`<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	environment(t, map[string]string{"AWS_ACCESS_KEY_ID": "OWN", "AWS_SECRET_ACCESS_KEY": "secret"})
	return s
}

// environment has the SDK of AWS find nothing but what is given.
func environment(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL_STS", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

// last returns the latest invocation.
func (s *standIn) last(t *testing.T) invocation {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NotEmpty(t, s.invocations)
	return s.invocations[len(s.invocations)-1]
}

// client returns one of the stand-in.
func (s *standIn) client(change ...func(*lambda.Config)) *lambda.Client {
	cfg := lambda.Config{EndpointURL: s.url}
	for _, c := range change {
		c(&cfg)
	}
	return lambda.New(cfg, http.DefaultTransport)
}

// response is a response that was read to its end.
type response struct {
	code         int
	status, body string
	header       http.Header
}

// invoke makes a request of the function.
func invoke(t *testing.T, c *lambda.Client, f lambda.Function, body string) (response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), await.Deadline)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.ARN, strings.NewReader(body))
	require.NoError(t, err)
	r.URL.Path = "/invoke/Greeter/greet"
	r.Header.Set("Content-Type", "application/vnd.restate.invocation.v7")
	r.Header.Add("X-Many", "a")
	r.Header.Add("X-Many", "b")
	r.Header["User-Agent"] = nil
	r.Host = "greeter.test"
	given, err := c.Transport(f).RoundTrip(r)
	if err != nil {
		return response{}, err
	}
	defer given.Body.Close()
	text, err := io.ReadAll(given.Body)
	return response{given.StatusCode, given.Status, string(text), given.Header}, err
}

// say answers with the text, as a function that returns it.
func say(text string) func(http.ResponseWriter, event) {
	return func(w http.ResponseWriter, _ event) {
		w.Header().Set("X-Amz-Executed-Version", "7")
		_, _ = io.WriteString(w, text)
	}
}

// refuse answers with an error of AWS.
func refuse(status int, kind, message string, header ...string) func(http.ResponseWriter, event) {
	return func(w http.ResponseWriter, _ event) {
		w.Header().Set("X-Amzn-Errortype", kind)
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"Message": message})
	}
}
