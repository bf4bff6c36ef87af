package suites

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v0 "github.com/restate-go/restate/pkg/serviceprotocol/v0"
	"github.com/restate-go/restate/proto/gen/dev/restate"
	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"

	"github.com/restate-go/restate/e2e/discovery"
	"github.com/restate-go/restate/e2e/process"
)

// TestRegistrationOfNonsense is refused with a reason, and keeps nobody else from registering.
func TestRegistrationOfNonsense(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		answers := func(status int, contentType string, body []byte) string {
			return process.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", contentType)
				w.WriteHeader(status)
				_, _ = w.Write(body)
			}))
		}
		discovered := func(services ...discovery.Service) []byte {
			body, err := proto.Marshal(discovery.Response(services...))
			require.NoError(t, err)
			return body
		}
		const protobuf = "application/proto"
		hanging := process.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		slow := make(chan process.Answer, 1)
		go func() { slow <- s.TryRegister(process.Registration{URI: hanging}) }()

		for _, c := range []struct {
			name, uri, code, contains string
			status                    int
		}{
			{"nobody listens", "http://" + process.FreeAddress(t), "META0003", "refused", 500},
			{"no URL", "nonsense", "META0400", "nonsense", 400},
			{"not found", answers(404, protobuf, nil), "META0003", "404", 500},
			{"fails", answers(503, protobuf, nil), "META0003", "503", 500},
			{"a web page", answers(200, "text/html", []byte("<html>")), "META0003", "text/html", 500},
			{"garbage", answers(200, protobuf, []byte("\xff\xff\xff")), "META0003", "", 500},
			{"nothing", answers(200, protobuf, nil), "META0003", "", 500},
			{"endless", process.Serve(t, http.HandlerFunc(endless)), "META0003", "", 500},
			{"not declared", answers(200, protobuf, undeclared(t)), "META0003", "scripted.Undeclared", 500},
			{"keyed without methods", answers(200, protobuf, discovered(discovery.Service{
				Name: "Empty", Kind: restate.ServiceType_KEYED,
			})), "META0001", "scripted.Empty", 400},
		} {
			t.Run(c.name, func(t *testing.T) {
				answer := s.TryRegister(process.Registration{URI: c.uri})
				require.Equal(t, c.status, answer.Status, answer.Body)
				require.Equal(t, c.code, answer.JSON(t)["restate_code"], answer.Body)
				require.Contains(t, answer.Body, c.contains)
			})
		}
		require.Equal(t, "META0003", receive(t, slow).JSON(t)["restate_code"])
		var list struct{ Endpoints []any }
		require.NoError(t, json.Unmarshal([]byte(s.MetaGet("/endpoints").Body), &list))
		require.Len(t, list.Endpoints, 1, "only the one that is a service endpoint")
		require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))
	}, "RESTATE_META__DISCOVERY__TIMEOUT", "5s", "RESTATE_META__DISCOVERY__ATTEMPT_TIMEOUT", "2s")
}

func undeclared(t *testing.T) []byte {
	body, err := proto.Marshal(&protocol.ServiceDiscoveryResponse{
		Files: discovery.Response().GetFiles(), Services: []string{"scripted.Undeclared"},
	})
	require.NoError(t, err)
	return body
}

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/proto")
	chunk := make([]byte, 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

const (
	restateType = "application/restate"
	// finally is the result that every request is to get.
	finally = "at last"
)

// misbehaviour is what a service endpoint does in place of serving an invocation.
type misbehaviour struct {
	name string
	code string
	act  http.HandlerFunc
}

// answersWith is a misbehaviour that answers with these frames.
func answersWith(frames ...frame.Frame) http.HandlerFunc {
	var body []byte
	for _, f := range frames {
		body = frame.Append(body, f)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", restateType)
		_, _ = w.Write(body)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

func answersStatus(status int, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
	}
}

// resetStream ends a handler so that its stream is reset.
func resetStream() {
	panic(http.ErrAbortHandler) //nolint:forbidigo // this is how net/http is told
}

// behave answers as the SDK does: with the result, unless that is in the journal already.
func behave(w http.ResponseWriter, r *http.Request) {
	frames := frame.NewReader(r.Body, 1<<20)
	first, err := frames.Next()
	if err != nil {
		resetStream()
	}
	var start protocol.StartMessage
	if err := proto.Unmarshal(first.Payload, &start); err != nil {
		resetStream()
	}
	for range start.GetKnownEntries() {
		entry, err := frames.Next()
		if err != nil {
			resetStream()
		}
		if entry.Type == v0.TypeOutputStream {
			w.Header().Set("Content-Type", restateType)
			return
		}
	}
	answersWith(output(finally))(w, r)
}

// output is the frame of a result of scripted.Response.
func output(value string) frame.Frame {
	response := append([]byte{0x0a, byte(len(value))}, value...)
	return frame.Frame{Type: v0.TypeOutputStream, Payload: append([]byte{14<<3 | 2, byte(len(response))}, response...)}
}

func misbehaviours() []misbehaviour {
	return []misbehaviour{
		{"not found", "RT0012", answersStatus(404, restateType)},
		{"fails", "RT0012", answersStatus(500, restateType)},
		{"is unavailable", "RT0010", answersStatus(503, restateType)},
		{"wrong content type", "RT0012", answersStatus(200, "text/html")},
		{"ends before it has answered", "RT0007", answersWith()},
		{"resets", "RT0010", func(http.ResponseWriter, *http.Request) { resetStream() }},
		{"hangs", "RT0001", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"half a frame", "RT0007", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", restateType)
			_, _ = w.Write([]byte{0x04, 0x01, 0, 0, 0, 0, 0, 9, 1})
		}},
		{"garbage in a frame", "RT0012", answersWith(frame.Frame{Type: v0.TypeOutputStream, Payload: []byte{0xff, 0xff}})},
		{"a frame of 4 GiB", "RT0003", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", restateType)
			_, _ = w.Write([]byte{0x04, 0x01, 0, 0, 0xff, 0xff, 0xff, 0xff})
			endless(w, r)
		}},
		{"an unknown entry type", "RT0012", answersWith(frame.Frame{Type: 0x0c77})},
		{"a start of its own", "RT0012", answersWith(frame.Frame{Type: v0.TypeStart})},
		{"a completion of its own", "RT0012", answersWith(frame.Frame{Type: v0.TypeCompletion, Payload: []byte{1 << 3, 1}})},
		{"a second input", "RT0012", answersWith(frame.Frame{Type: v0.TypePollInputStream})},
		{"suspended on nothing", "RT0012", answersWith(frame.Frame{Type: v0.TypeSuspension})},
		{"suspended on what it has not asked for", "RT0012", answersWith(frame.Frame{Type: v0.TypeSuspension, Payload: []byte{1 << 3, 7}})},
		{"an error", "RT0007", answersWith(frame.Frame{Type: v0.TypeError, Payload: []byte{1 << 3, 13, 2<<3 | 2, 2, 'n', 'o'}})},
		{"a call to nobody", "RT0018", answersWith(frame.Frame{
			Type: v0.TypeInvoke, Payload: append([]byte{1<<3 | 2, 6}, "nobody"...),
		})},
		{"a result and more", "RT0012", answersWith(output(finally), frame.Frame{Type: v0.TypeClearState, Payload: []byte{1<<3 | 2, 1, 'k'}})},
	}
}

