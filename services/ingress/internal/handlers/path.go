package handlers

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// The routes are those of restate-server 1.7.12; docs/handlers.md lists them.

// action is what a path asks for.
type action int

const (
	actionCall action = iota
	actionSend
	actionAttach
	actionOutput
	actionLookup
	actionResolve
	actionReject
	actionHealth
)

// target names what a call is for.
type target struct {
	service, handler string
	// key is nil where the path has none.
	key   *string
	scope *string
}

// invocationRef names an invocation, in one of three ways.
type invocationRef struct {
	id string
	// idempotencyKey is set with target.
	idempotencyKey string
	idempotent     *target
	// workflow and key are set together.
	workflow string
	key      string
	scope    *string
	// inBody says that the request's body names it.
	inBody bool
}

// route is a path taken apart.
type route struct {
	action action
	target target
	ref    invocationRef
	// awakeable is the id of one.
	awakeable string
}

// keyedBy says whether a registered service is called by key.
type keyedBy func(service string) (keyed, known bool)

const (
	minSegments = 2
	maxSegments = 7
)

var (
	errMethod   = refuse(http.StatusMethodNotAllowed, "method not allowed")
	errNotFound = refuse(http.StatusNotFound, "not found")
)

// parsePath takes a raw path apart. The errors are *Error.
func parsePath(path string, keyed keyedBy) (route, error) {
	segments := strings.Split(strings.TrimRight(strings.TrimLeft(path, "/"), "/"), "/")
	if n := len(segments); n < minSegments || n > maxSegments {
		return route{}, refuse(http.StatusBadRequest, "bad path: %s", path)
	}
	switch segments[0] {
	case reserved:
		return parseReserved(segments[1:], keyed)
	case reservedOpenAPI:
		return route{}, errNotFound
	}
	r := route{}
	if len(segments) > minSegments && segments[len(segments)-1] == "send" {
		isKeyed, known := keyed(segments[0])
		// A handler may be called send.
		if !known || !isKeyed || len(segments) > 3 {
			r.action, segments = actionSend, segments[:len(segments)-1]
		}
	}
	var err error
	r.target, err = parseTarget(segments, keyed)
	return r, err
}

// parseTarget reads {service}/{handler} or {service}/{key}/{handler}, by what the service is.
func parseTarget(segments []string, keyed keyedBy) (target, error) {
	service := segments[0]
	isKeyed, known := keyed(service)
	switch {
	case !known:
		return target{}, unknownService(service)
	case !isKeyed && len(segments) == 2:
		return target{service: service, handler: segments[1]}, nil
	case isKeyed && len(segments) == 3:
		key, err := decodeKey(segments[1])
		return target{service: service, key: &key, handler: segments[2]}, err
	case isKeyed:
		return target{}, refuse(http.StatusBadRequest, "bad path, expected /%s/{key}/{handler} or /%s/{key}/{handler}/send", service, service)
	}
	return target{}, refuse(http.StatusBadRequest, "bad path, expected /%s/{handler} or /%s/{handler}/send", service, service)
}

func unknownService(name string) error {
	return refuse(http.StatusNotFound, "service %q not found; register the deployment that serves it first", name)
}

func decodeKey(segment string) (string, error) {
	key, err := url.PathUnescape(segment)
	if err != nil || !utf8.ValidString(key) {
		return "", refuse(http.StatusBadRequest, "cannot decode %q: it has to be percent-encoded UTF-8", segment)
	}
	return key, nil
}

