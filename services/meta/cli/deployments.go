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

	"github.com/restate-go/restate/services/meta/internal/api"
)

func deploymentsCommand(run running) *cobra.Command {
	return group("deployments", "List, register and remove deployments: service endpoints, in the words of today", []string{"deployment", "dp"},
		&cobra.Command{Use: "list", Short: "List the deployments", Aliases: []string{"ls"}, Args: cobra.NoArgs, RunE: run(listDeployments)},
		&cobra.Command{
			Use: "describe ID|URI|ARN", Short: "Show a deployment", Aliases: []string{"get"}, Args: cobra.ExactArgs(1), RunE: run(describeDeployment),
		},
		registerDeploymentCommand(run), removeDeploymentCommand(run),
	)
}

func (s *session) deployments(ctx context.Context) (api.Deployments, error) {
	var found api.Deployments
	err := s.client.call(ctx, http.MethodGet, []string{"deployments"}, nil, nil, &found)
	return found, err
}

func listDeployments(cmd *cobra.Command, s *session, _ []string) error {
	found, err := s.deployments(cmd.Context())
	if err != nil {
		return err
	}
	return s.show(found, func() error {
		rows := make([][]string, len(found.Deployments))
		for i, d := range found.Deployments {
			rows[i] = []string{addressOf(d.DeploymentInfo), protocolOf(d.DeploymentInfo), strconv.Itoa(len(d.Services)), shownTime(d.CreatedAt), d.ID}
		}
		return s.table([]string{"URI", "PROTOCOL", "SERVICES", "CREATED", "ID"}, rows)
	})
}

// addressOf returns where the deployment is.
func addressOf(d api.DeploymentInfo) string { return cmp.Or(d.URI, d.ARN) }

// protocolOf says how messages are exchanged with the deployment.
func protocolOf(d api.DeploymentInfo) string { return cmp.Or(string(d.ProtocolType), "Lambda") }

func isARN(name string) bool { return strings.HasPrefix(name, "arn:") }

// deploymentID returns the id of a deployment that is named by its id, its URI or its ARN.
func (s *session) deploymentID(ctx context.Context, name string) (string, error) {
	if !strings.Contains(name, "://") && !isARN(name) {
		return name, nil
	}
	found, err := s.deployments(ctx)
	if err != nil {
		return "", err
	}
	for _, d := range found.Deployments {
		if strings.TrimRight(addressOf(d.DeploymentInfo), "/") == strings.TrimRight(name, "/") {
			return d.ID, nil
		}
	}
	return "", fmt.Errorf("there is no deployment at %s", name)
}

func describeDeployment(cmd *cobra.Command, s *session, args []string) error {
	id, err := s.deploymentID(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	var d api.DetailedDeployment
	if err := s.client.call(cmd.Context(), http.MethodGet, []string{"deployments", id}, nil, nil, &d); err != nil {
		return err
	}
	return s.show(d, func() error {
		lines := [][2]string{
			{"ID", d.ID}, {"URI", d.URI}, {"Protocol", string(d.ProtocolType) + " over " + d.HTTPVersion},
			{"Service protocol", versions(d.Protocol)}, {"SDK", d.SDKVersion}, {"Created", shownTime(d.CreatedAt)},
		}
		if d.ARN != "" {
			lines[1], lines[2] = [2]string{"ARN", d.ARN}, [2]string{"Role", d.AssumeRoleARN}
		}
		lines = append(append(lines, pairs("Header", d.AdditionalHeaders)...), pairs("Metadata", d.Metadata)...)
		return s.detailsAndDeployed(lines, d.Services)
	})
}

func versions(p api.Protocol) string {
	if p.MaxProtocolVersion == 0 {
		return "of 2023"
	}
	return fmt.Sprintf("%d to %d", p.MinProtocolVersion, p.MaxProtocolVersion)
}

func pairs(title string, of map[string]string) [][2]string {
	var lines [][2]string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		lines = append(lines, [2]string{title, name + ": " + of[name]})
	}
	return lines
}

