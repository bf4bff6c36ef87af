package ingress_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	"github.com/restate-go/restate/services/ingress"
)

// The codes of gRPC, with the statuses of HTTP that the server of 2023 had for them, and the engine's own.
func TestFailuresOfInvocations(t *testing.T) {
	r := startWithServices(t)
	conn := dial(t, r)
	for _, c := range []struct {
		journal uint32
		grpc    codes.Code
		connect string
		http    int
	}{
		{1, codes.Canceled, "canceled", 408},
		{2, codes.Unknown, "unknown", 500},
		{3, codes.InvalidArgument, "invalid_argument", 400},
		{4, codes.DeadlineExceeded, "deadline_exceeded", 408},
		{5, codes.NotFound, "not_found", 404},
		{6, codes.AlreadyExists, "already_exists", 409},
		{7, codes.PermissionDenied, "permission_denied", 403},
		{8, codes.ResourceExhausted, "resource_exhausted", 429},
		{9, codes.FailedPrecondition, "failed_precondition", 412},
		{10, codes.Aborted, "aborted", 409},
		{11, codes.OutOfRange, "out_of_range", 400},
		{12, codes.Unimplemented, "unimplemented", 501},
		{13, codes.Internal, "internal", 500},
		{14, codes.Unavailable, "unavailable", 503},
		{15, codes.DataLoss, "data_loss", 500},
		{16, codes.Unauthenticated, "unauthenticated", 401},
		{0, codes.Unknown, "unknown", 500},
		{17, codes.Unknown, "unknown", 500},
		{404, codes.NotFound, "not_found", 404},
		{408, codes.DeadlineExceeded, "deadline_exceeded", 408},
		{409, codes.Aborted, "aborted", 409},
		{429, codes.ResourceExhausted, "resource_exhausted", 429},
		{500, codes.Internal, "internal", 500},
		{503, codes.Unavailable, "unavailable", 503},
		{418, codes.Unknown, "unknown", 500},
	} {
		t.Run(fmt.Sprint(c.journal), func(t *testing.T) {
			r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return failed(c.journal, "näh, 100%") })
			for _, contentType := range []string{"application/json", "application/proto"} {
				body := map[string]string{"application/json": `{}`}[contentType]
				answer := do(t, http.DefaultClient, http.MethodPost, r.url+"/seedera.Greeter/Greet", contentType, body)
				require.Equal(t, c.http, answer.status)
				require.Equal(t, "application/json", answer.header.Get("Content-Type"))
				require.Equal(t, map[string]any{"code": c.connect, "message": "näh, 100%"}, decode(t, answer.body))
			}
			err := conn.Invoke(t.Context(), "/seedera.Greeter/Bool", wrapperspb.String(""), &wrapperspb.BoolValue{})
			require.Equal(t, c.grpc, status.Code(err))
			require.Equal(t, "näh, 100%", status.Convert(err).Message())
		})
	}
}

func TestCallThatTooManyWaitFor(t *testing.T) {
	r := startWithServices(t)
	r.worker.turnAway()
	answer := post(t, r, "/seedera.Greeter/Greet", `{}`, "Idempotency-Key", "k")
	require.Equal(t, 429, answer.status)
	content := decode(t, answer.body)
	require.Equal(t, "resource_exhausted", content["code"])
	require.Contains(t, content["message"], "[RT0101]")

	err := dial(t, r).Invoke(t.Context(), "/seedera.Greeter/Bool", wrapperspb.String(""), &wrapperspb.BoolValue{})
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Contains(t, status.Convert(err).Message(), "[RT0101]")
}

