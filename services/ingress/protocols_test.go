package ingress_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/restate-go/restate/pkg/schema"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
)

// startWithServices starts an ingress that knows the captured services.
func startWithServices(t testing.TB, options ...option) *running {
	t.Helper()
	r := startIngress(t, newCluster(t), options...)
	r.register(t, "http://typed:9080/", typedServices)
	return r
}

// response is what a plain HTTP client sees.
type response struct {
	status int
	header http.Header
	body   string
}

// send sends a request as curl does.
func send(ctx context.Context, client *http.Client, method, url, contentType, body string, headers ...string) (response, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := client.Do(request)
	if err != nil {
		return response{}, err
	}
	data, err := io.ReadAll(answer.Body)
	return response{status: answer.StatusCode, header: answer.Header, body: string(data)}, errors.Join(err, answer.Body.Close())
}

// do sends a request and waits for the answer.
func do(t testing.TB, client *http.Client, method, url, contentType, body string, headers ...string) response {
	t.Helper()
	answer, err := send(t.Context(), client, method, url, contentType, body, headers...)
	require.NoError(t, err)
	return answer
}

// background sends a request to Greeter/Greet whose answer is waited for later.
func background(t testing.TB, r *running, client *http.Client) <-chan response {
	t.Helper()
	answers := make(chan response, 1)
	ctx := t.Context()
	go func() {
		answer, err := send(ctx, client, http.MethodPost, r.url+"/seedera.Greeter/Greet", "application/json", `{}`)
		if err != nil {
			t.Errorf("call Greeter/Greet: %v", err)
		}
		answers <- answer
	}()
	return answers
}

func post(t testing.TB, r *running, path, body string, headers ...string) response {
	t.Helper()
	return do(t, http.DefaultClient, http.MethodPost, r.url+path, "application/json", body, headers...)
}

func TestEveryClient(t *testing.T) {
	r := startWithServices(t)
	r.worker.answer(func(invoke *logv1.Invoke) *journalv1.Result {
		var name wrapperspb.StringValue
		if err := proto.Unmarshal(invoke.GetArgument(), &name); err != nil {
			return failed(13, err.Error())
		}
		data, _ := proto.Marshal(wrapperspb.Bool(name.GetValue() == "yes"))
		return success(data)
	})
	const path = "/seedera.Greeter/Bool"
	for name, client := range map[string]*http.Client{"HTTP/1.1": h1(t), "HTTP/2": h2c(t)} {
		for protocol, options := range map[string][]connect.ClientOption{
			"Connect":       nil,
			"Connect JSON":  {connect.WithProtoJSON()},
			"gRPC-Web":      {connect.WithGRPCWeb()},
			"gRPC-Web JSON": {connect.WithGRPCWeb(), connect.WithProtoJSON()},
			"gRPC":          {connect.WithGRPC()},
		} {
			if protocol == "gRPC" && name == "HTTP/1.1" {
				continue // gRPC needs trailers
			}
			t.Run(protocol+" over "+name, func(t *testing.T) {
				caller := connect.NewClient[wrapperspb.StringValue, wrapperspb.BoolValue](client, r.url+path, options...)
				answer, err := caller.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("yes")))
				require.NoError(t, err)
				require.True(t, answer.Msg.GetValue())
				answer, err = caller.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("")))
				require.NoError(t, err)
				require.False(t, answer.Msg.GetValue())
			})
		}
		t.Run("curl over "+name, func(t *testing.T) {
			answer := do(t, client, http.MethodPost, r.url+path, "application/json", `"yes"`)
			require.Equal(t, response{200, answer.header, "true"}, answer)
			require.Equal(t, "application/json", answer.header.Get("Content-Type"))
			answer = do(t, client, http.MethodPost, r.url+path, "application/protobuf", "\x0a\x03yes")
			require.Equal(t, response{200, answer.header, "\x08\x01"}, answer)
			require.Equal(t, "application/proto", answer.header.Get("Content-Type"))
		})
	}
	t.Run("grpc-go", func(t *testing.T) {
		conn := dial(t, r)
		answer := &wrapperspb.BoolValue{}
		require.NoError(t, conn.Invoke(t.Context(), path, wrapperspb.String("yes"), answer))
		require.True(t, answer.GetValue())
	})
	t.Run("gRPC-Web text", func(t *testing.T) {
		answer := do(t, h1(t), http.MethodPost, r.url+path, "application/grpc-web-text", encodeWebText(wrapperspb.String("yes")))
		require.Equal(t, 200, answer.status)
		require.Equal(t, "application/grpc-web-text", answer.header.Get("Content-Type"))
		data, err := base64.StdEncoding.DecodeString(answer.body)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(data, []byte{0, 0, 0, 0, 2, 8, 1}), "%q", data)
		require.Contains(t, string(data), "grpc-status: 0")
	})
}

// encodeWebText encodes prefix and message as pieces of their own, each padded.
func encodeWebText(message proto.Message) string {
	data, _ := proto.Marshal(message)
	prefix := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data)))
	return base64.StdEncoding.EncodeToString(prefix) + base64.StdEncoding.EncodeToString(data)
}

