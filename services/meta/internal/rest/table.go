package rest

import (
	"net/http"

	"github.com/restate-go/restate/services/meta/internal/api"
)

func (a *API) routes() []route {
	var routes []route
	for _, of := range [][]route{
		{{
			method: http.MethodGet, path: "/version", id: "version", summary: "Which release this is, and what it can do",
			response: api.Version{}, status: http.StatusOK, handle: a.version,
		}},
		a.endpointRoutes(), a.deploymentRoutes(), a.serviceRoutes(), a.invocationRoutes(), a.operationRoutes(), a.probes(),
	} {
		routes = append(routes, of...)
	}
	return routes
}

// endpointRoutes are those of 2023 for what is called a deployment today.
func (a *API) endpointRoutes() []route {
	return []route{
		{
			method: http.MethodPost, path: "/endpoints", id: "create_service_endpoint",
			summary: "Discover a service endpoint and register its services",
			request: api.RegisterRequest{}, response: api.RegisterResponse{}, status: http.StatusCreated, handle: a.register,
		},
		{
			method: http.MethodGet, path: "/endpoints", id: "list_service_endpoints",
			summary: "List the service endpoints", response: api.Endpoints{}, status: http.StatusOK, handle: a.listEndpoints,
		},
		{
			method: http.MethodGet, path: "/endpoints/{endpoint}", id: "get_service_endpoint",
			summary: "Show a service endpoint", response: api.Endpoint{}, status: http.StatusOK, handle: a.getEndpoint,
		},
		{
			method: http.MethodDelete, path: "/endpoints/{endpoint}", id: "delete_service_endpoint",
			summary: "Remove a service endpoint and the services it serves; invocations that began on it wait for it",
			query:   []parameter{{"force", "boolean", "Has to be true: invocations in flight may need the endpoint"}},
			status:  http.StatusAccepted, handle: a.deleteEndpoint,
		},
	}
}

func (a *API) deploymentRoutes() []route {
	return []route{
		{
			method: http.MethodPost, path: "/deployments", id: "create_deployment",
			summary: "Discover a service endpoint and register its services; one that is registered already is shown",
			request: api.RegisterDeploymentRequest{}, response: api.RegisterDeploymentResponse{}, status: http.StatusCreated,
			others: map[int]any{http.StatusOK: api.RegisterDeploymentResponse{}}, handle: a.registerDeployment,
		},
		{
			method: http.MethodGet, path: "/deployments", id: "list_deployments",
			summary: "List the deployments", response: api.Deployments{}, status: http.StatusOK, handle: a.listDeployments,
		},
		{
			method: http.MethodGet, path: "/deployments/{deployment}", id: "get_deployment",
			summary: "Show a deployment", response: api.DetailedDeployment{}, status: http.StatusOK, handle: a.getDeployment,
		},
		{
			method: http.MethodPatch, path: "/deployments/{deployment}", id: "update_deployment",
			summary: "Change where a deployment is, or how it is reached; it is discovered again",
			request: api.UpdateDeploymentRequest{}, response: api.DetailedDeployment{}, status: http.StatusOK, handle: a.updateDeployment,
		},
		{
			method: http.MethodDelete, path: "/deployments/{deployment}", id: "delete_deployment",
			summary: "Remove a deployment. The revisions before become the latest again. Refused while an invocation is seen that needs it",
			query:   []parameter{{"force", "boolean", "Removes it nevertheless: invocations that began on it wait for it"}},
			status:  http.StatusAccepted, handle: a.deleteDeployment,
		},
	}
}

