package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/meta/internal/api"
)

func endpointsCommand(run running) *cobra.Command {
	return group("endpoints", "List, register and remove service endpoints", []string{"endpoint", "ep"},
		&cobra.Command{Use: "list", Short: "List the endpoints", Aliases: []string{"ls"}, Args: cobra.NoArgs, RunE: run(listEndpoints)},
		&cobra.Command{
			Use: "describe ID|URI", Short: "Show an endpoint", Aliases: []string{"get"}, Args: cobra.ExactArgs(1), RunE: run(describeEndpoint),
		},
		registerCommand(run), removeCommand(run),
	)
}

func listEndpoints(cmd *cobra.Command, s *session, _ []string) error {
	var found api.Endpoints
	if err := s.client.call(cmd.Context(), http.MethodGet, []string{"endpoints"}, nil, nil, &found); err != nil {
		return err
	}
	return s.show(found, func() error {
		rows := make([][]string, len(found.Endpoints))
		for i, e := range found.Endpoints {
			rows[i] = []string{cmp.Or(e.URI, e.ARN), string(e.ProtocolType), strconv.Itoa(len(e.Services)), e.ID}
		}
		return s.table([]string{"URI", "PROTOCOL", "SERVICES", "ID"}, rows)
	})
}

func describeEndpoint(cmd *cobra.Command, s *session, args []string) error {
	id, err := s.endpointID(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	var e api.Endpoint
	if err := s.client.call(cmd.Context(), http.MethodGet, []string{"endpoints", id}, nil, nil, &e); err != nil {
		return err
	}
	return s.show(e, func() error {
		lines := [][2]string{{"ID", e.ID}, {"URI", cmp.Or(e.URI, e.ARN)}, {"Protocol", string(e.ProtocolType)}}
		for _, name := range slices.Sorted(maps.Keys(e.AdditionalHeaders)) {
			lines = append(lines, [2]string{"Header", name + ": " + e.AdditionalHeaders[name]})
		}
		return s.detailsAndServices(lines, e.Services)
	})
}

func (s *session) detailsAndServices(lines [][2]string, services []schema.ServiceRef) error {
	if err := s.details(lines); err != nil {
		return err
	}
	if err := s.say(""); err != nil {
		return err
	}
	rows := make([][]string, len(services))
	for i, service := range services {
		rows[i] = []string{service.Name, strconv.FormatUint(uint64(service.Revision), 10)}
	}
	return s.table([]string{"SERVICE", "REVISION"}, rows)
}

// endpointID returns the id of an endpoint that is named by its id, its URI or its ARN.
func (s *session) endpointID(ctx context.Context, name string) (string, error) {
	if !strings.Contains(name, "://") && !isARN(name) {
		return name, nil
	}
	var found api.Endpoints
	if err := s.client.call(ctx, http.MethodGet, []string{"endpoints"}, nil, nil, &found); err != nil {
		return "", err
	}
	for _, e := range found.Endpoints {
		if strings.TrimRight(cmp.Or(e.URI, e.ARN), "/") == strings.TrimRight(name, "/") {
			return e.ID, nil
		}
	}
	return "", fmt.Errorf("there is no endpoint at %s", name)
}

func registerCommand(run running) *cobra.Command {
	c := &cobra.Command{
		Use: "register URI", Short: "Discover an endpoint and register its services", Aliases: []string{"add"},
		Example: "  restate endpoints register http://localhost:9080\n" +
			"  restate endpoints register https://host/default/greeter --header 'x-api-key: secret'",
		Args: cobra.ExactArgs(1),
	}
	force := c.Flags().Bool("force", false, "replace what is registered under the URI; invocations in flight may break")
	headers := c.Flags().StringArray("header", nil, "'name: value' that goes with every request to the endpoint; may be repeated")
	c.RunE = run(func(cmd *cobra.Command, s *session, args []string) error {
		additional, err := parseHeaders(*headers)
		if err != nil {
			return err
		}
		request := api.RegisterRequest{URI: args[0], Force: *force, AdditionalHeaders: additional}
		var registered api.RegisterResponse
		if err := s.client.call(cmd.Context(), http.MethodPost, []string{"endpoints"}, nil, request, &registered); err != nil {
			return err
		}
		return s.show(registered, func() error {
			return s.detailsAndServices([][2]string{{"Registered", args[0]}, {"ID", registered.ID}}, registered.Services)
		})
	})
	return c
}

// parseHeaders reads values of --header.
func parseHeaders(headers []string) (map[string]string, error) {
	parsed := map[string]string{}
	for _, header := range headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return nil, fmt.Errorf("--header %q is not of the form 'name: value'", header)
		}
		parsed[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return parsed, nil
}

func removeCommand(run running) *cobra.Command {
	c := &cobra.Command{
		Use: "remove ID|URI", Short: "Remove an endpoint that no invocation needs", Aliases: []string{"rm", "delete"},
		Args: cobra.ExactArgs(1),
	}
	force := c.Flags().Bool("force", false, "remove it nevertheless: invocations that began on it cannot go on without it")
	c.RunE = run(func(cmd *cobra.Command, s *session, args []string) error {
		id, err := s.endpointID(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		query := url.Values{"force": {strconv.FormatBool(*force)}}
		if err := s.client.call(cmd.Context(), http.MethodDelete, []string{"endpoints", id}, query, nil, nil); err != nil {
			return err
		}
		return s.say("Removed the endpoint %s", args[0])
	})
	return c
}
