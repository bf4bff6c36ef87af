package suites

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/process"
)

// startHandlers starts a runtime with the handlers of today's SDK.
func startHandlers(t *testing.T, mode process.Mode) setting {
	t.Helper()
	s := setting{service: process.StartHandlers(t), Runtime: process.Start(t, mode)}
	s.RegisterDeployment(s.service.URL)
	return s
}

// eachModeOfHandlers runs the test with a runtime in one process, and with one whose daemons are apart.
func eachModeOfHandlers(t *testing.T, test func(t *testing.T, s setting)) {
	t.Helper()
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, startHandlers(t, mode))
		})
	}
}

// get asks the ingress.
func (s setting) get(t *testing.T, path string) process.Answer {
	t.Helper()
	answer, err := process.Do(http.MethodGet, "http://"+s.Ingress+path, "")
	require.NoError(t, err)
	return answer
}

// sendTo has the handler run without waiting for its result, and returns the id of the invocation.
func (s setting) sendTo(t *testing.T, handler, argument string, headers ...string) string {
	t.Helper()
	answer, err := s.Call("restate/send/"+handler, argument, headers...)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, answer.Status, answer.Body)
	id, _ := answer.JSON(t)["invocationId"].(string)
	require.Equal(t, id, answer.Header.Get("X-Restate-Id"))
	require.Equal(t, "Accepted", answer.JSON(t)["status"])
	return id
}

// attach waits for the result of an invocation.
func (s setting) attach(t *testing.T, id string) process.Answer {
	t.Helper()
	return s.get(t, "/restate/invocation/"+id+"/attach")
}

// operate has an operation done to an invocation, and returns the status.
func (s setting) operate(id, operation string) int {
	return s.MetaDo(http.MethodPatch, "/invocations/"+id+"/"+operation, "").Status
}

// awaitState waits until the invocation has one of the statuses; empty is being over.
func (s setting) awaitState(t *testing.T, id string, statuses ...string) {
	t.Helper()
	await.True(t, await.Deadline, func() bool {
		open, err := s.Invocations()
		now := ""
		for _, i := range open {
			if i.ID == id {
				now = i.Status
			}
		}
		return err == nil && slices.Contains(statuses, now)
	}, fmt.Sprintf("the invocation %s to be %q", id, statuses))
}

// awaitCounter waits until the counter has the value.
func (s setting) awaitCounter(t *testing.T, key, want string) {
	t.Helper()
	await.True(t, await.Deadline, func() bool { return s.MustCall("Counter/"+key+"/get", "") == want }, key+" to be "+want)
}

// failedWith checks that an invocation failed.
func failedWith(t *testing.T, answer process.Answer, status int, message string) {
	t.Helper()
	require.Equal(t, status, answer.Status, answer.Body)
	require.Equal(t, "invocation", answer.Header.Get("X-Restate-Error-Source"))
	require.Equal(t, message, answer.JSON(t)["message"])
	require.InDelta(t, status, answer.JSON(t)["code"], 0)
}

// once returns the headers of a request with an idempotency key.
func once(key string) []string { return []string{"Idempotency-Key", key} }

// TestHandlers uses every feature of today's SDK through plain HTTP.
func TestHandlers(t *testing.T) {
	eachModeOfHandlers(t, featuresOfHandlers)
}

func featuresOfHandlers(t *testing.T, s setting) {
	t.Run("calls at the ingress", func(t *testing.T) { callHandlers(t, s) })
	t.Run("steps", func(t *testing.T) { stepsOfHandlers(t, s) })
	t.Run("state", func(t *testing.T) { stateOfHandlers(t, s) })
	t.Run("calls of handlers", func(t *testing.T) { handlersThatCall(t, s) })
	t.Run("waits", func(t *testing.T) { handlersThatWait(t, s) })
	t.Run("signals", func(t *testing.T) { signalsOfHandlers(t, s) })
	t.Run("workflow", func(t *testing.T) { workflowOfHandlers(t, s) })
	t.Run("results", func(t *testing.T) { resultsOfHandlers(t, s) })
	t.Run("sends", func(t *testing.T) { sendsToHandlers(t, s) })
	s.AwaitIdle(time.Minute)
}

