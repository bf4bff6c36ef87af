package ingress_test

import (
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/restate-go/restate/pkg/ids"
	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
)

func TestOneWayInvoke(t *testing.T) {
	r := startWithServices(t)
	r.setPublic(t, "seedera.Counter", false)
	for name, c := range map[string]struct{ body, argument string }{
		"argument":      {`{"service":"seedera.Counter","method":"Add","argument":{"counter_name":"a","delta":"5"}}`, "\x08\x05\x1a\x01a"},
		"payload":       {`{"service":"seedera.Counter","method":"Add","payload":{"counterName":"a"}}`, "\x1a\x01a"},
		"pb":            {`{"service":"seedera.Counter","method":"Add","pb":"GgFh"}`, "\x1a\x01a"},
		"no argument":   {`{"service":"seedera.Single","method":"Bump"}`, ""},
		"large integer": {`{"service":"seedera.Counter","method":"Add","argument":{"delta":9007199254740993}}`, "\x08\x81\x80\x80\x80\x80\x80\x80\x10"},
		"no object":     {`{"service":"seedera.Greeter","method":"Bool","argument":"yes"}`, "\x0a\x03yes"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := post(t, r, "/dev.restate.Ingress/Invoke", c.body)
			require.Equal(t, 200, answer.status, answer.body)
			invoke := r.worker.next()
			require.Equal(t, c.argument, string(invoke.GetArgument()))
			require.Nil(t, invoke.GetResponseSink())
			id := ids.InvocationID(invoke.GetInvocationId())
			require.Equal(t, `{"id":"`+id.String()+`"}`, answer.body)
		})
	}
}

func TestOneWayInvokeInBinary(t *testing.T) {
	r := startWithServices(t)
	argument, err := structpb.NewStruct(map[string]any{"name": "x"})
	require.NoError(t, err)
	for _, request := range []*restatev1.InvokeRequest{
		{Service: "seedera.Greeter", Method: "Greet", Argument: &restatev1.InvokeRequest_Pb{Pb: []byte("\x0a\x01x")}},
		{Service: "seedera.Greeter", Method: "Greet", Argument: &restatev1.InvokeRequest_Json{Json: argument}},
	} {
		answer, err := restatev1.NewIngressClient(dial(t, r)).Invoke(t.Context(), request)
		require.NoError(t, err)
		invoke := r.worker.next()
		require.Equal(t, "\x0a\x01x", string(invoke.GetArgument()))
		require.Equal(t, ids.InvocationID(invoke.GetInvocationId()).String(), answer.GetId())
	}
}

func TestOneWayInvokeIsRepeatable(t *testing.T) {
	r := startWithServices(t)
	const body = `{"service":"seedera.Greeter","method":"Greet"}`
	first := post(t, r, "/dev.restate.Ingress/Invoke", body, "Idempotency-Key", "k")
	require.Equal(t, first.body, post(t, r, "/dev.restate.Ingress/Invoke", body, "Idempotency-Key", "k").body)
	require.NotEqual(t, first.body, post(t, r, "/dev.restate.Ingress/Invoke", body).body)
}

func TestOneWayInvokeRefuses(t *testing.T) {
	r := startWithServices(t)
	for body, code := range map[string]string{
		`{"service":"no","method":"Greet"}`:           "not_found",
		`{"service":"seedera.Greeter","method":"no"}`: "not_found",
		`{}`:            "not_found",
		`[]`:            "invalid_argument",
		`{"service":1}`: "invalid_argument",
		`{"service":"seedera.Greeter","method":"Greet","extra":1}`:                          "invalid_argument",
		`{"service":"seedera.Greeter","method":"Greet","argument":{"nom":1}}`:               "invalid_argument",
		`{"service":"seedera.Greeter","method":"Greet","argument":1}`:                       "invalid_argument",
		`{"service":"seedera.Greeter","method":"Greet","argument":{},"payload":{}}`:         "invalid_argument",
		`{"service":"seedera.Greeter","method":"Greet","argument":{},"pb":""}`:              "invalid_argument",
		`{"service":"seedera.Greeter","method":"Greet","pb":"?"}`:                           "invalid_argument",
		`{"service":"seedera.Counter","method":"Add","pb":"/w=="}`:                          "invalid_argument",
		`{"service":"seedera.Greeter","method":"Greet","argument":{"name":"x"}} and a tail`: "invalid_argument",
	} {
		answer := post(t, r, "/dev.restate.Ingress/Invoke", body)
		require.Equal(t, code, decode(t, answer.body)["code"], body)
	}
	answer := do(t, http.DefaultClient, http.MethodPost, r.url+"/dev.restate.Ingress/Invoke", "application/proto", "\xff")
	require.Equal(t, 400, answer.status)
}

