package rest

import (
	"encoding"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/restate-go/restate/pkg/errcode"

	"github.com/restate-go/restate/services/meta/internal/api"
)

// object is a JSON object of the document.
type object map[string]any

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// openAPI describes the routes as an OpenAPI 3 document.
func openAPI(routes []route) object {
	components := object{}
	paths := object{}
	for _, r := range routes {
		item, ok := paths[r.path].(object)
		if !ok {
			item = object{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = operationOf(r, components)
	}
	return object{
		"openapi": "3.0.3",
		"info": object{
			"title":       "Meta REST Operational API",
			"description": description(),
			"version":     "1.0.0",
		},
		"paths":      paths,
		"components": object{"schemas": components},
	}
}

// description introduces the API, with the codes of its errors.
func description() string {
	var text strings.Builder
	text.WriteString("Registers service endpoints, and lets operators look at and act on services and invocations.\n\n" +
		"An answer that is no success has one of these codes:\n")
	for _, e := range errcode.Entries() {
		if strings.HasPrefix(string(e.Code), "META") {
			text.WriteString("- `" + string(e.Code) + "`: " + e.Summary + ". " + e.Advice + "\n")
		}
	}
	return text.String()
}

func operationOf(r route, components object) object {
	op := object{"operationId": r.id, "summary": r.summary}
	var parameters []any
	for _, match := range pathParameter.FindAllStringSubmatch(r.path, -1) {
		parameters = append(parameters, object{
			"name": match[1], "in": "path", "required": true, "schema": object{"type": "string"},
		})
	}
	for _, p := range r.query {
		parameters = append(parameters, object{
			"name": p.name, "in": "query", "description": p.description, "schema": object{"type": p.kind},
		})
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	if r.request != nil {
		op["requestBody"] = object{"required": true, "content": jsonContent(r.request, components)}
	}
	success := object{"description": http.StatusText(r.status)}
	switch {
	case r.response != nil:
		success["content"] = jsonContent(r.response, components)
	case r.media != "":
		success["content"] = object{r.media: object{"schema": object{"type": "string", "format": "binary"}}}
	}
	responses := object{
		strconv.Itoa(r.status): success,
		"default":              object{"description": "The request failed", "content": jsonContent(api.Failure{}, components)},
	}
	for status, body := range r.others {
		other := object{"description": http.StatusText(status)}
		if body != nil {
			other["content"] = jsonContent(body, components)
		}
		responses[strconv.Itoa(status)] = other
	}
	op["responses"] = responses
	return op
}

func jsonContent(example any, components object) object {
	return object{"application/json": object{"schema": schemaOf(reflect.TypeOf(example), components)}}
}

// schemaOf describes a type; structs become components.
func schemaOf(t reflect.Type, components object) object {
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	case t == reflect.TypeFor[api.Bytes]():
		return object{"oneOf": []any{
			object{"type": "array", "items": object{"type": "integer", "minimum": 0, "maximum": 255}}, object{"type": "string"},
		}}
	case t.Kind() != reflect.Pointer && t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), components)
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int32, reflect.Uint32, reflect.Int, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "format": "byte"}
		}
		return object{"type": "array", "items": schemaOf(t.Elem(), components)}
	case reflect.Interface:
		return object{}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), components)}
	case reflect.Struct:
		return structSchema(t, components)
	default:
		panic("a body of the API has a type that the document cannot describe: " + t.String()) //nolint:forbidigo // a fault of this program, met by its first test
	}
}

func structSchema(t reflect.Type, components object) object {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	reference := object{"$ref": "#/components/schemas/" + name}
	if _, ok := components[name]; ok {
		return reference
	}
	properties := object{}
	var required []any
	description := object{"type": "object", "properties": properties}
	components[name] = description
	for _, field := range reflect.VisibleFields(t) {
		if field.Anonymous { // its own fields are visible too
			continue
		}
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		properties[tag] = described(schemaOf(field.Type, components), field.Tag.Get("doc"))
		if options != "omitempty" {
			required = append(required, tag)
		}
	}
	if required != nil {
		description["required"] = required
	}
	return reference
}

// described adds a description. A reference takes none beside it, so it is wrapped.
func described(schema object, text string) object {
	if text == "" {
		return schema
	}
	if _, ok := schema["$ref"]; ok {
		return object{"allOf": []any{schema}, "description": text}
	}
	schema["description"] = text
	return schema
}
