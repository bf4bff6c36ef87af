package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ByteHandler says what a handler of bytes takes and gives.
type ByteHandler struct {
	Input  Input
	Output Output
}

// Input says which requests a handler takes, by the rules of the ingress of restate-server 1.7.12.
type Input struct {
	// Declared is false where the manifest says nothing: any content type, or nothing at all.
	Declared bool
	Required bool
	// ContentType is what is expected, "*/*" and "type/*" included; empty where the body has to be empty.
	ContentType string
	// Schema is the JSON schema of the body, nil where there is none.
	Schema json.RawMessage
}

// Output says what a response looks like.
type Output struct {
	Declared bool
	// ContentType of a response with a body; empty for none.
	ContentType string
	// ContentTypeIfEmpty has it sent with an empty body too.
	ContentTypeIfEmpty bool
	Schema             json.RawMessage
}

// ErrInput is wrapped by errors of requests that a handler does not take.
var ErrInput = errors.New("input validation error")

// Check says whether the handler takes a body of this size with this content type; hasType is false where the request
// names none. The error wraps ErrInput.
func (i Input) Check(contentType string, hasType bool, size int) error {
	if !i.Declared {
		if size > 0 && !hasType {
			return fmt.Errorf("%w: the body has no content type", ErrInput)
		}
		return nil
	}
	if i.ContentType == "" {
		if i.Required {
			return fmt.Errorf("%w: the handler requires a body and declares no content type for it", ErrInput)
		}
		if size > 0 || hasType {
			return fmt.Errorf("%w: the handler takes no body", ErrInput)
		}
		return nil
	}
	if !i.Required && size == 0 && !hasType {
		return nil
	}
	switch {
	case !hasType:
		return fmt.Errorf("%w: the content type is missing, and has to be %s", ErrInput, i.ContentType)
	case !matches(i.ContentType, contentType):
		return fmt.Errorf("%w: the content type is %q, and has to be %s", ErrInput, contentType, i.ContentType)
	case i.Required && i.Schema != nil && size == 0:
		return fmt.Errorf("%w: the body is empty, and has to be %s", ErrInput, i.ContentType)
	}
	return nil
}

// matches compares the literal text before any parameters with a pattern, as the letters are written.
func matches(pattern, contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.TrimSpace(mediaType)
	kind, subtype, ok := strings.Cut(mediaType, "/")
	if !ok || kind == "*" || subtype == "*" || subtype == "" {
		return false
	}
	wantKind, wantSubtype, _ := strings.Cut(pattern, "/")
	return (wantKind == "*" || wantKind == kind) && (wantSubtype == "*" || wantSubtype == subtype)
}

// Of returns the content type of a response with this many bytes, empty for none.
func (o Output) Of(size int) string {
	switch {
	case !o.Declared && size > 0:
		return "application/json"
	case o.ContentType != "" && (size > 0 || o.ContentTypeIfEmpty):
		return o.ContentType
	}
	return ""
}
