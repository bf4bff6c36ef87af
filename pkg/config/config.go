// Package config fills configuration structs from layers, the later over the earlier: the values that the structs hold
// already (the defaults), a YAML file, the environment, and settings given on the command line.
//
// A configuration is a list of sections. A section is a struct whose exported fields carry a yaml tag and, where the name
// has several words, split_words:"true"; fields that are structs themselves carry ignored:"true", which keeps envconfig
// from joining their names with a single underscore. The field tagged `yaml:"bind_address"` in section "ingress" is
// `ingress.bind_address` in the file and RESTATE_INGRESS__BIND_ADDRESS in the environment.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// DefaultFile is read when no file is named, and may be absent.
const DefaultFile = "restate.yaml"

// sections names every section there is. A daemon alone does not know the keys of the others' sections: it passes over
// them, so that one file serves all daemons, and the daemon whose section it is refuses what is wrong in it.
var sections = []string{"broker", "health", "ingress", "meta", "observability", "storage", "worker"}

// Section is a part of the configuration. Several structs may share a section, each with keys of its own.
type Section struct {
	// Name is the key of the section at the top level of the file; empty for the keys of the top level itself.
	Name string
	// Into points to the struct that holds the defaults and gets what is configured.
	Into any
}

// Layers says where configuration comes from besides the defaults and the environment.
type Layers struct {
	// File is the path of the YAML file; a missing one is an error. Empty means RESTATE_CONFIG, then DefaultFile if there
	// is such a file.
	File string
	// Settings are "section.key=value" from the command line, the value in YAML. They win over all else.
	Settings []string
}

// Load fills the sections. The warnings are for the log: variables that look as if they were meant for us, but are not
// known. An error names the file and line, the variable or the setting which is wrong. After an error the sections are
// filled in part and must not be used.
func Load(layers Layers, into []Section) (warnings []string, err error) {
	root, err := newTree(into)
	if err != nil {
		return nil, err
	}
	if err := root.readFile(layers.File); err != nil {
		return nil, err
	}
	warnings, err = root.readEnvironment()
	if err != nil {
		return nil, err
	}
	for _, setting := range layers.Settings {
		if err := root.set(setting); err != nil {
			return nil, err
		}
	}
	return warnings, nil
}

// tree is the sections joined: the keys of the whole configuration.
type tree struct {
	// named are the structs of each section; those of the top level under the empty name.
	named map[string]fields
	// foreign are sections that exist and that nobody in this process reads.
	foreign []string
}

func newTree(into []Section) (*tree, error) {
	t := &tree{named: map[string]fields{}}
	for _, section := range into {
		value := reflect.ValueOf(section.Into)
		if value.Kind() != reflect.Pointer || value.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("config: section %q is a %T, not a pointer to a struct", section.Name, section.Into)
		}
		t.named[section.Name] = append(t.named[section.Name], value.Elem())
	}
	for _, name := range sections {
		_, key := t.named[""].find(name)
		if _, found := t.named[name]; !found && !key {
			t.foreign = append(t.foreign, name)
		}
	}
	return t, nil
}

// keys returns the keys of the top level.
func (t *tree) keys() []string {
	keys := slices.Concat(t.foreign, t.named[""].keys())
	for name := range t.named {
		if name != "" {
			keys = append(keys, name)
		}
	}
	return keys
}

func (t *tree) readFile(path string) error {
	named := path != ""
	if !named {
		path, named = os.LookupEnv("RESTATE_CONFIG")
	}
	if !named || path == "" {
		path, named = DefaultFile, false
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: holds more than one YAML document", path)
	}
	return (&yamlReader{tree: t, origin: path + ":"}).top(document.Content[0])
}

// set applies one "section.key=value".
func (t *tree) set(setting string) error {
	key, text, found := strings.Cut(setting, "=")
	if !found {
		return fmt.Errorf("setting %q: write it as section.key=value", setting)
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return fmt.Errorf("setting %q: %w", setting, err)
	}
	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
	if len(document.Content) > 0 {
		value = document.Content[0]
	}
	return (&yamlReader{tree: t, origin: fmt.Sprintf("setting %q", setting)}).top(nest(key, value))
}

// nest returns the document in which a dotted key has the value.
func nest(key string, value *yaml.Node) *yaml.Node {
	for _, name := range slices.Backward(strings.Split(key, ".")) {
		value = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: name}, value}}
	}
	return value
}
