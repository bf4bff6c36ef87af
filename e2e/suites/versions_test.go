package suites

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/proto/gen/dev/restate"

	"github.com/restate-go/restate/e2e/discovery"
	"github.com/restate-go/restate/e2e/process"
)

// TestVersions deploys revisions of the services beside each other.
func TestVersions(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		first := process.StartService(t, "server", "E2E_REVISION", "1")
		firstID := s.Register(process.Registration{URI: first.URL})
		revision := func() string { return s.MustCall("e2e.Greeter/Revision", `{}`) }
		require.JSONEq(t, `{"message": "revision 1"}`, revision())
		waiting := s.later(t, "e2e.Workflow/AwaitRevision", `{"id": "pinned"}`)
		awakeable := first.Awakeable("pinned")
		require.Equal(t, firstID, s.AwaitInvocation("e2e.Workflow", "AwaitRevision", "suspended").Endpoint)

		second := process.StartService(t, "server", "E2E_REVISION", "2")
		secondID := s.Register(process.Registration{URI: second.URL})
		require.JSONEq(t, `{"message": "revision 2"}`, revision(), "a new revision is called once its registration has returned")
		service := s.MetaGet("/services/e2e.Greeter").JSON(t)
		require.Equal(t, secondID, service["endpoint_id"])
		require.InEpsilon(t, 3, service["revision"], 0)

		// What began on the first goes on there, when that is back.
		first.Kill()
		s.MustCall("dev.restate.Awakeables/Resolve", `{"id": "`+awakeable+`", "json_result": "go on"}`)
		s.AwaitInvocation("e2e.Workflow", "AwaitRevision", "backing-off")
		first.Restart()
		require.JSONEq(t, `{"message": "revision 1"}`, receive(t, waiting).Body)

		// State belongs to the service, whatever its revision.
		require.JSONEq(t, `{"value": "1"}`, s.MustCall("e2e.Counter/Add", `{"counter_id": "kept", "amount": 1}`))
		s.Register(process.Registration{URI: s.service.URL, Force: true})
		require.JSONEq(t, `{"value": "2"}`, s.MustCall("e2e.Counter/Add", `{"counter_id": "kept", "amount": 1}`))
		s.AwaitIdle(time.Minute)
	}, suspendEarly...)
}

// TestForce replaces what is registered, which is for development.
func TestForce(t *testing.T) {
	eachMode(t, func(t *testing.T, s setting) {
		answer := s.TryRegister(process.Registration{URI: s.service.URL})
		require.Equal(t, http.StatusConflict, answer.Status)
		require.Equal(t, "META0004", answer.JSON(t)["restate_code"])

		// The program at the URL is another one now, with fewer services.
		s.service.SetEnv("E2E_SERVICES", "Greeter,Counter")
		s.service.Restart()
		id := s.Register(process.Registration{URI: s.service.URL, Force: true})
		require.Equal(t, http.StatusOK, s.MetaGet("/services/e2e.Greeter").Status)
		require.Equal(t, http.StatusNotFound, s.MetaGet("/services/e2e.Workflow").Status)
		call, err := s.Call("e2e.Workflow/Sleep", `{"millis": 1}`)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, call.Status)
		require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))

		require.Equal(t, http.StatusAccepted, s.MetaDo(http.MethodDelete, "/endpoints/"+id, "").Status)
		require.Equal(t, http.StatusNotFound, s.MetaGet("/endpoints/"+id).Status)
		call, err = s.Call("e2e.Greeter/Hello", `{"name": "you"}`)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, call.Status)
		s.Register(process.Registration{URI: s.service.URL})
		require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))
	})
}

// TestIncompatibleRevision is refused unless it is forced.
func TestIncompatibleRevision(t *testing.T) {
	s := setting{Runtime: process.Start(t, process.OneProcess)}
	endpoint := func(kind restate.ServiceType, methods ...string) string {
		return process.Serve(t, &process.Endpoint{
			Services: []discovery.Service{{Name: "Changing", Kind: kind, Methods: methods}}, Invoke: http.NotFound,
		})
	}
	s.Register(process.Registration{URI: endpoint(restate.ServiceType_KEYED, "Do")})
	s.Register(process.Registration{URI: endpoint(restate.ServiceType_KEYED, "Do", "DoMore")})
	unkeyed := endpoint(restate.ServiceType_UNKEYED, "Do")
	answer := s.TryRegister(process.Registration{URI: unkeyed})
	require.Equal(t, http.StatusConflict, answer.Status, answer.Body)
	require.Equal(t, "META0006", answer.JSON(t)["restate_code"])
	require.Contains(t, strings.ToLower(answer.Body), "keyed")
	s.Register(process.Registration{URI: unkeyed, Force: true})
	require.Equal(t, "Unkeyed", s.MetaGet("/services/scripted.Changing").JSON(t)["instance_type"])
}