func callHandlers(t *testing.T, s setting) {
	for _, path := range []string{"Worker/hello", "restate/call/Worker/hello"} {
		answer, err := s.Call(path, `"you"`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.JSONEq(t, `"Hello you"`, answer.Body)
		require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
		require.True(t, strings.HasPrefix(answer.Header.Get("X-Restate-Id"), "inv_"), answer.Header)
	}
	answer, err := s.Call("Worker/fail", `{"message": "tea", "code": 418, "metadata": {"pot": "small"}}`)
	require.NoError(t, err)
	failedWith(t, answer, 418, "tea")
	require.Equal(t, map[string]any{"pot": "small"}, answer.JSON(t)["metadata"])
	require.True(t, strings.HasPrefix(answer.Header.Get("X-Restate-Id"), "inv_"), answer.Header)

	answer, err = s.Call("Worker/nothing", `1`)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, answer.Status, answer.Body)
	require.Equal(t, "ingress", answer.Header.Get("X-Restate-Error-Source"))

	// What the runtime tells endpoints of each attempt.
	key := url.PathEscape("a/b ü")
	require.JSONEq(t, `"`+key+`"`, s.MustCall("Counter/"+key+"/attemptHeader", `"x-restate-service-key"`))
	require.JSONEq(t, `"localcluster"`, s.MustCall("Counter/"+key+"/attemptHeader", `"x-restate-cluster-name"`))
	require.Contains(t, s.MustCall("Counter/"+key+"/attemptHeader", `"x-restate-invocation-id"`), `"inv_`)

	// A failure that is not terminal is one of the attempt only.
	require.JSONEq(t, `4`, s.MustCall("Worker/flaky", `{"id": "flaky", "failures": 3}`))
}

