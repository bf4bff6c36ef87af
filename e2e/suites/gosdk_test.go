package suites

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/server"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
	"github.com/restate-go/restate/pkg/await"
)

// goHandlers serves handlers of the Go SDK within the test, and returns their URL. The ids of the awakeables that they
// make come through the channel.
func goHandlers(t *testing.T, awakeables chan<- string) string {
	t.Helper()
	suspendEarly := restate.WithInactivityTimeout(50 * time.Millisecond)
	worker := restate.NewService("GoWorker", suspendEarly).
		Handler("sum", restate.NewServiceHandler(func(ctx restate.Context, n int) (int, error) {
			sum := 0
			for i := 1; i <= n; i++ {
				step, err := restate.Run(ctx, func(restate.RunContext) (int, error) { return i, nil })
				if err != nil {
					return 0, err
				}
				sum += step
			}
			if err := restate.Sleep(ctx, 300*time.Millisecond); err != nil {
				return 0, err
			}
			return restate.Object[int](ctx, "GoCounter", "sum", "add").Request(sum)
		})).
		Handler("fail", restate.NewServiceHandler(func(_ restate.Context, message string) (restate.Void, error) {
			return restate.Void{}, restate.ToTerminalError(restate.TerminalErrorf("%s", message), restate.WithErrorCode(http.StatusTeapot))
		})).
		Handler("wait", restate.NewServiceHandler(func(ctx restate.Context, _ restate.Void) (string, error) {
			awakeable := restate.Awakeable[string](ctx)
			err := restate.RunVoid(ctx, func(restate.RunContext) error {
				awakeables <- awakeable.Id()
				return nil
			})
			if err != nil {
				return "", err
			}
			return awakeable.Result()
		}))
	counter := restate.NewObject("GoCounter", suspendEarly).
		Handler("add", restate.NewObjectHandler(func(ctx restate.ObjectContext, n int) (int, error) {
			value, err := restate.Get[int](ctx, "value")
			if err != nil {
				return 0, err
			}
			restate.Set(ctx, "value", value+n)
			return value + n, nil
		}))
	order := restate.NewWorkflow("GoOrder", suspendEarly).
		Handler("run", restate.NewWorkflowHandler(func(ctx restate.WorkflowContext, item string) (string, error) {
			by, err := restate.Promise[string](ctx, "approved").Result()
			return item + " approved by " + by, err
		})).
		Handler("approve", restate.NewWorkflowSharedHandler(func(ctx restate.WorkflowSharedContext, by string) (restate.Void, error) {
			return restate.Void{}, restate.Promise[string](ctx, "approved").Resolve(by)
		}))
	handler, err := server.NewRestate().Bind(worker).Bind(counter).Bind(order).Handler()
	require.NoError(t, err)
	return process.Serve(t, handler)
}

// TestGoSDK runs handlers of the Go SDK, which wait while the runtime crashes.
func TestGoSDK(t *testing.T) {
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			useGoSDK(t, setting{Runtime: process.Start(t, mode)})
		})
	}
}

func useGoSDK(t *testing.T, s setting) {
	awakeables := make(chan string, 1)
	s.RegisterDeployment(goHandlers(t, awakeables))
	require.JSONEq(t, `15`, s.MustCall("GoWorker/sum", `5`))
	require.JSONEq(t, `16`, s.MustCall("GoCounter/sum/add", `1`))
	failed, err := s.Call("GoWorker/fail", `"tea"`)
	require.NoError(t, err)
	failedWith(t, failed, http.StatusTeapot, "tea")

	waits := s.sendTo(t, "GoWorker/wait", ``, once("waits")...)
	workflow := s.sendTo(t, "GoOrder/1/run", `"item"`)
	s.awaitState(t, waits, "suspended")
	s.awaitState(t, workflow, "suspended")
	s.CrashAll()
	s.resolve(t, <-awakeables, `"woken"`)
	s.MustCall("GoOrder/1/approve", `"boss"`)
	require.JSONEq(t, `"woken"`, s.attach(t, waits).Body)
	require.JSONEq(t, `"item approved by boss"`, s.attach(t, workflow).Body)
	s.AwaitIdle(time.Minute)
}

// TestMoreAskForOneResultThanMayWait has a thousand clients wait, and one more; then all leave, and make room for others.
func TestMoreAskForOneResultThanMayWait(t *testing.T) {
	t.Parallel()
	const may = 1000
	awakeables := make(chan string, 1)
	s := setting{Runtime: process.Start(t, process.OneProcess)}
	s.RegisterDeployment(goHandlers(t, awakeables))
	id := s.sendTo(t, "GoWorker/wait", ``, once("one")...)
	ask := func(ctx context.Context) (int, string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Ingress+"/restate/invocation/"+id+"/attach", http.NoBody)
		if err != nil {
			return 0, "", err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response.StatusCode, string(body), err
	}

	clients, leave := context.WithCancel(t.Context())
	defer leave()
	answers := make(chan string, may+1)
	var asking sync.WaitGroup
	for range may + 1 {
		asking.Go(func() {
			if status, body, err := ask(clients); !errors.Is(err, context.Canceled) {
				answers <- fmt.Sprint(status, " ", body, " ", err)
			}
		})
	}
	select {
	case answer := <-answers:
		require.Contains(t, answer, "429")
		require.Contains(t, answer, "[RT0101]")
	case <-time.After(await.Deadline):
		require.Fail(t, "nobody was turned away")
	}
	leave()
	asking.Wait()
	require.Empty(t, answers, "the others wait")

	await.True(t, await.Deadline, func() bool {
		// Who waits gets no answer yet; who is turned away gets it at once.
		client, leave := context.WithTimeout(t.Context(), 2*time.Second)
		defer leave()
		_, _, err := ask(client)
		return errors.Is(err, context.DeadlineExceeded)
	}, "room for another")
	s.resolve(t, <-awakeables, `"done"`)
	require.JSONEq(t, `"done"`, s.attach(t, id).Body)
	s.AwaitIdle(time.Minute)
}