func (s *session) detailsAndDeployed(lines [][2]string, services []api.Service) error {
	if err := s.details(lines); err != nil {
		return err
	}
	if err := s.say(""); err != nil {
		return err
	}
	rows := make([][]string, len(services))
	for i, service := range services {
		rows[i] = []string{service.Name, service.Type, revision(service), strconv.Itoa(len(service.Handlers))}
	}
	return s.table([]string{"SERVICE", "TYPE", "REVISION", "HANDLERS"}, rows)
}

func registerDeploymentCommand(run running) *cobra.Command {
	c := &cobra.Command{
		Use: "register URI|ARN", Short: "Discover a deployment and register its services", Aliases: []string{"add"},
		Example: "  restate deployments register http://localhost:9080\n" +
			"  restate deployments register https://host/function --use-http1.1 --header 'x-api-key: secret'\n" +
			"  restate deployments register arn:aws:lambda:eu-central-1:123456789012:function:greeter:1",
		Args: cobra.ExactArgs(1),
	}
	force := c.Flags().Bool("force", false, "replace what is registered there; invocations in flight may break")
	breaking := c.Flags().Bool("breaking", false, "let services change their type or lose handlers")
	dry := c.Flags().Bool("dry-run", false, "show what would be registered, and register nothing")
	http1 := c.Flags().Bool("use-http1.1", false, "call the deployment over HTTP/1.1")
	role := c.Flags().String("assume-role-arn", "", "the role that a function on AWS Lambda is invoked as")
	headers := c.Flags().StringArray("header", nil, "'name: value' that goes with every request to the deployment; may be repeated")
	metadata := c.Flags().StringToString("metadata", nil, "name=value that is shown with the deployment; may be repeated")
	c.RunE = run(func(cmd *cobra.Command, s *session, args []string) error {
		additional, err := parseHeaders(*headers)
		if err != nil {
			return err
		}
		request := api.RegisterDeploymentRequest{
			URI: args[0], Force: force, Breaking: *breaking, DryRun: *dry, UseHTTP11: *http1, AdditionalHeaders: additional, Metadata: *metadata,
			AssumeRoleARN: *role,
		}
		if isARN(args[0]) {
			request.URI, request.ARN = "", args[0]
		}
		var registered api.RegisterDeploymentResponse
		status, err := s.client.send(cmd.Context(), http.MethodPost, []string{"deployments"}, nil, request, &registered)
		if err != nil {
			return err
		}
		return s.show(registered, func() error {
			// 200 is for one that has been there before.
			unchanged := status == http.StatusOK && !*force
			lines := [][2]string{{"Registered", args[0]}, {"ID", registered.ID}}
			switch {
			case unchanged:
				lines[0][0] = "Registered already"
			case *dry:
				lines = [][2]string{{"Would register", args[0]}}
			}
			if err := s.detailsAndDeployed(lines, registered.Services); err != nil || !unchanged {
				return err
			}
			if *dry {
				return s.say("\nNothing would be changed. --force replaces what is registered; invocations in flight may break.")
			}
			return s.say("\nNothing was changed. --force replaces what is registered; invocations in flight may break.")
		})
	})
	return c
}

func removeDeploymentCommand(run running) *cobra.Command {
	c := &cobra.Command{
		Use: "remove ID|URI|ARN", Short: "Remove a deployment that no invocation needs", Aliases: []string{"rm", "delete"}, Args: cobra.ExactArgs(1),
	}
	force := c.Flags().Bool("force", false, "remove it nevertheless: invocations that began on it cannot go on without it")
	c.RunE = run(func(cmd *cobra.Command, s *session, args []string) error {
		id, err := s.deploymentID(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		query := url.Values{"force": {strconv.FormatBool(*force)}}
		if err := s.client.call(cmd.Context(), http.MethodDelete, []string{"deployments", id}, query, nil, nil); err != nil {
			return err
		}
		return s.say("Removed the deployment %s", args[0])
	})
	return c
}
