package suites

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// protobufLoad uses the services on the SDK of 2023.
type protobufLoad struct{}

func (protobufLoad) request(t *testing.T, c *client, id string) bool {
	switch c.random.IntN(9) {
	case 0:
		counter := c.counter()
		c.add(counter, 1)
		return c.expect(t, id, "e2e.Counter/Add", `{"counter_id": "`+counter+`", "amount": 1}`, http.StatusOK, "")
	case 1:
		counter := c.counter()
		c.add(counter, 1)
		return c.oneWay(t, id, "e2e.Counter", "Add", `{"counter_id": "`+counter+`", "amount": 1}`)
	case 2:
		from, to, amount := c.counter(), c.counter(), 1+c.random.IntN(9)
		c.add(from, -amount)
		c.add(to, amount)
		return c.expect(t, id, "e2e.Workflow/Transfer", fmt.Sprintf(`{"id": %q, "from": %q, "to": %q, "amount": %d, "millis": %d}`,
			id, from, to, amount, c.random.IntN(200)), http.StatusOK, "")
	case 3:
		return c.expect(t, id, "e2e.Workflow/Steps", `{"id": "`+id+`", "count": 3}`, http.StatusOK, `{"value":"6"}`)
	case 4:
		return c.expect(t, id, "e2e.Workflow/Chain", `{"depth": 3}`, http.StatusOK, `{"value":"3"}`)
	case 5:
		for i := range 5 {
			c.add("fan"+strconv.Itoa(i), 1)
		}
		return c.expect(t, id, "e2e.Workflow/Fan", `{"prefix": "fan", "count": 5}`, http.StatusOK, "")
	case 6:
		return c.oneWay(t, id, "e2e.Counter", "Append", fmt.Sprintf(`{"counter_id": %q, "item": "%d"}`, c.name, c.item()))
	case 7:
		counter := c.counter()
		c.add(counter, 1)
		return c.expect(t, id, "e2e.Workflow/Delayed",
			`{"add": {"counter_id": "`+counter+`", "amount": 1}, "millis": 100}`, http.StatusOK, "")
	default:
		if !c.oneWay(t, id, "e2e.Workflow", "Await", `{"id": "`+id+`"}`) {
			return false
		}
		awakeable, ok := c.awakeable(t, id)
		return ok &&
			c.expect(t, id+"-resolve", "dev.restate.Awakeables/Resolve",
				`{"id": "`+awakeable+`", "json_result": "`+id+`"}`, http.StatusOK, `{}`) &&
			c.expect(t, id, "e2e.Workflow/Await", `{"id": "`+id+`"}`, http.StatusOK, `{"message":"`+id+`"}`)
	}
}

func (c *client) oneWay(t *testing.T, id, service, method, argument string) bool {
	return c.expect(t, id, "dev.restate.Ingress/Invoke",
		`{"service": "`+service+`", "method": "`+method+`", "argument": `+argument+`}`, http.StatusOK, "")
}

func (protobufLoad) count(t *testing.T, s setting, counter string) int {
	t.Helper()
	return s.count(t, counter)
}

func (protobufLoad) items(t *testing.T, s setting, list string) []any {
	t.Helper()
	answer, err := s.Call("e2e.Counter/Append", `{"counter_id": "`+list+`", "item": "last"}`)
	require.NoError(t, err)
	items, _ := answer.JSON(t)["items"].([]any)
	require.NotEmpty(t, items)
	require.Equal(t, "last", items[len(items)-1])
	return items[:len(items)-1]
}