func dial(t testing.TB, r *running) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(r.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func TestRequestBytesArePassedOnUntouched(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(&emptypb.Empty{})
	// Fields out of order, an unknown one, and a varint longer than it need be.
	const body = "\x10\x81\x00" + "\x0a\x01x" + "\xf8\x06\x01"
	answer := do(t, h1(t), http.MethodPost, r.url+"/seedera.Greeter/Greet", "application/proto", body)
	require.Equal(t, 200, answer.status)
	require.Empty(t, answer.body)
	require.Equal(t, body, string(r.worker.last().GetArgument()))
}

func TestTargets(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(&emptypb.Empty{})
	for path, c := range map[string]struct {
		body, key string
		kind      journalv1.ServiceKind
	}{
		"/seedera.Counter/Add":   {`{"counter_name":"123","delta":"1"}`, "\x03123", journalv1.ServiceKind_SERVICE_KIND_KEYED},
		"/seedera.Counter/Get":   {`{"counterName":"123"}`, "\x03123", journalv1.ServiceKind_SERVICE_KIND_KEYED},
		"/seedera.Counter/Clear": {`{}`, "", journalv1.ServiceKind_SERVICE_KIND_KEYED},
		"/seedera.Single/Bump":   {`{}`, "", journalv1.ServiceKind_SERVICE_KIND_SINGLETON},
		"/seedera.Greeter/Greet": {`{"name":"a"}`, "", journalv1.ServiceKind_SERVICE_KIND_UNKEYED},
		"/seedera.Composite/Do":  {`{"x":"y","person":{"last":"b","first":"a"}}`, "\x06\x0a\x01a\x12\x01b", journalv1.ServiceKind_SERVICE_KIND_KEYED},
		"/plainSvc/hello":        {`{"request":{"a":1}}`, "", journalv1.ServiceKind_SERVICE_KIND_UNKEYED},
	} {
		t.Run(path, func(t *testing.T) {
			answer := post(t, r, path, c.body)
			require.Equal(t, 200, answer.status, answer.body)
			invoke := r.worker.last()
			require.Equal(t, path, "/"+invoke.GetTarget().GetService()+"/"+invoke.GetTarget().GetHandler())
			require.Equal(t, c.key, string(invoke.GetTarget().GetKey()))
			require.Equal(t, c.kind, invoke.GetTarget().GetKind())
			require.Len(t, invoke.GetInvocationId(), 24)
			require.Zero(t, invoke.GetCompletionRetention())
		})
	}
}

func TestGETWithoutBodyIsAnEmptyJSONRequest(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(wrapperspb.Int64(7)) // field 1, as in CounterValue
	answer := do(t, h1(t), http.MethodGet, r.url+"/seedera.Single/Bump", "", "")
	require.Equal(t, response{200, answer.header, `{"value":"7"}`}, answer)
	require.Empty(t, r.worker.last().GetArgument())
}

func TestAnyVersionOfConnect(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(&emptypb.Empty{})
	for _, version := range []string{"1", "2", "x"} {
		require.Equal(t, 200, post(t, r, "/seedera.Single/Bump", `{}`, "Connect-Protocol-Version", version).status)
	}
}

func TestJSONOutput(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(&emptypb.Empty{})
	require.Equal(t, `{"greeting":"","count":"0","mood":"MOOD_UNSPECIFIED"}`, post(t, r, "/seedera.Greeter/Greet", `{}`).body)
	require.Equal(t, `{}`, post(t, r, "/seedera.Counter/Clear", `{}`).body)
}

func TestRouterWithDotsInItsName(t *testing.T) {
	r := startIngress(t, newCluster(t))
	r.register(t, "http://lambda/prefix", routerServices)
	snapshotMethods, err := schema.ParseDiscovery(discovered(t, routerServices))
	require.NoError(t, err)
	require.Equal(t, []string{"my.pkg.Svc"}, snapshotMethods.GetServices())
	r.worker.reply(&emptypb.Empty{})
	var method string
	for _, file := range snapshotMethods.GetFiles().GetFile() {
		for _, service := range file.GetService() {
			if service.GetName() == "my.pkg.Svc" {
				method = service.GetMethod()[0].GetName()
			}
		}
	}
	answer := post(t, r, "/my.pkg.Svc/"+method, `{"request":1}`)
	require.Equal(t, response{200, answer.header, `{}`}, answer)
}

func TestCORS(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(wrapperspb.Bool(true))
	preflight := do(t, h1(t), http.MethodOptions, r.url+"/seedera.Greeter/Bool", "", "",
		"Origin", "https://app.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "content-type,x-grpc-web")
	require.Less(t, preflight.status, 300)
	require.Equal(t, "https://app.example", preflight.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "POST", preflight.header.Get("Access-Control-Allow-Methods"))
	require.Equal(t, "content-type,x-grpc-web", preflight.header.Get("Access-Control-Allow-Headers"))
	require.Equal(t, "true", preflight.header.Get("Access-Control-Allow-Credentials"))
	answer := post(t, r, "/seedera.Greeter/Bool", `"x"`, "Origin", "https://app.example")
	require.Equal(t, 200, answer.status)
	require.Equal(t, "https://app.example", answer.header.Get("Access-Control-Allow-Origin"))
}

func TestClientThatLeavesDoesNotCancel(t *testing.T) {
	r := startWithServices(t)
	release := make(chan struct{})
	arrived := make(chan *logv1.Invoke, 1)
	r.worker.answer(func(invoke *logv1.Invoke) *journalv1.Result {
		arrived <- invoke
		<-release
		return success(nil)
	})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	client := h1(t)
	go func() {
		_, err := send(ctx, client, http.MethodPost, r.url+"/seedera.Greeter/Greet", "application/json", `{}`)
		left <- err
	}()
	<-arrived
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	close(release) // the worker's result is taken, though nobody waits; the worker fails the test if it is not
	require.Equal(t, 200, post(t, r, "/seedera.Greeter/Greet", `{}`).status)
	require.Len(t, r.worker.invoked(), 2)
}

func decode(t testing.TB, text string) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &object), text)
	return object
}
