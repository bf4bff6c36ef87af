package handlers

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParseRef reads any body: it is refused as a bad request, or names one invocation, and still does written anew.
func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{
		`{"target":"workflow","workflowName":"Flow","workflowKey":"k","scope":"s"}`,
		`{"target":"idempotentInvocation","service":"Svc","handler":"do","idempotencyKey":"i"}`,
		`{"target":"idempotentInvocation","service":"Obj","key":"","handler":"do","idempotencyKey":"i","scope":"s"}`,
		`{"target":"invocation","invocationId":"inv_1"}`,
		`{"target":"workflow","workflowName":"","workflowKey":"k"}`, `{"target":"invocation"}`, `{"target":1}`, `{}{}`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ref, err := parseRef(body)
		if err != nil {
			e := new(Error)
			require.ErrorAs(t, err, &e)
			require.Equal(t, http.StatusBadRequest, e.Status)
			require.Equal(t, sourceIngress, e.Source)
			return
		}
		require.False(t, ref.inBody)
		var written refBody
		switch {
		case ref.idempotent != nil:
			require.Empty(t, ref.workflow+ref.id)
			of := ref.idempotent
			written = refBody{
				Target: "idempotentInvocation", Service: &of.service, Key: of.key, Handler: &of.handler,
				IdempotencyKey: &ref.idempotencyKey, Scope: of.scope,
			}
		case ref.workflow != "":
			require.Empty(t, ref.id)
			written = refBody{Target: "workflow", WorkflowName: &ref.workflow, WorkflowKey: &ref.key, Scope: ref.scope}
		default:
			written = refBody{Target: "invocation", InvocationID: &ref.id}
		}
		encoded, err := json.Marshal(written)
		require.NoError(t, err)
		again, err := parseRef(encoded)
		require.NoError(t, err)
		require.Equal(t, ref, again)
	})
}