func parseReserved(segments []string, keyed keyedBy) (route, error) {
	first, rest := segments[0], segments[1:]
	switch first {
	case "call", "send":
		return parseCall(first, rest, nil, keyed)
	case "scope":
		if len(rest) < 3 || rest[1] != "call" && rest[1] != "send" {
			return route{}, refuse(http.StatusBadRequest, "bad path, expected /restate/scope/{scope}/call/... or /restate/scope/{scope}/send/...")
		}
		scope, err := decodeKey(rest[0])
		if err != nil {
			return route{}, err
		}
		return parseCall(rest[1], rest[2:], &scope, keyed)
	case "invocation":
		return parseInvocation(rest, keyed)
	case "workflow":
		return parseWorkflow(rest)
	case "attach", "output":
		r := route{action: actionAttach}
		if first == "output" {
			r.action = actionOutput
		}
		switch len(rest) {
		case 0:
			r.ref.inBody = true
		case 1:
			r.ref.id = rest[0]
		default:
			return route{}, refuse(http.StatusBadRequest, "bad path, expected /restate/%s/{invocation id}", first)
		}
		return r, nil
	case "lookup":
		if len(rest) != 0 {
			return route{}, refuse(http.StatusBadRequest, "bad path, expected /restate/lookup")
		}
		return route{action: actionLookup, ref: invocationRef{inBody: true}}, nil
	case "awakeables", "a":
		return parseAwakeable(rest)
	case "health":
		if len(rest) == 0 {
			return route{action: actionHealth}, nil
		}
	}
	return route{}, errNotFound
}

func parseCall(kind string, segments []string, scope *string, keyed keyedBy) (route, error) {
	if len(segments) == 0 {
		return route{}, refuse(http.StatusBadRequest, "bad path, expected /restate/%s/{service}/{handler}", kind)
	}
	r := route{action: actionCall}
	if kind == "send" {
		r.action = actionSend
	}
	var err error
	r.target, err = parseTarget(segments, keyed)
	r.target.scope = scope
	return r, err
}

// parseInvocation reads what follows /restate/invocation: {id}, or what had an idempotency key, and attach or output.
func parseInvocation(segments []string, keyed keyedBy) (route, error) {
	if len(segments) < 2 {
		return route{}, refuse(http.StatusBadRequest, "bad path, expected /restate/invocation/{invocation id}/attach or .../output")
	}
	r, err := parseQuestion(segments[len(segments)-1])
	if err != nil {
		return route{}, err
	}
	named := segments[:len(segments)-1]
	if len(named) == 1 {
		r.ref.id = named[0]
		return r, nil
	}
	if len(named) < 3 {
		return route{}, refuse(http.StatusBadRequest, "bad path, expected /restate/invocation/{service}/{handler}/{idempotency key}/attach or .../output")
	}
	of, err := parseTarget(named[:len(named)-1], keyed)
	if err != nil {
		return route{}, err
	}
	r.ref.idempotencyKey, err = decodeKey(named[len(named)-1])
	r.ref.idempotent = &of
	return r, err
}

func parseWorkflow(segments []string) (route, error) {
	if len(segments) != 3 {
		return route{}, refuse(http.StatusBadRequest, "bad path, expected /restate/workflow/{name}/{key}/attach or .../output")
	}
	r, err := parseQuestion(segments[2])
	if err != nil {
		return route{}, err
	}
	r.ref.workflow = segments[0]
	r.ref.key, err = decodeKey(segments[1])
	return r, err
}

func parseQuestion(segment string) (route, error) {
	switch segment {
	case "attach":
		return route{action: actionAttach}, nil
	case "output":
		return route{action: actionOutput}, nil
	}
	return route{}, errNotFound
}

func parseAwakeable(segments []string) (route, error) {
	if len(segments) != 2 {
		return route{}, refuse(http.StatusBadRequest, "bad path, expected /restate/awakeables/{id}/resolve or .../reject")
	}
	switch segments[1] {
	case "resolve":
		return route{action: actionResolve, awakeable: segments[0]}, nil
	case "reject":
		return route{action: actionReject, awakeable: segments[0]}, nil
	}
	return route{}, errNotFound
}

// checkMethod says whether the route is asked for as it may be.
func (r route) checkMethod(method string) error {
	post := method == http.MethodPost
	get := method == http.MethodGet
	ok := false
	switch r.action {
	case actionCall, actionSend:
		ok = post || get
	case actionAttach, actionOutput:
		ok = r.ref.inBody && post || !r.ref.inBody && get
	case actionLookup, actionResolve, actionReject:
		ok = post
	case actionHealth:
		ok = get
	}
	if !ok {
		return errMethod
	}
	return nil
}
