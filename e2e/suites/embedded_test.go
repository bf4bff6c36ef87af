package suites

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v0"

	"github.com/restate-go/restate/e2e/process"
)

// embedder runs handlers in programs that are no service endpoints: the runtime keeps their journals.
type embedder struct {
	ingress string
	log     string
	// environment of the programs: name=value, ...
	environment []string
}

func newEmbedder(t *testing.T, s setting) embedder {
	t.Helper()
	return embedder{ingress: "http://" + s.Ingress, log: filepath.Join(t.TempDir(), "executions")}
}

// run runs the program to its end and returns what it prints.
func (e embedder) run(ctx context.Context, t *testing.T, program, operation, input string) (string, error) {
	cmd := exec.CommandContext(ctx, "node", process.Program(t, program), e.ingress, operation, input)
	cmd.Env = append(append(cmd.Environ(), "E2E_LOG="+e.log, "RESTATE_DEBUG_LOGGING=OFF"), e.environment...)
	var output, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &problems
	err := cmd.Run()
	if err != nil {
		return problems.String(), err
	}
	return strings.TrimSpace(output.String()), nil
}

type finished struct {
	output string
	err    error
}

// begin runs the program in the background.
func (e embedder) begin(ctx context.Context, t *testing.T, program, operation, input string) <-chan finished {
	t.Helper()
	done := make(chan finished, 1)
	go func() {
		output, err := e.run(ctx, t, program, operation, input)
		done <- finished{output, err}
	}()
	return done
}

func (e embedder) executions(t *testing.T, what string) []process.Execution {
	t.Helper()
	var found []process.Execution
	for _, execution := range process.ReadExecutions(t, e.log) {
		if execution.What == what {
			found = append(found, execution)
		}
	}
	return found
}

// awakeable waits until the handler has told of its awakeable.
func (e embedder) awakeable(t *testing.T) string {
	t.Helper()
	await.True(t, await.Deadline, func() bool { return len(e.executions(t, "awakeable")) > 0 }, "the handler to wait")
	return e.executions(t, "awakeable")[0].Awakeable
}

// embedded runs a handler that calls a service.
func embedded(t *testing.T, s setting) {
	e := newEmbedder(t, s)
	for _, input := range []string{"first", "second: the operation is done, so its result is returned"} {
		output, err := e.run(t.Context(), t, "embedded", "operation", input)
		require.NoError(t, err, output)
		require.JSONEq(t, `{"answer": "first!"}`, output)
	}
}

// stepsResult is what the program steps prints after n steps.
func stepsResult(t *testing.T, operation string, n int) string {
	t.Helper()
	items := []string{}
	for i := range n {
		items = append(items, strconv.Itoa(i))
	}
	result, err := json.Marshal(map[string]any{
		"before": nil, "woken": operation, "items": items, "steps": n, "after": nil, "refused": "no",
	})
	require.NoError(t, err)
	return string(result)
}

const anotherProgram = "another program"

// awaitJournal waits until the one operation that is not over has so many entries in its journal.
func (s setting) awaitJournal(t *testing.T, entries int) {
	t.Helper()
	await.True(t, await.Deadline, func() bool {
		all, err := s.Invocations()
		return err == nil && len(all) == 1 && all[0].JournalLength == entries
	}, "the handler to have stored what it did")
}

// TestEmbeddedHandlerGoesOn has programs take over from those before them: because the runtime crashed, or because
// another one came. Each step that was stored is done once.
func TestEmbeddedHandlerGoesOn(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		ways := map[string]func(){
			"everything crashes": s.CrashAll,
			"orderly restart":    s.Restart,
			anotherProgram:       func() {},
		}
		if s.Mode == process.Apart {
			for _, name := range []string{process.Worker, process.Ingress, process.Broker} {
				ways[name+" crashes"] = func() {
					s.Processes[name].Kill()
					s.Processes[name].Start()
					s.AwaitReady()
				}
			}
		}
		for name, interrupt := range ways {
			t.Run(name, func(t *testing.T) {
				e := newEmbedder(t, s)
				const n = 5
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				first := e.begin(ctx, t, "steps", name, strconv.Itoa(n))
				awakeable := e.awakeable(t)
				// The input, two steps for each number, state and its value, the awakeable, and that it was told.
				s.awaitJournal(t, 5+2*n)
				interrupt()
				second := e.begin(ctx, t, "steps", name, strconv.Itoa(n))
				if name == anotherProgram {
					done := <-first
					require.Error(t, done.err)
					require.Contains(t, done.output, "FencedOff")
				}
				s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+awakeable+`", "json_result": "`+name+`"}`)
				done := <-second
				require.NoError(t, done.err, done.output)
				require.JSONEq(t, stepsResult(t, name, n), done.output)
				// After a crash the first program may wait on, not knowing that its connection is gone, or have come to the
				// end before the second one began.
				cancel()
				if name != anotherProgram {
					if done := <-first; done.err == nil {
						require.JSONEq(t, stepsResult(t, name, n), done.output)
					}
				}
				require.Len(t, e.executions(t, "step"), n)
				require.Len(t, e.executions(t, "awakeable"), 1)
				output, err := e.run(t.Context(), t, "steps", name, "1")
				require.NoError(t, err, output)
				require.JSONEq(t, stepsResult(t, name, n), output)
				require.JSONEq(t, `{"response": ["`+name+`", "x"]}`,
					s.MustCall("e2e.routers.Store/put", `{"key": "`+name+` sent", "request": "x"}`))
			})
		}
		s.AwaitIdle(time.Minute)
	})
}

// TestEmbeddedHandlerInACrashLoop kills one process after the other, those that run the handler too, while it tries to get
// through. Its calls take effect once each.
func TestEmbeddedHandlerInACrashLoop(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		e := newEmbedder(t, s)
		// A program crashes before it gets through the steps. The whole takes as long as it takes, less than the patience.
		const n, inOneTry, crashes, patience = 400, 150, 6, 5 * time.Minute
		e.environment = []string{"E2E_STEPS=" + strconv.Itoa(inOneTry)}
		var tries atomic.Int32
		recovered, done := make(chan struct{}), make(chan string, 1)
		go func() {
			for t.Context().Err() == nil {
				tries.Add(1)
				ctx, cancel := context.WithCancel(t.Context())
				try := e.begin(ctx, t, "steps", "loop", strconv.Itoa(n))
				select {
				case <-recovered: // which the program may not have noticed
					cancel()
					<-try
				case end := <-try:
					cancel()
					if end.err == nil {
						done <- end.output
						return
					}
				}
			}
		}()
		resolved := false
		kill(t, s, rand.New(rand.NewPCG(1, 2)), crashes, func(n int) {
			select {
			case recovered <- struct{}{}:
			case output := <-done:
				done <- output
			}
			// Half of the crashes come among the steps, the others among the calls.
			if n >= crashes/2 && !resolved {
				await.True(t, patience, func() bool { return len(e.executions(t, "awakeable")) > 0 }, "the handler to wait")
				s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+e.awakeable(t)+`", "json_result": "loop"}`)
				resolved = true
			}
		})
		select {
		case output := <-done:
			require.JSONEq(t, stepsResult(t, "loop", n), output)
		case <-time.After(patience):
			t.Fatalf("no result after %d tries", tries.Load())
		}
		require.Greater(t, tries.Load(), int32(n/inOneTry), "the program has not crashed")
		t.Logf("%d tries", tries.Load())
		s.AwaitIdle(time.Minute)
	})
}

