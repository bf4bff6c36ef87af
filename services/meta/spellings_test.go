package meta_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
)

// The command of the original reads an id only in the form of a deployment's.
func TestEndpointsOf2023HaveTheIDOfADeployment(t *testing.T) {
	r := start(t)
	uri := sdk(t, typedServices)
	id := ids.DeploymentIDOf(idOf(uri))
	created := r.call("POST", "/v4/deployments", registration(uri, false))
	require.Equal(t, 201, created.status, created.body)
	require.Equal(t, id, created.member(t, "id"))
	require.Equal(t, "deployments/"+id, created.header.Get("Location"))
	for _, version := range []string{"/v2", "/v3", "/v4"} {
		listed := r.call("GET", version+"/deployments", "").member(t, "deployments").([]any)
		require.Equal(t, id, listed[0].(map[string]any)["id"])
		shown := r.call("GET", version+"/deployments/"+id, "")
		require.Equal(t, id, shown.member(t, "id"))
		require.Equal(t, id, shown.member(t, "services").([]any)[0].(map[string]any)["deployment_id"])
		service := r.call("GET", version+"/services/seedera.Counter", "")
		require.Equal(t, id, service.member(t, "deployment_id"))
		require.Equal(t, idOf(uri), service.member(t, "endpoint_id"), "in the words of 2023")
	}
	one := viewOf(newID(t, 1), "seedera.Counter", idOf(uri), 0, storagev1.Invocation_STATE_SUSPENDED)
	r.work("one", one)
	for _, spelling := range []string{id, idOf(uri)} {
		require.Equal(t, idOf(uri), r.call("GET", "/endpoints/"+spelling, "").member(t, "id"))
		require.Equal(t, idOf(uri), r.call("GET", "/deployments/"+spelling, "").member(t, "id"))
		require.Len(t, r.call("GET", "/invocations?endpoint="+spelling, "").member(t, "invocations"), 1, spelling)
		refused := r.call("DELETE", "/v4/deployments/"+spelling, "")
		require.Equal(t, 409, refused.status, refused.body)
	}
	require.Empty(t, r.call("GET", "/invocations?endpoint="+ids.DeploymentIDOf("another"), "").member(t, "invocations"))
	require.Equal(t, 202, r.call("DELETE", "/v4/deployments/"+id+"?force=true", "").status)
	require.Equal(t, 404, r.call("GET", "/v4/deployments/"+id, "").status)
}