func TestRefusals(t *testing.T) {
	r := startWithServices(t, withConfig(func(c *ingress.Config) { c.MaxBodySize = 100 }))
	r.setPublic(t, "seedera.Counter", false)
	long := strings.Repeat("x", 200)
	for name, c := range map[string]struct {
		method, path, contentType, body string
		header                          []string
		status                          int
		code, says                      string
	}{
		"no content type":        {"POST", "/seedera.Greeter/Greet", "", `{}`, nil, 415, "invalid_argument", `""`},
		"form":                   {"POST", "/seedera.Greeter/Greet", "application/x-www-form-urlencoded", `{}`, nil, 415, "invalid_argument", "application/json"},
		"Connect streaming":      {"POST", "/seedera.Greeter/Greet", "application/connect+json", `{}`, nil, 415, "invalid_argument", "application/json"},
		"other charset":          {"POST", "/seedera.Greeter/Greet", "application/json; charset=latin1", `{}`, nil, 415, "invalid_argument", "application/json"},
		"content type first":     {"POST", "/no", "text/plain", `{}`, nil, 415, "invalid_argument", "application/json"},
		"method":                 {"PUT", "/seedera.Greeter/Greet", "application/json", `{}`, nil, 405, "", ""},
		"GET with content type":  {"GET", "/seedera.Greeter/Greet", "application/json", "", nil, 405, "", ""},
		"one segment":            {"POST", "/seedera.Greeter", "application/json", `{}`, nil, 400, "invalid_argument", "/{service}/{method}"},
		"three segments":         {"POST", "/seedera.Greeter/Greet/", "application/json", `{}`, nil, 400, "invalid_argument", "/{service}/{method}"},
		"root":                   {"GET", "/", "", "", nil, 400, "invalid_argument", "/{service}/{method}"},
		"unknown service":        {"POST", "/seedera.Nobody/Greet", "application/json", `{}`, nil, 404, "not_found", "seedera.Nobody"},
		"unknown method":         {"POST", "/seedera.Greeter/Nothing", "application/json", `{}`, nil, 404, "not_found", "no method Nothing"},
		"unknown, binary":        {"POST", "/seedera.Greeter/Nothing", "application/proto", ``, nil, 404, "not_found", "no method Nothing"},
		"unknown of a built-in":  {"POST", "/dev.restate.Ingress/Nothing", "application/json", `{}`, nil, 404, "not_found", "no method Nothing"},
		"private":                {"POST", "/seedera.Counter/Get", "application/json", `{}`, nil, 403, "permission_denied", "private"},
		"compressed":             {"POST", "/seedera.Greeter/Greet", "application/json", `{}`, []string{"Content-Encoding", "gzip"}, 501, "unimplemented", "gzip"},
		"no JSON":                {"POST", "/seedera.Greeter/Greet", "application/json", `{`, nil, 400, "invalid_argument", "GreetRequest"},
		"empty":                  {"POST", "/seedera.Greeter/Greet", "application/json", ``, nil, 400, "invalid_argument", "GreetRequest"},
		"text after":             {"POST", "/seedera.Greeter/Greet", "application/json", `{}{}`, nil, 400, "invalid_argument", ""},
		"unknown member":         {"POST", "/seedera.Greeter/Greet", "application/json", `{"nom":"x"}`, nil, 400, "invalid_argument", "nom"},
		"no protobuf":            {"POST", "/seedera.Greeter/Greet", "application/proto", "\xff", nil, 400, "invalid_argument", "GreetRequest"},
		"too large":              {"POST", "/seedera.Greeter/Greet", "application/json", `{"name":"` + long + `"}`, nil, 429, "resource_exhausted", "bytes (ingress.max_body_size)"},
		"retention":              {"POST", "/seedera.Greeter/Greet", "application/json", `{}`, []string{"Idempotency-Key", "a", "Idempotency-Retention-Period", "1h"}, 400, "invalid_argument", "Retention"},
		"retention out of range": {"POST", "/seedera.Greeter/Greet", "application/json", `{}`, []string{"Idempotency-Key", "a", "Idempotency-Retention-Period", "4294967296"}, 400, "invalid_argument", "Retention"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := do(t, h1(t), c.method, r.url+c.path, c.contentType, c.body, c.header...)
			require.Equal(t, c.status, answer.status, answer.body)
			if c.code == "" {
				require.Empty(t, answer.body)
				return
			}
			require.Equal(t, "application/json", answer.header.Get("Content-Type"))
			require.Equal(t, c.code, decode(t, answer.body)["code"])
			require.Contains(t, decode(t, answer.body)["message"], c.says)
		})
	}
	require.Empty(t, r.worker.invoked(), "nothing of this is run")
}

func TestRefusalsOverGRPC(t *testing.T) {
	r := startWithServices(t, withConfig(func(c *ingress.Config) { c.MaxBodySize = 100 }))
	conn := dial(t, r)
	for path, c := range map[string]struct {
		body string
		code codes.Code
	}{
		"/seedera.Nobody/Greet":    {"", codes.NotFound},
		"/seedera.Greeter/Nothing": {"", codes.NotFound},
		"/seedera.Greeter/Greet":   {strings.Repeat("x", 200), codes.ResourceExhausted},
	} {
		err := conn.Invoke(t.Context(), path, wrapperspb.String(c.body), &emptypb.Empty{})
		require.Equal(t, c.code, status.Code(err), path)
	}
	web := connect.NewClient[wrapperspb.StringValue, emptypb.Empty](h1(t), r.url+"/seedera.Nobody/Greet", connect.WithGRPCWeb())
	_, err := web.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("")))
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
}