func (a *API) serviceRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/services", id: "list_services",
			summary: "List the services", response: api.Services{}, status: http.StatusOK, handle: a.listServices,
		},
		{
			method: http.MethodGet, path: "/services/{service}", id: "get_service",
			summary: "Show a service", response: api.Service{}, status: http.StatusOK, handle: a.getService,
		},
		{
			method: http.MethodPatch, path: "/services/{service}", id: "modify_service",
			summary: "Put settings over what the endpoint says of a service and its handlers", request: api.ModifyRequest{},
			response: api.Service{}, status: http.StatusOK, handle: a.modifyService,
		},
		{
			method: http.MethodPost, path: "/services/{service}/state", id: "modify_service_state",
			summary: "Replace the state of an object or workflow, in its turn among the invocations of the key",
			request: api.PatchStateRequest{}, body: maxStateBody, status: http.StatusAccepted, handle: a.patchState,
		},
		{
			method: http.MethodGet, path: "/services/openapi", id: "describe_all_services",
			summary:  "How the services with handlers of bytes are called at the ingress, as an OpenAPI document",
			response: object{}, status: http.StatusOK, handle: a.describeAll,
		},
		{
			method: http.MethodGet, path: "/services/{service}/openapi", id: "describe_service",
			summary:  "How the handlers of a service are called at the ingress, as an OpenAPI document",
			response: object{}, status: http.StatusOK, handle: a.describe,
		},
		{
			method: http.MethodGet, path: "/services/{service}/handlers", id: "list_service_handlers",
			summary: "List the handlers of a service", response: api.Handlers{}, status: http.StatusOK, handle: a.listHandlers,
		},
		{
			method: http.MethodGet, path: "/services/{service}/handlers/{handler}", id: "get_service_handler",
			summary: "Show a handler of a service", response: api.Handler{}, status: http.StatusOK, handle: a.getHandler,
		},
		{
			method: http.MethodGet, path: "/services/{service}/methods", id: "list_service_methods",
			summary: "List the methods of a service", response: api.Methods{}, status: http.StatusOK, handle: a.listMethods,
		},
		{
			method: http.MethodGet, path: "/services/{service}/methods/{method}", id: "get_service_method",
			summary: "Show a method of a service", response: api.Method{}, status: http.StatusOK, handle: a.getMethod,
		},
		{
			method: http.MethodGet, path: "/services/{service}/descriptors", id: "list_service_descriptors",
			summary: "The protobuf files that declare a service, as a google.protobuf.FileDescriptorSet",
			media:   "application/x-protobuf", status: http.StatusOK, handle: a.descriptors,
		},
	}
}

func (a *API) invocationRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/invocations", id: "list_invocations",
			summary: "List the invocations that are not over",
			query: []parameter{
				{"service", "string", "Only those of the service"},
				{"endpoint", "string", "Only those that began on the endpoint"},
				{"status", "string", "Only those of the status; completed is for those whose result is kept"},
				{"limit", "integer", "At most so many, 1 to 10000; default 1000"},
			},
			response: api.Invocations{}, status: http.StatusOK, handle: a.listInvocations,
		},
		{
			method: http.MethodGet, path: "/invocations/{invocation}", id: "get_invocation",
			summary: "Show an invocation", response: api.Invocation{}, status: http.StatusOK, handle: a.getInvocation,
		},
		{
			method: http.MethodDelete, path: "/invocations/{invocation}", id: "kill_invocation",
			summary: "Cancel, kill or purge an invocation, whatever comes of it. PATCH says what came of it",
			query: []parameter{{"mode", "string", "cancel, kill or purge. Without it, an invocation of a protobuf service is killed, " +
				"and another one canceled"}},
			status: http.StatusAccepted, others: map[int]any{http.StatusOK: nil}, handle: a.remove,
		},
	}
}

func (a *API) operations() []operation {
	deployment := parameter{"deployment", "string", "keep, latest or the id of a deployment, which has to speak the same service protocol"}
	from := parameter{"from", "integer", "The last entry of the journal that is taken over; default 0, the input"}
	return []operation{
		{
			name: "cancel", id: "cancel_invocation", summary: "Tell the handler to end; an invocation that has not begun ends at once",
			accepted: true, do: a.cancel,
		},
		{
			name: "kill", id: "kill_invocation_at_once", do: a.kill,
			summary: "End an invocation at once, and the calls that it waits for: callers get the failure `killed`",
		},
		{name: "purge", id: "purge_invocation", summary: "Forget a completed invocation", do: a.purge},
		{name: "purge-journal", id: "purge_journal", summary: "Forget the journal of a completed invocation", do: a.purgeJournal},
		{name: "pause", id: "pause_invocation", summary: "Stop the attempts of an invocation until it is resumed", accepted: true, do: a.pause},
		{name: "resume", id: "resume_invocation", summary: "Begin an attempt now", query: []parameter{deployment}, do: a.resume},
		{
			name: "restart-as-new", id: "restart_invocation", summary: "Run a completed invocation again, under a new id",
			query: []parameter{from, deployment}, response: api.Restarted{}, do: a.restart,
		},
	}
}

func (a *API) operationRoutes() []route {
	var routes []route
	for _, o := range a.operations() {
		one := route{
			method: http.MethodPatch, path: "/invocations/{invocation}/" + o.name, id: o.id, summary: o.summary, query: o.query,
			response: o.response, status: http.StatusOK, handle: a.operate(o.name, o.do),
		}
		if o.accepted {
			one.others = map[int]any{http.StatusAccepted: nil}
		}
		routes = append(routes, one, route{
			method: http.MethodPost, path: "/internal/invocations_batch_operations/" + o.name, id: "batch_" + o.id,
			summary: o.summary + ", many at a time", request: api.BatchRequest{}, response: api.BatchResponse{}, status: http.StatusOK,
			handle: a.batch(o.name, o.do),
		})
	}
	return routes
}
