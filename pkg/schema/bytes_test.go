package schema

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// What restate-server 1.7.12 takes and refuses.
func TestInputRules(t *testing.T) {
	const ok = "application/json"
	text := json.RawMessage(`{"type":"string"}`)
	for name, c := range map[string]struct {
		input Input
		// Whether these are taken: nothing at all, a type without a body, both, a body with another type, and one without.
		nothing, empty, both, other, untyped bool
	}{
		"absent":                {Input{}, true, true, true, true, false},
		"has to be empty":       {Input{Declared: true}, true, false, false, false, false},
		"required, with schema": {Input{Declared: true, Required: true, ContentType: ok, Schema: text}, false, false, true, false, false},
		"required, no schema":   {Input{Declared: true, Required: true, ContentType: ok}, false, true, true, false, false},
		"optional":              {Input{Declared: true, ContentType: ok}, true, true, true, false, false},
		"optional, with schema": {Input{Declared: true, ContentType: ok, Schema: text}, true, true, true, false, false},
		"required, no type":     {Input{Declared: true, Required: true}, false, false, false, false, false},
		"any type":              {Input{Declared: true, ContentType: "*/*"}, true, true, true, true, false},
		"any text":              {Input{Declared: true, ContentType: "text/*"}, true, false, false, true, false},
	} {
		for request, taken := range map[struct {
			contentType string
			typed       bool
			size        int
		}]bool{
			{"", false, 0}: c.nothing, {ok, true, 0}: c.empty, {ok, true, 5}: c.both, {"text/plain", true, 5}: c.other, {"", false, 5}: c.untyped,
		} {
			err := c.input.Check(request.contentType, request.typed, request.size)
			if taken {
				require.NoError(t, err, "%s: %v", name, request)
			} else {
				require.ErrorIs(t, err, ErrInput, "%s: %v", name, request)
			}
		}
	}
	takesJSON := Input{Declared: true, ContentType: ok}
	require.NoError(t, takesJSON.Check("application/json ; charset=utf-8", true, 1))
	for _, contentType := range []string{"", "garbage", "APPLICATION/JSON", "application/*", "application/x-www-form-urlencoded", "application/jsonx"} {
		require.ErrorIs(t, takesJSON.Check(contentType, true, 1), ErrInput, contentType)
	}
}

func TestContentTypesOfOutputs(t *testing.T) {
	for name, c := range map[string]struct {
		output      Output
		full, empty string
	}{
		"absent": {Output{}, "application/json", ""},
		"none":   {Output{Declared: true}, "", ""},
		"type":   {Output{Declared: true, ContentType: "a/b"}, "a/b", ""},
		"always": {Output{Declared: true, ContentType: "a/b", ContentTypeIfEmpty: true}, "a/b", "a/b"},
	} {
		require.Equal(t, c.full, c.output.Of(1), name)
		require.Equal(t, c.empty, c.output.Of(0), name)
	}
}
