package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"
	"gopkg.in/yaml.v3"
)

const envPrefix = "RESTATE"

// notOurs are variables with our prefix that belong to others: the SDKs read them.
var notOurs = []string{"RESTATE_DEBUG_LOGGING", "RESTATE_LOGGING"}

// serviceLink matches the variables that Kubernetes makes of a Service named restate, for every container beside it.
var serviceLink = regexp.MustCompile(`^RESTATE_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// aliases are further variables, with the keys that they set, as far as this process has them. The variable that is named
// after a key wins over the key's aliases.
type aliases struct {
	HTTPProxy       *string `envconfig:"HTTP_PROXY" keys:"meta.endpoint.http_proxy worker.endpoint.http_proxy"`
	HTTPSProxy      *string `envconfig:"HTTPS_PROXY" keys:"meta.endpoint.https_proxy worker.endpoint.https_proxy"`
	NoProxy         *string `envconfig:"NO_PROXY" keys:"meta.endpoint.no_proxy worker.endpoint.no_proxy"`
	TracingFormat   *string `envconfig:"RESTATE_TRACING__LOG_FORMAT" keys:"observability.log.format"`
	TracingEndpoint *string `envconfig:"RESTATE_TRACING__ENDPOINT" keys:"observability.tracing.endpoint"`
}

func (t *tree) readEnvironment() (warnings []string, err error) {
	known, err := t.readAliases()
	if err != nil {
		return nil, err
	}
	for name, section := range t.named {
		prefix := envPrefix
		if name != "" {
			prefix += "_" + strings.ToUpper(name) + "_"
		}
		for _, value := range section {
			names, err := processEnv(prefix, value)
			if err != nil {
				return nil, err
			}
			known = append(known, names...)
		}
	}
	return t.unknownVariables(append(known, envPrefix+"_CONFIG")), nil
}

func (t *tree) readAliases() (names []string, err error) {
	var given aliases
	if err := envconfig.Process("", &given); err != nil {
		return nil, environmentError(err)
	}
	value := reflect.ValueOf(given)
	for i := range value.NumField() {
		tag := value.Type().Field(i).Tag
		name := tag.Get("envconfig")
		names = append(names, name)
		text, _ := value.Field(i).Interface().(*string)
		if text == nil {
			continue
		}
		for key := range strings.FieldsSeq(tag.Get("keys")) {
			node := nest(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: *text})
			err := (&yamlReader{tree: t, origin: "environment variable " + name}).top(node)
			if err != nil && !errors.Is(err, errUnknownKey) {
				return nil, err
			}
		}
	}
	return names, nil
}

// processEnv sets the fields of one struct and of the structs in it, and returns the variables that it would have taken.
func processEnv(prefix string, section reflect.Value) ([]string, error) {
	pointer := section.Addr().Interface()
	names, err := variablesOf(prefix, pointer)
	if err != nil {
		return nil, err
	}
	var wanted, inner []string
	for i := range section.NumField() {
		key := strings.ToUpper(keyOf(section.Type().Field(i)))
		switch field := section.Field(i); {
		case key == "":
		case isSection(field):
			below, err := processEnv(prefix+"_"+key+"_", field)
			if err != nil {
				return nil, err
			}
			inner = append(inner, below...)
		default:
			wanted = append(wanted, prefix+"_"+key)
		}
	}
	// The tags are written by hand; a field whose two names differ could be set in one way only.
	if !slices.Equal(names, wanted) {
		return nil, fmt.Errorf(`config: the tags of %s give variables %v for keys %v: split_words:"true" is missing, or `+
			`ignored:"true" at a field that is a section`, section.Type(), names, wanted)
	}
	if err := envconfig.Process(prefix, pointer); err != nil {
		return nil, environmentError(err)
	}
	return append(names, inner...), nil
}

// variablesOf asks envconfig for the names that it reads, so that there is one rule for them.
func variablesOf(prefix string, spec any) ([]string, error) {
	var names bytes.Buffer
	if err := envconfig.Usagef(prefix, spec, &names, "{{range .}}{{usage_key .}}\n{{end}}"); err != nil {
		return nil, fmt.Errorf("config: %T: %w", spec, err)
	}
	return strings.Fields(names.String()), nil
}

// environmentError says it without the name of the Go field, which users do not know.
func environmentError(err error) error {
	var parse *envconfig.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("environment variable %s: %w", parse.KeyName, parse.Err)
	}
	return fmt.Errorf("environment: %w", err)
}

func (t *tree) unknownVariables(known []string) (warnings []string) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix+"_") || slices.Contains(known, name) ||
			slices.Contains(notOurs, name) || serviceLink.MatchString(name) {
			continue
		}
		ofOther := func(section string) bool {
			return strings.HasPrefix(name, envPrefix+"_"+strings.ToUpper(section)+"__")
		}
		if slices.ContainsFunc(t.foreign, ofOther) {
			continue
		}
		warnings = append(warnings,
			fmt.Sprintf("environment variable %s is not known and has no effect%s", name, didYouMean("", name, known)))
	}
	return warnings
}
