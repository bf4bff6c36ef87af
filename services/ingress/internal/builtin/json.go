package builtin

import (
	"encoding/json"
	"fmt"
)

// member is a member of a JSON request under one of its names. It takes the text as it stands: numbers in it keep all
// their digits, which google.protobuf.Struct would not.
type member struct {
	names []string
	into  *json.RawMessage
	// null tells that null is a value, and not the same as leaving the member out.
	null bool
}

// parseObject takes a JSON object apart. Members that are not listed are refused, and so are those given twice.
func parseObject(text []byte, members ...member) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return fmt.Errorf("the request is not a JSON object: %w", err)
	}
	for _, m := range members {
		for _, name := range m.names {
			value, ok := object[name]
			if !ok {
				continue
			}
			delete(object, name)
			if string(value) == "null" && !m.null {
				continue
			}
			if *m.into != nil {
				return fmt.Errorf("the member %q is given more than once", m.names[0])
			}
			*m.into = value
		}
	}
	for name := range object {
		return fmt.Errorf("the request has no member %q", name)
	}
	return nil
}

// parseString reads a member that holds a string; an absent one is empty.
func parseString(name string, text json.RawMessage) (string, error) {
	var value string
	if text == nil {
		return "", nil
	}
	if err := json.Unmarshal(text, &value); err != nil {
		return "", fmt.Errorf("the member %q is not a string", name)
	}
	return value, nil
}

// parseBytes reads a member that holds bytes in base64, standard or URL-safe, padded or not.
func parseBytes(name string, text json.RawMessage) ([]byte, error) {
	value, err := parseString(name, text)
	if err != nil {
		return nil, err
	}
	decoded, err := decodeBase64(value)
	if err != nil {
		return nil, fmt.Errorf("the member %q is not base64", name)
	}
	return decoded, nil
}