func TestAwakeables(t *testing.T) {
	r := startWithServices(t)
	invocation, err := ids.NewInvocationID(1 << 63)
	require.NoError(t, err)
	id := ids.FormatAwakeable(invocation, 7)
	conn := restatev1.NewAwakeablesClient(dial(t, r))
	value, err := structpb.NewValue(map[string]any{"a": []any{1, nil}})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		path, body string
		request    *restatev1.ResolveAwakeableRequest
		value      string
		failure    string
	}{
		"JSON":          {"Resolve", `{"id":"` + id + `","json_result":{ "n": 9007199254740993 , "a": [1, null]}}`, nil, `{"n":9007199254740993,"a":[1,null]}`, ""},
		"null":          {"Resolve", `{"id":"` + id + `","json_result":null}`, nil, `null`, ""},
		"camel case":    {"Resolve", `{"id":"` + id + `","jsonResult":"x"}`, nil, `"x"`, ""},
		"padded id":     {"Resolve", `{"id":"` + id + `==","jsonResult":1}`, nil, `1`, ""},
		"bytes":         {"Resolve", `{"id":"` + id + `","bytes_result":"_w"}`, nil, "\xff", ""},
		"camel bytes":   {"Resolve", `{"id":"` + id + `","bytesResult":""}`, nil, "", ""},
		"rejected":      {"Reject", `{"id":"` + id + `","reason":"no"}`, nil, "", "no"},
		"binary, bytes": {"", "", &restatev1.ResolveAwakeableRequest{Id: id, Result: &restatev1.ResolveAwakeableRequest_BytesResult{BytesResult: []byte("b")}}, "b", ""},
		"binary, JSON":  {"", "", &restatev1.ResolveAwakeableRequest{Id: id, Result: &restatev1.ResolveAwakeableRequest_JsonResult{JsonResult: value}}, `{"a":[1,null]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.request != nil {
				_, err := conn.Resolve(t.Context(), c.request)
				require.NoError(t, err)
			} else {
				answer := post(t, r, "/dev.restate.Awakeables/"+c.path, c.body)
				require.Equal(t, response{200, answer.header, `{}`}, answer)
			}
			notify := r.worker.nextNotify()
			require.Equal(t, invocation[:], notify.GetInvocationId())
			require.EqualValues(t, 7, notify.GetNotification().GetCompletionId())
			require.True(t, notify.GetAwakeable())
			if c.failure != "" {
				require.Equal(t, c.failure, notify.GetNotification().GetResult().GetFailure().GetMessage())
				require.EqualValues(t, 2, notify.GetNotification().GetResult().GetFailure().GetCode())
				return
			}
			require.Equal(t, c.value, string(notify.GetNotification().GetResult().GetValue()))
		})
	}
	for _, body := range []string{
		`{"id":"` + id + `"}`, `{"id":"nonsense","json_result":1}`, `{"json_result":1}`, `{`,
		`{"id":"` + id + `","json_result":1,"bytes_result":""}`, `{"id":"` + id + `","json_result":1,"jsonResult":1}`,
	} {
		answer := post(t, r, "/dev.restate.Awakeables/Resolve", body)
		require.Equal(t, 400, answer.status, body)
		require.Equal(t, "invalid_argument", decode(t, answer.body)["code"])
	}
	require.Equal(t, 400, post(t, r, "/dev.restate.Awakeables/Reject", `{"id":"`+id+`","why":1}`).status)
	_, err = conn.Resolve(t.Context(), &restatev1.ResolveAwakeableRequest{Id: id})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

func TestGRPCHealth(t *testing.T) {
	r := startWithServices(t)
	r.setPublic(t, "seedera.Counter", false)
	client := healthv1.NewHealthClient(dial(t, r))
	for service, want := range map[string]healthv1.HealthCheckResponse_ServingStatus{
		"": healthv1.HealthCheckResponse_SERVING, "seedera.Greeter": healthv1.HealthCheckResponse_SERVING,
		"seedera.Counter": healthv1.HealthCheckResponse_NOT_SERVING, "dev.restate.Ingress": healthv1.HealthCheckResponse_SERVING,
	} {
		answer, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		require.Equal(t, want, answer.GetStatus(), service)
	}
	_, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "nobody"})
	require.Equal(t, codes.NotFound, status.Code(err))
	watch, err := client.Watch(t.Context(), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = watch.Recv()
	require.Equal(t, codes.Unimplemented, status.Code(err))
	require.JSONEq(t, `{"status":"SERVING"}`, post(t, r, "/grpc.health.v1.Health/Check", `{}`).body)
}

// A caller of the captured descriptors that knows nothing else, as grpcurl is.
func TestDynamicCallerInBinary(t *testing.T) {
	r := startWithServices(t)
	r.worker.reply(wrapperspb.Int64(3))
	web := connect.NewClient[wrapperspb.StringValue, wrapperspb.Int64Value](h2c(t), r.url+"/seedera.Counter/Get", connect.WithGRPC())
	answer, err := web.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("a"))) // field 1 is the counter's name
	require.NoError(t, err)
	require.True(t, proto.Equal(wrapperspb.Int64(3), answer.Msg), protojson.Format(answer.Msg))
	require.Equal(t, "\x01a", string(r.worker.last().GetTarget().GetKey()))
}