// TestEmbeddedOperations is a client of its own.
func TestEmbeddedOperations(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		client := restatev1.NewRemoteContextClient(process.Dial(t, s.Ingress))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		const second, hour = 1, 3600
		begin := func(operation, stream string, retention uint32) {
			t.Helper()
			started, err := client.Start(ctx, &restatev1.StartRequest{
				OperationId: operation, StreamId: stream, RetentionPeriodSec: retention, Argument: []byte("in"),
			})
			require.NoError(t, err)
			require.NotEmpty(t, started.GetExecuting())
		}
		send := func(operation, stream string, f frame.Frame) (*restatev1.SendResponse, error) {
			return client.Send(ctx, &restatev1.SendRequest{
				OperationId: operation, StreamId: stream, Messages: frame.Append(nil, f),
			})
		}
		custom := frame.Frame{Type: wire.TypeCustom + 1, Flags: wire.FlagRequiresAck}
		output := frame.Frame{Type: wire.TypeOutputStream, Payload: []byte("\x72\x03out")}

		t.Run("killed", func(t *testing.T) {
			begin("killed", "s", hour)
			running := s.AwaitInvocation("dev.restate.internal.RemoteContext", "Start", "running")
			results := make(chan *restatev1.GetResultResponse, 1)
			go func() {
				result, err := client.GetResult(ctx, &restatev1.GetResultRequest{OperationId: "killed"})
				if err != nil {
					t.Errorf("get the result: %v", err)
				}
				results <- result
			}()
			answer := s.MetaDo(http.MethodDelete, "/invocations/"+running.ID, "")
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.Equal(t, uint32(codes.Aborted), (<-results).GetFailure().GetCode())
			late, err := send("killed", "s", custom)
			require.NoError(t, err)
			require.NotNil(t, late.GetInvocationCompleted())
		})
		t.Run("garbage", func(t *testing.T) {
			begin("garbage", "s", second)
			for code, frame := range map[codes.Code]frame.Frame{
				codes.InvalidArgument: {Type: 0x7777},
				codes.Unimplemented:   {Type: wire.TypeSleep},
				codes.NotFound:        {Type: wire.TypeInvoke, Payload: []byte("\x0a\x07unknown")},
			} {
				_, err := send("garbage", "s", frame)
				require.Equal(t, code, status.Code(err))
			}
			sent, err := send("garbage", "s", output)
			require.NoError(t, err)
			require.NotNil(t, sent.GetOk())
			await.True(t, await.Deadline, func() bool {
				result, err := client.GetResult(ctx, &restatev1.GetResultRequest{OperationId: "garbage"})
				return err == nil && result.GetNone() != nil
			}, "the result to be forgotten after its retention")
		})
		t.Run("the worker crashes", func(t *testing.T) {
			begin("crash", "s", hour)
			sent, err := send("crash", "s", custom)
			require.NoError(t, err)
			require.NotNil(t, sent.GetOk())
			received := make(chan *restatev1.RecvResponse, 1)
			go func() {
				// The first answer is the acknowledgement.
				for range 2 {
					response, err := client.Recv(ctx, &restatev1.RecvRequest{OperationId: "crash", StreamId: "s"})
					if err != nil {
						t.Errorf("receive: %v", err)
					}
					received <- response
				}
			}()
			require.NotEmpty(t, (<-received).GetMessages())
			if s.Mode == process.Apart {
				s.Processes[process.Worker].Kill()
				s.Processes[process.Worker].Start()
				// The ingress was there all the time, and has found the new leader.
				require.NotNil(t, (<-received).GetInvalidStream())
				sent, err := send("crash", "s", custom)
				require.NoError(t, err)
				require.NotNil(t, sent.GetInvalidStream())
				begin("crash", "s2", hour)
			}
			stream := map[process.Mode]string{process.Apart: "s2", process.OneProcess: "s"}[s.Mode]
			sent, err = send("crash", stream, output)
			require.NoError(t, err)
			require.NotNil(t, sent.GetOk())
			if s.Mode == process.OneProcess {
				require.NotNil(t, (<-received).GetInvocationCompleted())
			}
			result, err := client.GetResult(ctx, &restatev1.GetResultRequest{OperationId: "crash"})
			require.NoError(t, err)
			require.Equal(t, "out", string(result.GetSuccess()))
			_, err = client.Cleanup(ctx, &restatev1.CleanupRequest{OperationId: "crash"})
			require.NoError(t, err)
		})
		s.AwaitIdle(time.Minute)
	})
}
