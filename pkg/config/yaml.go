package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// keyOf returns the key of a struct's field, empty for one that is not configured.
func keyOf(field reflect.StructField) string {
	if !field.IsExported() {
		return ""
	}
	key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// fields are the structs that hold the keys of one section.
type fields []reflect.Value

func (f fields) keys() []string {
	var keys []string
	for _, value := range f {
		for i := range value.NumField() {
			if key := keyOf(value.Type().Field(i)); key != "" {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

func (f fields) find(key string) (reflect.Value, bool) {
	for _, value := range f {
		for i := range value.NumField() {
			if key != "" && keyOf(value.Type().Field(i)) == key {
				return value.Field(i), true
			}
		}
	}
	return reflect.Value{}, false
}

// isSection tells a struct with keys of its own from one that is written as a single text.
func isSection(value reflect.Value) bool {
	if value.Kind() != reflect.Struct {
		return false
	}
	_, isText := value.Addr().Interface().(encoding.TextUnmarshaler)
	return !isText
}

// yamlReader decodes YAML key by key, because yaml.v3 names neither the path of an unknown key nor the line of a text
// that a type refused.
type yamlReader struct {
	tree *tree
	// origin begins each error; a colon at its end asks for the line.
	origin string
}

func (r *yamlReader) fail(node *yaml.Node, format string, args ...any) error {
	where := r.origin
	if strings.HasSuffix(where, ":") {
		where = fmt.Sprintf("%s%d", where, node.Line)
	}
	return fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...))
}

// top reads the whole document.
func (r *yamlReader) top(node *yaml.Node) error {
	return r.mapping(node, "", r.tree.keys, func(key, value *yaml.Node) error {
		if section, found := r.tree.named[key.Value]; found && key.Value != "" {
			return r.section(value, key.Value, section)
		}
		if into, found := r.tree.named[""].find(key.Value); found {
			return r.value(value, key.Value, into)
		}
		if slices.Contains(r.tree.foreign, key.Value) {
			return nil
		}
		return errUnknownKey
	})
}

func (r *yamlReader) section(node *yaml.Node, path string, into fields) error {
	return r.mapping(node, path+".", into.keys, func(key, value *yaml.Node) error {
		field, found := into.find(key.Value)
		if !found {
			return errUnknownKey
		}
		return r.value(value, path+"."+key.Value, field)
	})
}

var errUnknownKey = errors.New("unknown key")

// mapping calls read for each key of a section; the keys are for the hint at one that read does not know.
func (r *yamlReader) mapping(node *yaml.Node, prefix string, keys func() []string, read func(key, value *yaml.Node) error) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Tag == "!!null" {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return r.fail(node, "%q is a section with keys of its own", strings.TrimSuffix(prefix, "."))
	}
	seen := make(map[string]bool, len(node.Content)/2)
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		if seen[key.Value] {
			return r.fail(key, "key %q is given twice", prefix+key.Value)
		}
		seen[key.Value] = true
		err := read(key, node.Content[i+1])
		if err == errUnknownKey { //nolint:errorlint // wrapped it is of a section further in, and complete
			return r.fail(key, "%w %q%s", errUnknownKey, prefix+key.Value, didYouMean(prefix, key.Value, keys()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *yamlReader) value(node *yaml.Node, path string, into reflect.Value) error {
	if isSection(into) {
		return r.section(node, path, fields{into})
	}
	if node.Tag == "!!null" {
		return nil
	}
	if err := node.Decode(into.Addr().Interface()); err != nil {
		return r.fail(node, "%s: %w", path, err)
	}
	return nil
}

// Dump writes the sections as YAML that Load reads again, except that secrets, passwords in URLs included, are masked.
func Dump(from []Section) ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	named := map[string]*yaml.Node{"": root}
	for _, section := range from {
		var node yaml.Node
		if err := node.Encode(section.Into); err != nil {
			return nil, fmt.Errorf("section %q: %w", section.Name, err)
		}
		mask(&node)
		into, found := named[section.Name]
		if !found {
			into = &yaml.Node{Kind: yaml.MappingNode}
			named[section.Name] = into
			root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: section.Name}, into)
		}
		into.Content = append(into.Content, node.Content...)
	}
	return yaml.Marshal(root)
}

func mask(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && strings.Contains(node.Value, "://") {
		if parsed, err := url.Parse(node.Value); err == nil && parsed.User != nil {
			node.Value = parsed.Redacted()
		}
	}
	for _, child := range node.Content {
		mask(child)
	}
}
