package suites

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
)

// TestSettingsOfHandlers changes services and their state at meta, and looks what handlers and clients see of it.
func TestSettingsOfHandlers(t *testing.T) {
	eachModeOfHandlers(t, func(t *testing.T, s setting) {
		t.Run("state", func(t *testing.T) { patchState(t, s) })
		t.Run("settings", func(t *testing.T) { changeServices(t, s) })

		// With the record of its run, everything is gone that a workflow's key had.
		id := s.sendTo(t, "Order/purged/run", `"purged"`)
		s.MustCall("Order/purged/approve", `"boss"`)
		require.Equal(t, http.StatusOK, s.attach(t, id).Status)
		require.JSONEq(t, `{"status": "done", "approved": "boss"}`, s.MustCall("Order/purged/status", ``))
		require.Equal(t, http.StatusOK, s.operate(id, "purge"))
		require.JSONEq(t, `{"status": null, "approved": null}`, s.MustCall("Order/purged/status", ``))
		require.Equal(t, id, s.sendTo(t, "Order/purged/run", `"purged"`), "the same id runs again")
		s.MustCall("Order/purged/approve", `"somebody else"`)
		require.JSONEq(t, `"purged: purged approved by somebody else"`, s.attach(t, id).Body)
		s.AwaitIdle(time.Minute)
	})
}

// versionOf is the version of a state with one entry.
func versionOf(key, value string) string {
	text := binary.BigEndian.AppendUint64(nil, 0)
	text = append(append(append(append(append(text, 1), key...), 2), value...), 3)
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func patchState(t *testing.T, s setting) {
	patch := func(state map[string]string, version string) {
		t.Helper()
		request := map[string]any{"object_key": "patched", "new_state": state}
		if version != "" {
			request["version"] = version
		}
		body, err := json.Marshal(request)
		require.NoError(t, err)
		answer := s.MetaDo(http.MethodPost, "/services/Counter/state", string(body))
		require.Equal(t, http.StatusAccepted, answer.Status, answer.Body)
	}
	// An exclusive handler comes after what was to be done to the key before.
	value := func() string { return s.MustCall("Counter/patched/add", `0`) }
	s.MustCall("Counter/patched/add", `5`)
	patch(map[string]string{"value": "7"}, "")
	require.JSONEq(t, `7`, value())
	patch(map[string]string{"value": "8"}, versionOf("value", "6"))
	require.JSONEq(t, `7`, value(), "it has another version")
	patch(map[string]string{"value": "9"}, versionOf("value", "7"))
	require.JSONEq(t, `9`, value())

	// It waits for whoever holds the key.
	s.sendTo(t, "Counter/patched/hold", `"patched"`)
	awakeable := s.service.Awakeable("patched")
	patch(map[string]string{"other": "1"}, "")
	require.JSONEq(t, `9`, s.MustCall("Counter/patched/get", ``))
	s.resolve(t, awakeable, `null`)
	require.JSONEq(t, `0`, value())
	require.JSONEq(t, `["other", "value"]`, s.MustCall("Counter/patched/keys", ``))

	require.Equal(t, http.StatusBadRequest, s.MetaDo(http.MethodPost, "/services/Worker/state", `{"object_key": "k", "new_state": {}}`).Status)
}

func changeServices(t *testing.T, s setting) {
	change := func(service, settings string) {
		t.Helper()
		answer := s.MetaDo(http.MethodPatch, "/services/"+service, settings)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	}
	change("Counter", `{"public": false}`)
	refused, err := s.Call("Counter/private/add", `1`)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, refused.Status, refused.Body)
	s.MustCall("Worker/call", `{"key": "private", "amount": 3}`)
	change("Counter", `{"public": true}`)
	require.JSONEq(t, `3`, s.MustCall("Counter/private/get", ``))

	// What is kept for a day, and is not any more.
	output := func(id string) int { return s.get(t, "/restate/output/"+id).Status }
	call := func(headers ...string) string {
		answer, err := s.Call("Worker/steps", `{"id": "kept", "count": 1}`, headers...)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		return answer.Header.Get("X-Restate-Id")
	}
	kept := call()
	require.Equal(t, http.StatusOK, output(kept))
	change("Worker", `{"journal_retention": "0s", "idempotency_retention": "100ms"}`)
	dropped := call()
	await.True(t, await.Deadline, func() bool { return output(dropped) == http.StatusNotFound }, "nothing to be kept")
	before := s.service.Count("step", "kept")
	await.True(t, await.Deadline, func() bool {
		call(once("brief")...)
		return s.service.Count("step", "kept") >= before+2
	}, "the idempotency key to be free again")
	require.Equal(t, http.StatusOK, output(kept), "it was kept for as long as it was to be then")
	change("Worker", `{"journal_retention": "1h", "idempotency_retention": "PT24H"}`)
	require.Equal(t, http.StatusOK, output(call(once("long")...)))
}
