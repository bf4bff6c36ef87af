package handlers

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// registered stands in for the registry.
func registered(service string) (keyed, known bool) {
	switch service {
	case "Svc":
		return false, true
	case "Obj", "Flow":
		return true, true
	}
	return false, false
}

func TestParsePath(t *testing.T) {
	unkeyed := target{service: "Svc", handler: "do"}
	keyed := target{service: "Obj", handler: "do", key: new("a")}
	for path, want := range map[string]route{
		"/Svc/do":                                 {target: unkeyed},
		"//Svc/do//":                              {target: unkeyed},
		"/Svc/send":                               {target: target{service: "Svc", handler: "send"}},
		"/Svc/do/send":                            {action: actionSend, target: unkeyed},
		"/Svc/send/send":                          {action: actionSend, target: target{service: "Svc", handler: "send"}},
		"/Obj/a/do":                               {target: keyed},
		"/Obj/a/do/send":                          {action: actionSend, target: keyed},
		"/Obj/a/send":                             {target: target{service: "Obj", handler: "send", key: new("a")}},
		"/Obj//do":                                {target: target{service: "Obj", handler: "do", key: new("")}},
		"/Obj/a%2Fb+%20/do":                       {target: target{service: "Obj", handler: "do", key: new("a/b+ ")}},
		"/restate/call/Svc/do":                    {target: unkeyed},
		"/restate/send/Obj/a/do":                  {action: actionSend, target: keyed},
		"/restate/scope/%73/call/Svc/do":          {target: target{service: "Svc", handler: "do", scope: new("s")}},
		"/restate/scope/s/send/Obj/a/do":          {action: actionSend, target: target{service: "Obj", handler: "do", key: new("a"), scope: new("s")}},
		"/restate/invocation/inv_1/attach":        {action: actionAttach, ref: invocationRef{id: "inv_1"}},
		"/restate/invocation/Svc/do/k/output":     {action: actionOutput, ref: invocationRef{idempotent: &unkeyed, idempotencyKey: "k"}},
		"/restate/invocation/Obj/a/do/%6B/attach": {action: actionAttach, ref: invocationRef{idempotent: &keyed, idempotencyKey: "k"}},
		"/restate/workflow/Nobody/a%20b/output":   {action: actionOutput, ref: invocationRef{workflow: "Nobody", key: "a b"}},
		"/restate/attach/inv_1":                   {action: actionAttach, ref: invocationRef{id: "inv_1"}},
		"/restate/output":                         {action: actionOutput, ref: invocationRef{inBody: true}},
		"/restate/lookup":                         {action: actionLookup, ref: invocationRef{inBody: true}},
		"/restate/awakeables/sign_1/resolve":      {action: actionResolve, awakeable: "sign_1"},
		"/restate/a/sign_1/reject":                {action: actionReject, awakeable: "sign_1"},
		"/restate/health":                         {action: actionHealth},
	} {
		got, err := parsePath(path, registered)
		require.NoError(t, err, path)
		require.Equal(t, want, got, path)
	}
}

func TestParsePathRefuses(t *testing.T) {
	for path, status := range map[string]int{
		"": 400, "/": 400, "/Svc": 400, "/restate": 400, "/1/2/3/4/5/6/7/8": 400,
		"/Nobody/do": 404, "/Nobody/do/send": 404, "/S%76c/do": 404,
		"/Svc/do/x": 400, "/Svc/a/do/send": 400, "/Obj/do": 400, "/Obj/a/b/do": 400, "/Obj/%zz/do": 400, "/Obj/%FF/do": 400,
		"/restate/call": 400, "/restate/send/Svc/do/send": 400, "/restate/call/Nobody/do": 404,
		"/restate/scope/s/call": 400, "/restate/scope/s/what/Svc/do": 400, "/restate/scope/%FF/call/Svc/do": 400,
		"/restate/invocation/inv_1": 400, "/restate/invocation/inv_1/what": 404, "/restate/invocation/a/b/attach": 400,
		"/restate/invocation/Nobody/do/k/attach": 404, "/restate/workflow/a/attach": 400, "/restate/workflow/a/b/what": 404,
		"/restate/workflow/a/%FF/attach": 400, "/restate/attach/a/b": 400, "/restate/lookup/a": 400,
		"/restate/a/sign_1": 400, "/restate/a/sign_1/what": 404, "/restate/health/a": 404, "/restate/openapi": 404,
		"/restate/what": 404, "/openapi/Svc": 404,
	} {
		_, err := parsePath(path, registered)
		e := new(Error)
		require.ErrorAs(t, err, &e, path)
		require.Equal(t, status, e.Status, "%s: %s", path, e.Message)
		require.Equal(t, sourceIngress, e.Source)
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{
		"/Svc/do", "/Obj/a%2F/do/send", "/restate/scope/s/call/Obj/a/do", "/restate/invocation/Obj/a/do/k/attach", "//Obj//do/",
		"/restate/a/x/reject", "/restate/workflow/Flow/k/output",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := parsePath(path, registered)
		if err != nil {
			e := new(Error)
			require.ErrorAs(t, err, &e)
			require.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound}, e.Status)
			return
		}
		if name := r.target.service; name != "" {
			isKeyed, known := registered(name)
			require.True(t, known, "only what is registered is called")
			require.Equal(t, isKeyed, r.target.key != nil)
			require.NotContains(t, r.target.handler, "/")
		}
		again, err := parsePath("/"+strings.Trim(path, "/")+"/", registered)
		require.NoError(t, err)
		require.Equal(t, r, again, "slashes around a path mean nothing")
	})
}
