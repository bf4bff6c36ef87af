package suites

import (
	"bytes"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/restate-go/restate/e2e/process"
)

// TestProtocols calls the same methods with every kind of client.
func TestProtocols(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		clients := map[string]func(t *testing.T, method, json string) (string, error){
			"gRPC": func(t *testing.T, method, json string) (string, error) { return s.CallGRPC(t, method, json) },
			"Connect, JSON": func(t *testing.T, method, json string) (string, error) {
				return s.CallConnect(t, method, json, connect.WithProtoJSON())
			},
			"Connect, binary": func(t *testing.T, method, json string) (string, error) { return s.CallConnect(t, method, json) },
			"gRPC-Web": func(t *testing.T, method, json string) (string, error) {
				return s.CallConnect(t, method, json, connect.WithGRPCWeb())
			},
		}
		for name, call := range clients {
			t.Run(name, func(t *testing.T) {
				answer, err := call(t, "e2e.Greeter/Hello", `{"name": "you"}`)
				require.NoError(t, err)
				require.JSONEq(t, `{"message": "Hello you"}`, answer)
				_, err = call(t, "e2e.Greeter/Fail", `{"code": 5, "message": "not here"}`)
				require.Error(t, err)
				require.Equal(t, uint32(codes.NotFound), codeOf(err), err)
				require.Contains(t, err.Error(), "not here")
			})
		}
		t.Run("grpcurl", func(t *testing.T) { grpcurl(t, s) })
		t.Run("curl", func(t *testing.T) { badRequests(t, s) })
		t.Run("health", func(t *testing.T) {
			client := healthv1.NewHealthClient(process.Dial(t, s.Ingress))
			for service, want := range map[string]codes.Code{"": codes.OK, "e2e.Greeter": codes.OK, "e2e.Nobody": codes.NotFound} {
				_, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
				require.Equal(t, want, status.Code(err), service)
			}
		})
	})
}

func codeOf(err error) uint32 {
	if code := connect.CodeOf(err); code != connect.CodeUnknown {
		return uint32(code)
	}
	return uint32(status.Code(err))
}

func grpcurl(t *testing.T, s setting) {
	listed, err := s.Grpcurl(t, nil, "list")
	require.NoError(t, err, listed)
	for _, service := range []string{"dev.restate.Ingress\n", "e2e.Counter\n", "e2e.Greeter\n", "echo\n", "e2e.routers.Store\n"} {
		require.Contains(t, listed, service)
	}
	described, err := s.Grpcurl(t, nil, "describe", "e2e.Counter.Add")
	require.NoError(t, err, described)
	require.Contains(t, described, "rpc Add ( .e2e.AddRequest ) returns ( .e2e.Count );")
	answer, err := s.Grpcurl(t, []string{"-d", `{"counter_id": "grpcurl", "amount": 3}`}, "e2e.Counter/Add")
	require.NoError(t, err, answer)
	require.JSONEq(t, `{"value": "3"}`, answer)
	failed, err := s.Grpcurl(t, []string{"-d", `{"code": 7, "message": "denied"}`}, "e2e.Greeter/Fail")
	require.Error(t, err)
	require.Contains(t, failed, "Code: PermissionDenied")
	require.Contains(t, failed, "Message: denied")
}

// badRequests get an error that says what is wrong, and reach no service.
func badRequests(t *testing.T, s setting) {
	const hello, application = "e2e.Greeter/Hello", "application/json"
	for _, c := range []struct {
		name, method, contentType, body string
		status                          int
		code                            string
	}{
		{"unknown service", "e2e.Nobody/Hello", application, `{}`, http.StatusNotFound, "not_found"},
		{"unknown method", "e2e.Greeter/Bye", application, `{}`, http.StatusNotFound, "not_found"},
		{"no JSON", hello, application, `{"name":`, http.StatusBadRequest, "invalid_argument"},
		{"unknown member", hello, application, `{"nam": "you"}`, http.StatusBadRequest, "invalid_argument"},
		{"wrong type", hello, application, `{"name": {}}`, http.StatusBadRequest, "invalid_argument"},
		{"no protobuf", hello, "application/proto", "\xff\xff\xff", http.StatusBadRequest, "invalid_argument"},
		{"content type", hello, "text/plain", `{}`, http.StatusUnsupportedMediaType, "invalid_argument"},
		{"too large", hello, application, `{"name": "` + string(bytes.Repeat([]byte("x"), 5<<20)) + `"}`, http.StatusTooManyRequests, "resource_exhausted"},
		{"one-way, unknown service", "dev.restate.Ingress/Invoke", application, `{"service": "x.Y", "method": "Z", "argument": {}}`, http.StatusNotFound, "not_found"},
		{"awakeable id", "dev.restate.Awakeables/Resolve", application, `{"id": "nonsense", "json_result": 1}`, http.StatusBadRequest, "invalid_argument"},
	} {
		answer, err := s.Call(c.method, c.body, "Content-Type", c.contentType)
		require.NoError(t, err, c.name)
		require.Equal(t, c.status, answer.Status, "%s: %s", c.name, answer.Body)
		if c.code != "" {
			require.Equal(t, c.code, answer.JSON(t)["code"], c.name)
			require.NotEmpty(t, answer.JSON(t)["message"], c.name)
		}
	}
	require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall(hello, `{"name": "you"}`))
}