func stepsOfHandlers(t *testing.T, s setting) {
	require.JSONEq(t, `15`, s.MustCall("Worker/steps", `{"id": "steps", "count": 5}`))
	require.Equal(t, 5, s.service.Count("step", "steps"), "each is executed once")

	require.JSONEq(t, `3`, s.MustCall("Worker/flakyStep", `{"id": "step", "failures": 2}`))
	require.Equal(t, 3, s.service.Count("attempt", "step"))

	answer, err := s.Call("Worker/flakyStep", `{"id": "give up", "failures": 9, "most": 3}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, answer.Status, answer.Body)
	require.Equal(t, 3, s.service.Count("attempt", "give up"))

	require.JSONEq(t, `{"code": 412, "message": "not so"}`, s.MustCall("Worker/failStep", ``))
}

func stateOfHandlers(t *testing.T, s setting) {
	require.JSONEq(t, `2`, s.MustCall("Counter/one/add", `2`))
	require.JSONEq(t, `7`, s.MustCall("Counter/one/add", `5`))
	require.JSONEq(t, `0`, s.MustCall("Counter/two/get", ``))
	s.MustCall("Counter/one/set", `{"name": "a", "value": 1}`)
	s.MustCall("Counter/one/set", `{"name": "b", "value": {"x": []}}`)
	require.JSONEq(t, `["a", "b", "value"]`, s.MustCall("Counter/one/keys", ``))
	s.MustCall("Counter/one/clear", `"value"`)
	require.JSONEq(t, `["a", "b"]`, s.MustCall("Counter/one/keys", ``))
	require.JSONEq(t, `0`, s.MustCall("Counter/one/get", ``))
	s.MustCall("Counter/one/clearAll", ``)
	require.JSONEq(t, `[]`, s.MustCall("Counter/one/keys", ``))

	// A shared handler does not wait for the one that has the key; the others do.
	s.MustCall("Counter/held/add", `1`)
	s.sendTo(t, "Counter/held/hold", `"held"`)
	awakeable := s.service.Awakeable("held")
	added := s.later(t, "Counter/held/add", `1`)
	s.AwaitInvocation("Counter", "add", "pending")
	require.JSONEq(t, `1`, s.MustCall("Counter/held/get", ``))
	s.resolve(t, awakeable, `null`)
	require.JSONEq(t, `2`, receive(t, added).Body)
}

// resolve resolves an awakeable at the ingress.
func (s setting) resolve(t *testing.T, awakeable, value string) {
	t.Helper()
	answer, err := s.Call("restate/awakeables/"+awakeable+"/resolve", value)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, answer.Status, answer.Body)
}

func handlersThatCall(t *testing.T, s setting) {
	require.JSONEq(t, `{"value": 4, "greeting": "Hello called"}`, s.MustCall("Worker/call", `{"key": "called", "amount": 4}`))
	require.JSONEq(t, `{"code": 409, "message": "denied", "metadata": {"a": "b"}}`,
		s.MustCall("Worker/callFailing", `{"message": "denied", "code": 409, "metadata": {"a": "b"}}`))

	require.JSONEq(t, `[1, 1]`, s.MustCall("Worker/callOnce", `{"key": "once", "idempotencyKey": "k"}`))
	require.JSONEq(t, `[1, 1]`, s.MustCall("Worker/callOnce", `{"key": "once", "idempotencyKey": "k"}`))
	require.JSONEq(t, `[2, 2]`, s.MustCall("Worker/callOnce", `{"key": "once", "idempotencyKey": "l"}`))

	var id string
	require.NoError(t, json.Unmarshal([]byte(s.MustCall("Worker/send", `{"key": "sent", "amount": 1}`)), &id))
	require.True(t, strings.HasPrefix(id, "inv_"), id)
	s.awaitCounter(t, "sent", "1")
	started := time.Now()
	s.MustCall("Worker/send", `{"key": "sent", "amount": 1, "delay": 700}`)
	s.awaitCounter(t, "sent", "2")
	require.GreaterOrEqual(t, time.Since(started), 700*time.Millisecond)
}

func handlersThatWait(t *testing.T, s setting) {
	longEnough(t, 800*time.Millisecond, func(sleep time.Duration) (suspended bool) {
		id, started := "sleep of "+sleep.String(), time.Now()
		sleeps := s.later(t, "Worker/sleep", fmt.Sprintf(`{"id": %q, "millis": %d}`, id, sleep.Milliseconds()))
		await.True(t, await.Deadline, func() bool {
			open, err := s.Invocations()
			suspended = err == nil && slices.ContainsFunc(open, func(i process.Invocation) bool {
				return i.Method == "sleep" && i.Status == "suspended"
			})
			return suspended || len(sleeps) > 0
		}, "the handler to sleep")
		require.JSONEq(t, `"awake"`, receive(t, sleeps).Body)
		require.GreaterOrEqual(t, time.Since(started), sleep)
		require.Equal(t, 1, s.service.Count("started", id))
		return suspended
	})

	require.JSONEq(t, `"Hello first"`, s.MustCall("Worker/race", ``))
	require.JSONEq(t, `true`, s.MustCall("Worker/timeout", ``))

	wait := func(id string) (awakeable string, answers <-chan process.Answer) {
		answers = s.later(t, "Worker/awaitAwakeable", `"`+id+`"`)
		return s.service.Awakeable(id), answers
	}
	id, resolved := wait("resolved outside")
	s.resolve(t, id, `{"a": 1}`)
	require.JSONEq(t, `{"resolved": {"a": 1}}`, receive(t, resolved).Body)

	id, rejected := wait("rejected outside")
	answer, err := s.Call("restate/awakeables/"+id+"/reject", `not today`)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, answer.Status, answer.Body)
	require.JSONEq(t, `{"rejected": "not today"}`, receive(t, rejected).Body)
	s.resolve(t, id, `"too late"`)

	id, inside := wait("resolved inside")
	s.MustCall("Worker/settle", `{"awakeable": "`+id+`", "value": "inside"}`)
	require.JSONEq(t, `{"resolved": "inside"}`, receive(t, inside).Body)

	id, refused := wait("rejected inside")
	s.MustCall("Worker/settle", `{"awakeable": "`+id+`", "reason": "no"}`)
	require.JSONEq(t, `{"rejected": "no"}`, receive(t, refused).Body)
}

func signalsOfHandlers(t *testing.T, s setting) {
	resolved := s.sendTo(t, "Worker/awaitSignal", `"go"`, once("resolved")...)
	s.awaitState(t, resolved, "suspended")
	s.MustCall("Worker/signal", `{"id": "`+resolved+`", "name": "other", "value": 1}`)
	s.MustCall("Worker/signal", `{"id": "`+resolved+`", "name": "go", "value": 2}`)
	require.JSONEq(t, `{"resolved": 2}`, s.attach(t, resolved).Body)

	rejected := s.sendTo(t, "Worker/awaitSignal", `"go"`, once("rejected")...)
	s.MustCall("Worker/signal", `{"id": "`+rejected+`", "name": "go", "reason": "red light"}`)
	require.JSONEq(t, `{"rejected": "red light"}`, s.attach(t, rejected).Body)
}

func workflowOfHandlers(t *testing.T, s setting) {
	require.JSONEq(t, `{"status": null, "approved": null}`, s.MustCall("Order/1/status", ``))
	id := s.sendTo(t, "Order/1/run", `"item"`)
	s.awaitState(t, id, "suspended")
	require.JSONEq(t, `{"status": "waits", "approved": null}`, s.MustCall("Order/1/status", ``))
	require.Equal(t, 470, s.get(t, "/restate/workflow/Order/1/output").Status)
	attached := s.later(t, "restate/attach", `{"target": "workflow", "workflowName": "Order", "workflowKey": "1"}`)
	s.MustCall("Order/1/approve", `"boss"`)
	const want = `"1: item approved by boss"`
	require.JSONEq(t, want, receive(t, attached).Body)
	require.JSONEq(t, want, s.get(t, "/restate/workflow/Order/1/output").Body)
	require.JSONEq(t, `{"status": "done", "approved": "boss"}`, s.MustCall("Order/1/status", ``))

	// There is one run for each key.
	call, err := s.Call("Order/1/run", `"another"`)
	require.NoError(t, err)
	failedWith(t, call, http.StatusConflict, "the workflow method was already invoked")
	require.Equal(t, id, call.Header.Get("X-Restate-Id"))
	again, err := s.Call("Order/1/run/send", `"another"`)
	require.NoError(t, err)
	require.Equal(t, "PreviouslyAccepted", again.JSON(t)["status"])
	require.Equal(t, id, again.JSON(t)["invocationId"])
	require.JSONEq(t, `1`, s.MustCall("Counter/item/get", ``))
	second, err := s.Call("Order/1/approve", `"someone else"`)
	require.NoError(t, err)
	failedWith(t, second, http.StatusConflict, "promise was already completed")

	s.sendTo(t, "Order/2/run", `"item"`)
	s.MustCall("Order/2/refuse", `"too dear"`)
	failedWith(t, s.get(t, "/restate/workflow/Order/2/attach"), http.StatusInternalServerError, "too dear")
}

func resultsOfHandlers(t *testing.T, s setting) {
	first, err := s.Call("Counter/kept/add", `1`, once("kept")...)
	require.NoError(t, err)
	again, err := s.Call("Counter/kept/add", `1`, once("kept")...)
	require.NoError(t, err)
	require.JSONEq(t, `1`, again.Body)
	require.NotEmpty(t, again.Header.Get("Idempotency-Expires"))
	id := first.Header.Get("X-Restate-Id")
	require.Equal(t, id, again.Header.Get("X-Restate-Id"))
	for _, path := range []string{
		"invocation/" + id + "/attach", "invocation/" + id + "/output", "attach/" + id, "output/" + id,
		"invocation/Counter/kept/add/kept/output",
	} {
		require.JSONEq(t, `1`, s.get(t, "/restate/"+path).Body, path)
	}
	waits := s.sendTo(t, "Worker/awaitAwakeable", `"attached"`)
	require.Equal(t, 470, s.get(t, "/restate/invocation/"+waits+"/output").Status)
	attached := s.later(t, "Worker/attach", `"`+waits+`"`)
	s.AwaitInvocation("Worker", "attach", "suspended")
	s.resolve(t, s.service.Awakeable("attached"), `1`)
	require.JSONEq(t, `{"resolved": 1}`, receive(t, attached).Body, "a handler attaches")
	unknown := "/restate/invocation/Counter/kept/add/never/"
	require.Equal(t, http.StatusNotFound, s.get(t, unknown+"output").Status)
	require.Equal(t, http.StatusNotFound, s.get(t, unknown+"attach").Status)
	require.Equal(t, http.StatusNotFound, s.get(t, "/restate/workflow/Order/never/output").Status)
}

func sendsToHandlers(t *testing.T, s setting) {
	started := time.Now()
	answer, err := s.Call("Counter/later/add/send?delay=700ms", `1`, once("later")...)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, answer.Status, answer.Body)
	require.NotEmpty(t, answer.JSON(t)["executionTime"])
	again, err := s.Call("Counter/later/add/send", `1`, once("later")...)
	require.NoError(t, err)
	require.Equal(t, "PreviouslyAccepted", again.JSON(t)["status"])
	s.awaitCounter(t, "later", "1")
	require.GreaterOrEqual(t, time.Since(started), 700*time.Millisecond)

	// What waits for its time exists, and nothing is left of it when it is cancelled.
	never, err := s.Call("Counter/never/add/send?delay=1h", `1`, once("never")...)
	require.NoError(t, err)
	id, _ := never.JSON(t)["invocationId"].(string)
	require.Equal(t, 470, s.get(t, "/restate/output/"+id).Status)
	require.Equal(t, http.StatusConflict, s.operate(id, "pause"))
	require.Equal(t, http.StatusTooEarly, s.operate(id, "resume"))
	require.Equal(t, http.StatusTooEarly, s.operate(id, "restart-as-new"))
	require.Equal(t, http.StatusConflict, s.operate(id, "purge"))
	require.Equal(t, http.StatusOK, s.operate(id, "cancel"))
	require.Equal(t, http.StatusNotFound, s.get(t, "/restate/attach/"+id).Status)
}

// TestHandlersSurviveCrashes ends the runtime while invocations wait for each thing that can be waited for.
func TestHandlersSurviveCrashes(t *testing.T) {
	for _, mode := range process.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			longEnough(t, 2*time.Second, func(sleep time.Duration) bool { return surviveCrash(t, startHandlers(t, mode), sleep) })
		})
	}
}

// surviveCrash returns whether the runtime had crashed before the sleep was over.
func surviveCrash(t *testing.T, s setting, sleep time.Duration) (inTime bool) {
	waits := s.sendTo(t, "Worker/awaitAwakeable", `"waits"`, once("waits")...)
	workflow := s.sendTo(t, "Order/crash/run", `"crashed"`)
	signalled := s.sendTo(t, "Worker/awaitSignal", `"go"`, once("signalled")...)
	awakeable := s.service.Awakeable("waits")
	for _, id := range []string{waits, workflow, signalled} {
		s.awaitState(t, id, "suspended")
	}
	started := time.Now()
	sleeps := s.sendToSleep(t, sleep)
	delayed, err := s.Call("Counter/delayed/add/send?delay="+sleep.String(), `1`)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, delayed.Status, delayed.Body)

	s.KillAll()
	inTime = time.Since(started) < sleep
	s.StartInOrder(s.Names())

	s.resolve(t, awakeable, `"woken"`)
	s.MustCall("Order/crash/approve", `"boss"`)
	s.MustCall("Worker/signal", `{"id": "`+signalled+`", "name": "go", "value": 1}`)
	require.JSONEq(t, `{"resolved": "woken"}`, s.attach(t, waits).Body)
	require.JSONEq(t, `"crash: crashed approved by boss"`, s.attach(t, workflow).Body)
	require.JSONEq(t, `{"resolved": 1}`, s.attach(t, signalled).Body)
	require.JSONEq(t, `"awake"`, s.attach(t, sleeps).Body)
	require.GreaterOrEqual(t, time.Since(started), sleep)
	s.awaitCounter(t, "delayed", "1")
	s.AwaitIdle(time.Minute)
	for _, key := range []string{"slept", "crashed", "delayed"} {
		require.JSONEq(t, `1`, s.MustCall("Counter/"+key+"/get", ``), key)
	}
	require.Equal(t, 1, s.service.Count("started", "asleep"), "a step that is in the journal is not done again")
	return inTime
}

// sendToSleep has a handler sleep, and returns the id of the invocation once it is suspended, or over.
func (s setting) sendToSleep(t *testing.T, sleep time.Duration) string {
	t.Helper()
	id := s.sendTo(t, "Worker/sleep", fmt.Sprintf(`{"id": "asleep", "millis": %d, "key": "slept"}`, sleep.Milliseconds()), once("sleeps")...)
	s.service.Await("started", "asleep")
	s.awaitState(t, id, "suspended", "")
	return id
}

// TestClientLibrary has the client library of today use the services.
func TestClientLibrary(t *testing.T) { eachModeOfHandlers(t, useClientLibrary) }

func useClientLibrary(t *testing.T, s setting) {
	waits := s.later(t, "Worker/awaitAwakeable", `"client"`)
	got := process.RunHandlersProgram(t, "client", "http://"+s.Ingress, s.service.Awakeable("client"))
	require.JSONEq(t, `{"resolved": "by the client"}`, receive(t, waits).Body)
	var answers map[string]any
	require.NoError(t, json.Unmarshal([]byte(got), &answers), got)
	failure, _ := answers["failed"].(map[string]any)
	require.InDelta(t, 418, failure["status"], 0, got)
	require.Contains(t, failure["text"], "tea")
	delete(answers, "failed")
	require.Equal(t, map[string]any{
		"called":    "Hello client",
		"added":     4.0,
		"sent":      []any{"Accepted", "PreviouslyAccepted", true, "Hello sent"},
		"submitted": []any{"Accepted", "PreviouslyAccepted"},
		"ready":     false,
		"attached":  "of the client: client item approved by the client",
		"output":    "of the client: client item approved by the client",
	}, answers)
	require.JSONEq(t, `1`, s.MustCall("Counter/client%20item/get", ``))
}