// TestHostileEndpoints has every method of an endpoint misbehave in its own way until it is told to behave. Meanwhile
// others are served, and operators can see what is wrong; then every request gets its result.
func TestHostileEndpoints(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		cases := misbehaviours()
		peace := make(chan struct{})
		declared := discovery.Service{Name: "Hostile", Kind: restate.ServiceType_UNKEYED}
		acts := map[string]http.HandlerFunc{}
		for _, c := range cases {
			method := strings.ReplaceAll(c.name, " ", "_")
			declared.Methods = append(declared.Methods, method)
			acts["/invoke/scripted.Hostile/"+method] = c.act
		}
		s.Register(process.Registration{URI: process.Serve(t, &process.Endpoint{
			Services: []discovery.Service{declared},
			Invoke: func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-peace:
					behave(w, r)
				default:
					acts[r.URL.Path](w, r)
				}
			},
		})})
		answers := map[string]<-chan process.Answer{}
		for _, method := range declared.Methods {
			answers[method] = s.later(t, "scripted.Hostile/"+method, `{"value": "x"}`)
		}
		for i, c := range cases {
			method := declared.Methods[i]
			found := s.AwaitInvocation("scripted.Hostile", method, "backing-off")
			assert.Equal(t, c.code, found.LastFailureCode, "%s: %s", c.name, found.LastFailure)
			require.NotEmpty(t, found.LastFailure)
		}
		require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))
		close(peace)
		for method, answer := range answers {
			got := receive(t, answer)
			require.Equal(t, http.StatusOK, got.Status, "%s: %s", method, got.Body)
			require.JSONEq(t, `{"value": "`+finally+`"}`, got.Body, method)
		}
		s.AwaitIdle(time.Minute)
	}, "RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT", "500ms", "RESTATE_WORKER__INVOKER__ABORT_TIMEOUT", "5s",
		"RESTATE_WORKER__INVOKER__RETRY_POLICY__MAX_INTERVAL", "1s")
}

// TestHangingService has a service take more requests than a partition makes attempts at a time, and answer none: calls of
// others are served. Once it answers, so are its own.
func TestHangingService(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		peace := make(chan struct{})
		var arrived atomic.Int32
		s.Register(process.Registration{URI: process.Serve(t, &process.Endpoint{
			Services: []discovery.Service{{Name: "Hangs", Kind: restate.ServiceType_UNKEYED, Methods: []string{"Hang"}}},
			Invoke: func(w http.ResponseWriter, r *http.Request) {
				arrived.Add(1)
				select {
				case <-peace:
					behave(w, r)
				case <-r.Context().Done():
				}
			},
		})})
		var answers []<-chan process.Answer
		for range 24 {
			answers = append(answers, s.later(t, "scripted.Hangs/Hang", `{"value": "x"}`))
		}
		await.True(t, await.Deadline, func() bool { return arrived.Load() == 5 }, "the service to hold what it may")
		for range 10 {
			require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))
		}
		require.Equal(t, int32(5), arrived.Load(), "of 8 places")
		close(peace)
		for _, answer := range answers {
			got := receive(t, answer)
			require.Equal(t, http.StatusOK, got.Status, got.Body)
		}
		s.AwaitIdle(time.Minute)
	}, "RESTATE_WORKER__PARTITIONS", "1", "RESTATE_WORKER__INVOKER__CONCURRENCY_LIMIT", "8",
		"RESTATE_WORKER__INVOKER__ABORT_TIMEOUT", "10m",
		"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT", "500ms") // which is when the service learns that a request has ended
}
