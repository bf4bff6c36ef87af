package suites

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/aws"
	"github.com/restate-go/restate/e2e/process"
)

const (
	region      = "eu-central-1"
	functionARN = "arn:aws:lambda:" + region + ":123456789012:function:services:1"
)

// Functions may take so long; those of 2023 never answer where a handler fails, and that is waited for.
const (
	answersAlways = 29 * time.Second
	answersMostly = 10 * time.Second
)

// startLambda starts a runtime that has the service as a function on AWS Lambda.
func startLambda(t *testing.T, mode process.Mode, service *process.Service, timeout time.Duration) (setting, *aws.Lambda) {
	t.Helper()
	lambda := &aws.Lambda{ARN: functionARN, Region: region, Function: service.URL, Timeout: timeout, ThrottleEach: 25}
	api := process.Serve(t, lambda)
	s := setting{service: service, Runtime: process.Start(t, mode,
		"RESTATE_META__ENDPOINT__AWS__ENDPOINT_URL", api, "RESTATE_WORKER__ENDPOINT__AWS__ENDPOINT_URL", api,
		"RESTATE_INGRESS__MAX_BODY_SIZE", "6MiB", "AWS_ACCESS_KEY_ID", "e2e", "AWS_SECRET_ACCESS_KEY", "secret", "AWS_PROFILE", "",
	)}
	answer := s.MetaDo(http.MethodPost, "/deployments", `{"arn": "`+functionARN+`"}`)
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	return s, lambda
}

// TestLambda uses every feature of the SDKs where the services are functions on AWS Lambda, which throttles now and then.
func TestLambda(t *testing.T) {
	for _, mode := range process.Modes {
		t.Run("handlers, "+string(mode), func(t *testing.T) {
			t.Parallel()
			s, lambda := startLambda(t, mode, process.StartHandlersProgram(t, "function"), answersAlways)
			deploymentOnLambda(t, s)
			featuresOfHandlers(t, s)
			largeCallsOfLambda(t, s)
			require.Positive(t, lambda.Throttled())
		})
	}
	t.Run("protobuf services, "+string(process.OneProcess), func(t *testing.T) {
		t.Parallel()
		s, lambda := startLambda(t, process.OneProcess, process.StartService(t, "function"), answersMostly)
		features(t, s)
		require.Positive(t, lambda.Throttled())
	})
}

func deploymentOnLambda(t *testing.T, s setting) {
	t.Helper()
	listed := s.MetaGet("/deployments").JSON(t)["deployments"].([]any)[0].(map[string]any)
	require.Equal(t, functionARN, listed["arn"])
	require.Equal(t, "zstd", listed["compression"])
	for _, of := range []string{"uri", "protocol_type", "http_version", "assume_role_arn"} {
		require.NotContains(t, listed, of)
	}
	other := strings.TrimSuffix(functionARN, "1") + "2"
	answer := s.MetaDo(http.MethodPost, "/deployments", `{"arn": "`+other+`"}`)
	require.Equal(t, http.StatusInternalServerError, answer.Status, answer.Body)
	require.Equal(t, "META0003", answer.JSON(t)["restate_code"])
	require.Contains(t, answer.JSON(t)["message"], "404 ResourceNotFoundException: Function not found: "+other)
}

// largeCallsOfLambda has a request and a response that fit only when they are compressed.
func largeCallsOfLambda(t *testing.T, s setting) {
	t.Helper()
	name := strings.Repeat("a", 5<<20)
	answer, err := s.Call("Worker/hello", `"`+name+`"`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Status)
	require.Equal(t, `"Hello `+name+`"`, answer.Body)
}

// TestLambdaSurvivesCrashes ends the runtime, and the function, while invocations sleep, wait and are under way.
func TestLambdaSurvivesCrashes(t *testing.T) {
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			longEnough(t, 2*time.Second, func(sleep time.Duration) bool {
				s, _ := startLambda(t, mode, process.StartHandlersProgram(t, "function"), answersAlways)
				return surviveCrashOnLambda(t, s, sleep)
			})
		})
	}
}

// surviveCrashOnLambda returns whether the runtime had crashed before the sleep was over.
func surviveCrashOnLambda(t *testing.T, s setting, sleep time.Duration) (inTime bool) {
	waits := s.sendTo(t, "Worker/awaitAwakeable", `"waits"`, once("waits")...)
	workflow := s.sendTo(t, "Order/crash/run", `"crashed"`)
	awakeable := s.service.Awakeable("waits")
	for _, id := range []string{waits, workflow} {
		s.awaitState(t, id, "suspended")
	}
	started := time.Now()
	sleeps := s.sendToSleep(t, sleep)
	const count = 20
	steps := s.sendTo(t, "Worker/steps", `{"id": "steps", "count": 20}`, once("steps")...)
	await.True(t, await.Deadline, func() bool { return s.service.Count("step", "steps") >= 2 }, "the steps to begin")

	s.KillAll()
	inTime = time.Since(started) < sleep
	s.service.Restart() // while nobody calls it, or it could break off one more step
	s.StartInOrder(s.Names())

	s.resolve(t, awakeable, `"woken"`)
	s.MustCall("Order/crash/approve", `"boss"`)
	require.JSONEq(t, `{"resolved": "woken"}`, s.attach(t, waits).Body)
	require.JSONEq(t, `"crash: crashed approved by boss"`, s.attach(t, workflow).Body)
	require.JSONEq(t, `210`, s.attach(t, steps).Body)
	require.JSONEq(t, `"awake"`, s.attach(t, sleeps).Body)
	s.AwaitIdle(time.Minute)
	for _, key := range []string{"slept", "crashed"} {
		require.JSONEq(t, `1`, s.MustCall("Counter/"+key+"/get", ``), key)
	}
	require.Equal(t, 1, s.service.Count("started", "asleep"), "a step that is in the journal is not done again")
	require.LessOrEqual(t, s.service.Count("step", "steps"), count+1, "of the steps, only the one under way is")
	return inTime
}
