package suites

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
)

// handlersLoad uses the handlers on today's SDKs. Its counters are Service/key.
type handlersLoad struct{}

func (handlersLoad) request(t *testing.T, c *client, id string) bool {
	key := c.counter()
	counter := "Counter/" + key
	switch c.random.IntN(13) {
	case 0:
		c.add(counter, 1)
		return c.expect(t, id, counter+"/add", `1`, http.StatusOK, "")
	case 1:
		c.add(counter, 1)
		return c.expect(t, id, counter+"/add/send", `1`, http.StatusAccepted, "")
	case 2:
		c.add(counter, 1)
		return c.expect(t, id, fmt.Sprintf("%s/add/send?delay=%dms", counter, c.random.IntN(500)), `1`, http.StatusAccepted, "")
	case 3:
		return c.expect(t, id, "Counter/"+c.name+"/append/send", fmt.Sprintf(`"%d"`, c.item()), http.StatusAccepted, "")
	case 4:
		return c.expect(t, id, "Worker/steps", `{"id": "`+id+`", "count": 3}`, http.StatusOK, `6`)
	case 5:
		return c.expect(t, id, "Worker/flakyStep", `{"id": "`+id+`", "failures": 2}`, http.StatusOK, "")
	case 6:
		c.add(counter, 2)
		return c.expect(t, id, "Worker/call", `{"key": "`+key+`", "amount": 2}`, http.StatusOK, "") &&
			c.expect(t, id+"-sent", "Worker/send", fmt.Sprintf(`{"key": %q, "amount": 0, "delay": %d}`, key, c.random.IntN(300)), http.StatusOK, "")
	case 7:
		c.add(counter, 1)
		return c.expect(t, id, "Worker/sleep",
			fmt.Sprintf(`{"id": %q, "millis": %d, "key": %q}`, id, c.random.IntN(400), key), http.StatusOK, `"awake"`)
	case 8:
		c.add("GoCounter/sum", 6)
		return c.expect(t, id, "GoWorker/sum", `3`, http.StatusOK, "")
	case 9:
		c.add(counter, 1)
		return c.approve(t, id, key)
	case 10:
		return c.wake(t, id)
	case 11:
		c.add(counter, 0)
		return c.cancel(t, id, key)
	default:
		return c.kill(t, id)
	}
}

// send has the handler run, and returns the id of the invocation.
func (c *client) send(t *testing.T, id, handler, argument string) (string, bool) {
	answer, ok := c.persist(t, id+" "+handler, func() (process.Answer, error) {
		return c.Call("restate/send/"+handler, argument, "Idempotency-Key", id)
	})
	if !ok || !assert.Equal(t, http.StatusAccepted, answer.Status, answer.Body) {
		return "", false
	}
	var sent struct{ InvocationID string }
	return sent.InvocationID, assert.NoError(t, json.Unmarshal([]byte(answer.Body), &sent), answer.Body)
}

// ends waits for the end of an invocation, and compares it.
func (c *client) ends(t *testing.T, path string, status int, body string) bool {
	answer, ok := c.persist(t, path, func() (process.Answer, error) {
		return process.Do(http.MethodGet, "http://"+c.Ingress+"/restate/"+path+"/attach", "")
	})
	return ok && assert.Equal(t, status, answer.Status, "%s: %s", path, answer.Body) && assert.JSONEq(t, body, answer.Body, path)
}

// approve has a workflow wait for a promise, and keeps it.
func (c *client) approve(t *testing.T, id, counter string) bool {
	run, ok := c.persist(t, id+" run", func() (process.Answer, error) { // a run has no idempotency key
		return c.Call("restate/send/Order/"+id+"/run", `"`+counter+`"`)
	})
	return ok && assert.Equal(t, http.StatusAccepted, run.Status, run.Body) &&
		c.expect(t, id, "Order/"+id+"/approve", `"boss"`, http.StatusOK, "") &&
		c.ends(t, "workflow/Order/"+id, http.StatusOK, fmt.Sprintf(`"%s: %s approved by boss"`, id, counter))
}

// wake has handlers wait for an awakeable and a signal, and sends both.
func (c *client) wake(t *testing.T, id string) bool {
	waits, ok := c.send(t, id, "Worker/awaitAwakeable", `"`+id+`"`)
	if !ok {
		return false
	}
	signalled, ok := c.send(t, id+"-signalled", "Worker/awaitSignal", `"go"`)
	if !ok {
		return false
	}
	awakeable, ok := c.awakeable(t, id)
	want := `{"resolved": "` + id + `"}`
	return ok &&
		c.expect(t, id, "restate/awakeables/"+awakeable+"/resolve", `"`+id+`"`, http.StatusAccepted, "") &&
		c.expect(t, id+"-signal", "Worker/signal", `{"id": "`+signalled+`", "name": "go", "value": "`+id+`"}`, http.StatusOK, "") &&
		c.ends(t, "invocation/"+waits, http.StatusOK, want) && c.ends(t, "invocation/"+signalled, http.StatusOK, want)
}

// cancel has a handler undo what it did.
func (c *client) cancel(t *testing.T, id, counter string) bool {
	adds, ok := c.send(t, id, "Worker/compensate", `{"id": "`+id+`", "key": "`+counter+`"}`)
	if !ok || !c.did(t, "begun", id) {
		return false
	}
	// A handler cancels it once, however often that is asked for. A second time would end the undoing too.
	return c.expect(t, id+"-cancel", "Worker/cancel", `"`+adds+`"`, http.StatusOK, "") &&
		c.ends(t, "invocation/"+adds, http.StatusConflict, `{"code": 409, "message": "undone", "source": "invocation"}`)
}

// kill ends a handler and the one that it calls, so that the key is free again.
func (c *client) kill(t *testing.T, id string) bool {
	held := "held-" + c.name
	calls, ok := c.send(t, id, "Worker/callHold", `{"id": "`+id+`", "key": "`+held+`"}`)
	if !ok || !c.did(t, "awakeable", id) {
		return false
	}
	c.add("Counter/"+held, 1)
	killed, ok := c.persist(t, id+" kill", func() (process.Answer, error) {
		return process.Do(http.MethodPatch, "http://"+c.Meta+"/invocations/"+calls+"/kill", "")
	})
	// It is over already where the answer to an earlier request was lost.
	return ok && assert.Contains(t, []int{http.StatusOK, http.StatusConflict}, killed.Status, killed.Body) &&
		c.ends(t, "invocation/"+calls, http.StatusConflict, `{"code": 409, "message": "killed", "source": "invocation"}`) &&
		c.expect(t, id+"-after", "Counter/"+held+"/add", `1`, http.StatusOK, "")
}

func (handlersLoad) count(t *testing.T, s setting, counter string) int {
	t.Helper()
	value, err := strconv.Atoi(s.MustCall(counter+"/add", `0`))
	require.NoError(t, err)
	return value
}

func (handlersLoad) items(t *testing.T, s setting, list string) []any {
	t.Helper()
	var items []any
	require.NoError(t, json.Unmarshal([]byte(s.MustCall("Counter/"+list+"/append", `"last"`)), &items))
	require.NotEmpty(t, items)
	require.Equal(t, "last", items[len(items)-1])
	return items[:len(items)-1]
}
