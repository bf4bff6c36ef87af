package openapi

import (
	"encoding/json"
	"slices"
	"strings"
)

// relocated returns a JSON schema as a component of the document. References within it follow it there; a schema with an
// id of its own is where it says it is, so those below it stay.
func relocated(text json.RawMessage, name string) any {
	var schema any
	if err := json.Unmarshal(text, &schema); err != nil {
		return object{} // whatever it is, it says nothing
	}
	if all, ok := schema.(bool); ok {
		return all
	}
	top, ok := schema.(object)
	if !ok {
		return object{} // no schema
	}
	delete(top, "$id")
	return relocate(top, "#/components/schemas/"+name)
}

// literals are the members whose values are not schemas, but what an instance may be.
var literals = []string{"const", "enum", "default", "example", "examples"}

// named are the members whose members are names of schemas, which may be those of keywords.
var named = []string{"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}

func relocateEach(value any, to string) any {
	schemas, ok := value.(object)
	if !ok {
		return value
	}
	moved := object{}
	for name, inner := range schemas {
		moved[name] = relocate(inner, to)
	}
	return moved
}

func relocate(value any, to string) any {
	switch v := value.(type) {
	case object:
		if _, other := v["$id"].(string); other {
			return v
		}
		moved := object{}
		for member, inner := range v {
			reference, isText := inner.(string)
			switch {
			case slices.Contains(named, member):
				moved[member] = relocateEach(inner, to)
			case (member == "$ref" || member == "$dynamicRef") && isText && strings.HasPrefix(reference, "#"):
				moved[member] = to + strings.TrimPrefix(reference, "#")
			case slices.Contains(literals, member):
				moved[member] = inner
			default:
				moved[member] = relocate(inner, to)
			}
		}
		return moved
	case []any:
		moved := make([]any, len(v))
		for i, inner := range v {
			moved[i] = relocate(inner, to)
		}
		return moved
	default:
		return value
	}
}