func TestServiceThatAnswersGarbage(t *testing.T) {
	r := startWithServices(t)
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result { return success([]byte{0xff}) })
	answer := post(t, r, "/seedera.Greeter/Greet", `{}`)
	require.Equal(t, 500, answer.status)
	require.Equal(t, "internal", decode(t, answer.body)["code"])
}

func TestConcurrencyLimit(t *testing.T) {
	r := startWithServices(t, withConfig(func(c *ingress.Config) { c.ConcurrencyLimit = 2 }))
	arrived := make(chan *logv1.Invoke, 2)
	r.worker.answer(func(invoke *logv1.Invoke) *journalv1.Result {
		arrived <- invoke
		return nil
	})
	first, second := background(t, r, h1(t)), background(t, r, h1(t))
	waiting := []*logv1.Invoke{<-arrived, <-arrived}
	answer := post(t, r, "/seedera.Greeter/Greet", `{}`)
	require.Equal(t, 429, answer.status)
	require.Equal(t, "resource_exhausted", decode(t, answer.body)["code"])
	err := dial(t, r).Invoke(t.Context(), "/seedera.Greeter/Greet", &emptypb.Empty{}, &emptypb.Empty{})
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	for _, invoke := range waiting {
		r.worker.finish(invoke, success(nil))
	}
	require.Equal(t, []int{200, 200}, []int{(<-first).status, (<-second).status})
	r.worker.reply(&emptypb.Empty{})
	require.Equal(t, 200, post(t, r, "/seedera.Greeter/Greet", `{}`).status, "the permits are given back")
}

// A body without end is cut off by its size.
func TestEndlessBody(t *testing.T) {
	r := startWithServices(t, withConfig(func(c *ingress.Config) { c.MaxBodySize = 1000 }))
	status, body := upload(t, r, io.MultiReader(strings.NewReader(`{"name":"`), &repeated{}))
	require.Equal(t, 429, status, body)
	require.Equal(t, "resource_exhausted", decode(t, body)["code"])
	require.Empty(t, r.worker.invoked())
}

// A body that does not come is cut off by the time.
func TestStuckBodies(t *testing.T) {
	r := startWithServices(t, withStuckBodies())
	t.Run("HTTP/2", func(t *testing.T) {
		status, body := upload(t, r, stuck(t))
		require.Equal(t, 408, status, body)
		require.Equal(t, "deadline_exceeded", decode(t, body)["code"])
	})
	t.Run("HTTP/1.1", func(t *testing.T) {
		answer := exchange(t, r, "POST /seedera.Greeter/Greet HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
		require.True(t, bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")), "%q", answer)
	})
	require.Empty(t, r.worker.invoked())
}

// withStuckBodies is for tests that send nothing else: on a busy machine an ordinary body may take as long.
func withStuckBodies() option {
	return withConfig(func(c *ingress.Config) { c.BodyTimeout = config.Duration(200 * time.Millisecond) })
}

// upload sends the body over HTTP/2, and returns status and body of the answer.
func upload(t *testing.T, r *running, body io.Reader) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/seedera.Greeter/Greet", body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := h2c(t).Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

// The timer of the body must not touch a call that waits longer than it.
func TestWaitingIsNotBoundByTheBodyTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	r := startWithServices(t, withConfig(func(c *ingress.Config) { c.BodyTimeout = config.Duration(timeout) }))
	r.worker.answer(func(*logv1.Invoke) *journalv1.Result {
		<-time.After(2 * timeout) // a service that takes its time
		return success(nil)
	})
	for name, client := range map[string]*http.Client{"HTTP/1.1": h1(t), "HTTP/2": h2c(t)} {
		t.Run(name, func(t *testing.T) {
			before := len(r.worker.invoked())
			var answer response
			// On a busy machine the body itself may come too late, and nothing of it is run.
			await.True(t, await.Deadline, func() bool {
				answer = do(t, client, http.MethodPost, r.url+"/seedera.Greeter/Greet", "application/json", `{}`)
				return len(r.worker.invoked()) > before
			}, "a body to arrive in time")
			require.Equal(t, 200, answer.status, answer.body)
		})
	}
}

// repeated is text without end.
type repeated struct{}

func (*repeated) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

// stuck is a body that stops in the middle.
func stuck(t *testing.T) io.Reader {
	t.Helper()
	reader, writer := io.Pipe()
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = io.WriteString(writer, `{"name":`) // fails when the request is over first
	}()
	t.Cleanup(func() {
		_ = reader.Close() // never fails
		<-wrote
	})
	return reader
}
