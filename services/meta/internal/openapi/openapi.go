// Package openapi describes how services are called at the ingress, as an OpenAPI 3.1 document.
package openapi

import (
	"strings"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	"github.com/restate-go/restate/pkg/schema"
)

// object is a JSON object of the document.
type object = map[string]any

// Config of a document.
type Config struct {
	// Ingress is where requests go, a URL.
	Ingress string
	// Title of the document.
	Title string
	// Version of the services.
	Version string
}

// Document describes the handlers of the services that requests from outside may call. Services with protobuf messages
// have descriptors instead, and are left out.
func Document(cfg Config, services ...*schema.Service) map[string]any {
	d := &document{paths: object{}, schemas: sharedSchemas(), several: len(services) > 1}
	var tags []any
	for _, s := range services {
		if s.Descriptor != nil {
			continue
		}
		tag := object{"name": s.Name}
		if s.Documentation != "" {
			tag["description"] = s.Documentation
		}
		tags = append(tags, tag)
		d.add(s)
	}
	info := object{"title": cfg.Title, "version": cfg.Version}
	if len(services) == 1 && services[0].Documentation != "" {
		info["description"] = services[0].Documentation
	}
	described := object{
		"openapi": "3.1.0", "info": info, "servers": []any{object{"url": cfg.Ingress}}, "paths": d.paths,
		"components": object{"schemas": d.schemas, "responses": sharedResponses(), "parameters": sharedParameters()},
	}
	if tags != nil {
		described["tags"] = tags
	}
	return described
}

// document is being written.
type document struct {
	paths, schemas object
	// several has the names of components begin with the service.
	several bool
}

func (d *document) add(s *schema.Service) {
	keyed := s.Kind != journalv1.ServiceKind_SERVICE_KIND_UNKEYED
	for _, m := range s.Methods {
		if !s.Public || m.Private {
			continue
		}
		h := d.handler(s, m)
		at := s.Name + "/"
		if keyed {
			at += "{key}/"
		}
		d.paths["/restate/call/"+at+m.Name] = object{"post": h.call()}
		d.paths["/restate/send/"+at+m.Name] = object{"post": h.send()}
		if h.run {
			d.paths["/restate/workflow/"+s.Name+"/{key}/attach"] = object{"get": h.result("attach", false)}
			d.paths["/restate/workflow/"+s.Name+"/{key}/output"] = object{"get": h.result("output", false)}
			continue
		}
		for _, what := range []string{"attach", "output"} {
			d.paths["/restate/invocation/"+at+m.Name+"/{idempotencyKey}/"+what] = object{"get": h.result(what, true)}
		}
	}
}

// handler is one that is being described.
type handler struct {
	service *schema.Service
	method  *schema.Method
	keyed   bool
	// run is the handler of a workflow that runs once for each key.
	run bool
	// request and response are the names of their schemas; empty where there is none.
	request, response string
}

func (d *document) handler(s *schema.Service, m *schema.Method) *handler {
	h := &handler{
		service: s, method: m, keyed: s.Kind != journalv1.ServiceKind_SERVICE_KIND_UNKEYED,
		run: s.Kind == journalv1.ServiceKind_SERVICE_KIND_WORKFLOW && !m.Shared,
	}
	name := strings.ToUpper(m.Name[:1]) + m.Name[1:]
	if _, taken := s.Method(name); taken { // by a handler that differs in nothing else
		name = m.Name
	}
	if d.several {
		name = s.Name + "." + name
	}
	if in := m.Bytes.Input.Schema; in != nil {
		h.request = name + "Request"
		d.schemas[h.request] = relocated(in, h.request)
	}
	if out := m.Bytes.Output.Schema; out != nil {
		h.response = name + "Response"
		d.schemas[h.response] = relocated(out, h.response)
	}
	return h
}

func (h *handler) operation(kind, summary string) object {
	op := object{
		"operationId": h.service.Name + "-" + h.method.Name + "-" + kind, "summary": summary, "tags": []any{h.service.Name},
	}
	if h.method.Documentation != "" {
		op["description"] = h.method.Documentation
	}
	return op
}

func (h *handler) call() object {
	op := h.operation("call", "Call "+h.method.Name+" and wait for its result")
	op["parameters"] = h.parameters("idempotencyKey")
	h.setBody(op)
	op["responses"] = object{"200": h.success(), "default": reference("responses", "GenericError")}
	return op
}

func (h *handler) send() object {
	op := h.operation("send", "Start "+h.method.Name+" and do not wait for it")
	op["parameters"] = append(h.parameters("idempotencyKey"), reference("parameters", "delay"))
	h.setBody(op)
	op["responses"] = object{"202": reference("responses", "Send"), "default": reference("responses", "GenericError")}
	return op
}

// result is about an invocation by its idempotency key, or about the run of a workflow.
func (h *handler) result(what string, deprecated bool) object {
	summary := "Wait for the result of " + h.method.Name
	responses := object{
		"200": h.success(), "404": reference("responses", "InvocationNotFoundError"), "default": reference("responses", "GenericError"),
	}
	if what == "output" {
		summary = "The result of " + h.method.Name + " if it is there"
		responses["470"] = reference("responses", "InvocationNotReadyError")
	}
	op := h.operation(what, summary)
	op["responses"] = responses
	if parameters := h.parameters(""); parameters != nil {
		op["parameters"] = parameters
	}
	if deprecated {
		op["deprecated"] = true
		op["parameters"] = append(h.parameters(""), reference("parameters", "idempotencyKeyInPath"))
	}
	return op
}

// parameters are the key of the instance and, except for the run of a workflow, which has none, the named header.
func (h *handler) parameters(header string) []any {
	var parameters []any
	if h.keyed {
		parameters = append(parameters, reference("parameters", "key"))
	}
	if header != "" && !h.run {
		parameters = append(parameters, reference("parameters", header))
	}
	return parameters
}

func (h *handler) setBody(op object) {
	in := h.method.Bytes.Input
	contentType := in.ContentType
	switch {
	case !in.Declared:
		contentType = "*/*"
	case contentType == "":
		return
	}
	op["requestBody"] = object{"required": in.Required, "content": object{contentType: media(h.request)}}
}

func (h *handler) success() object {
	answer := object{"description": "The result", "headers": object{
		"x-restate-id": object{"description": "The id of the invocation", "schema": object{"type": "string"}},
	}}
	out := h.method.Bytes.Output
	contentType := out.ContentType
	switch {
	case !out.Declared:
		contentType = "*/*"
	case contentType == "":
		return answer
	}
	answer["content"] = object{contentType: media(h.response)}
	return answer
}

func media(schemaName string) object {
	if schemaName == "" {
		return object{}
	}
	return object{"schema": reference("schemas", schemaName)}
}

func reference(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }
