package suites

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/process"
)

// setting is a runtime and a service endpoint, registered there, that a test works with.
type setting struct {
	*process.Runtime
	service *process.Service
}

// eachMode runs the test with a runtime in one process, and with one whose daemons are apart. The environment of the
// runtime comes as name, value, ...
func eachMode(t *testing.T, test func(t *testing.T, s setting), environment ...string) {
	t.Helper()
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, start(t, mode, environment...))
		})
	}
}

// start starts a runtime with the services of the SDK.
func start(t *testing.T, mode process.Mode, environment ...string) setting {
	t.Helper()
	s := setting{service: process.StartService(t, "server"), Runtime: process.Start(t, mode, environment...)}
	s.Register(process.Registration{URI: s.service.URL})
	return s
}

// suspendEarly has invocations suspend almost as soon as they wait.
var suspendEarly = []string{"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT", "50ms"}

// later calls the method in the background. The answer can be had from the channel that is returned.
func (s setting) later(t *testing.T, method, request string, headers ...string) <-chan process.Answer {
	t.Helper()
	answers := make(chan process.Answer, 1)
	go func() {
		answer, err := s.Call(method, request, headers...)
		if err != nil {
			answer.Body = err.Error()
		}
		answers <- answer
	}()
	return answers
}

// longEnough has try work with longer and longer sleeps until it says that the sleep was not over before what was to happen
// meanwhile: how long that takes, nobody can tell.
func longEnough(t *testing.T, shortest time.Duration, try func(sleep time.Duration) (inTime bool)) {
	t.Helper()
	for sleep := shortest; !try(sleep); sleep *= 2 {
		require.Less(t, sleep, await.Deadline, "it was over too early")
	}
}

// invoke calls the method without waiting for its result.
func (s setting) invoke(t *testing.T, service, method, argument string, headers ...string) {
	t.Helper()
	s.MustCall("dev.restate.Ingress/Invoke",
		`{"service": "`+service+`", "method": "`+method+`", "argument": `+argument+`}`, headers...)
}

// count returns the value of a counter.
func (s setting) count(t *testing.T, counter string) int {
	t.Helper()
	var answer struct{ Value string }
	require.NoError(t, json.Unmarshal([]byte(s.MustCall("e2e.Counter/Get", `{"counter_id": "`+counter+`"}`)), &answer))
	value, err := strconv.Atoi(answer.Value)
	require.NoError(t, err)
	return value
}

func (s setting) awaitCount(t *testing.T, counter string, want int) {
	t.Helper()
	await.True(t, await.Deadline, func() bool { return s.count(t, counter) == want },
		"the counter "+counter+" to be "+strconv.Itoa(want))
}

// receive waits for an answer.
func receive(t *testing.T, answers <-chan process.Answer) process.Answer {
	t.Helper()
	select {
	case answer := <-answers:
		return answer
	case <-time.After(await.Deadline):
		t.Fatalf("no answer after %s", await.Deadline)
		return process.Answer{}
	}
}
