package cli

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restate-go/restate/services/meta/internal/api"
)

func servicesCommand(run running) *cobra.Command {
	return group("services", "List services, and change their settings", []string{"service", "svc"},
		&cobra.Command{Use: "list", Short: "List the services", Aliases: []string{"ls"}, Args: cobra.NoArgs, RunE: run(listServices)},
		&cobra.Command{
			Use: "describe NAME", Short: "Show a service and its methods", Aliases: []string{"get"}, Args: cobra.ExactArgs(1), RunE: run(describeService),
		},
		patchCommand(run),
	)
}

func listServices(cmd *cobra.Command, s *session, _ []string) error {
	var found api.Services
	if err := s.client.call(cmd.Context(), http.MethodGet, []string{"services"}, nil, nil, &found); err != nil {
		return err
	}
	return s.show(found, func() error {
		rows := make([][]string, len(found.Services))
		for i, service := range found.Services {
			rows[i] = []string{
				service.Name, typeOf(service), revision(service), visibility(service), strconv.Itoa(len(service.Methods)), service.EndpointID,
			}
		}
		return s.table([]string{"NAME", "TYPE", "REVISION", "ACCESS", "HANDLERS", "ENDPOINT"}, rows)
	})
}

// ofToday says whether the service is one of today's SDKs, whose deployments have ids of their own.
func ofToday(service api.Service) bool { return strings.HasPrefix(service.DeploymentID, "dp_") }

// typeOf is in the words of the service's SDK.
func typeOf(service api.Service) string {
	if ofToday(service) {
		return service.Type
	}
	return service.InstanceType
}

// handlers prints those of a service of today's SDKs, with their content types.
func (s *session) handlers(service api.Service) error {
	inputs := map[string]api.Method{}
	for _, m := range service.Methods {
		inputs[m.Name] = m
	}
	rows := make([][]string, len(service.Handlers))
	for i, h := range service.Handlers {
		rows[i] = []string{h.Name, h.Type, inputs[h.Name].InputType, inputs[h.Name].OutputType}
	}
	return s.table([]string{"HANDLER", "TYPE", "INPUT", "OUTPUT"}, rows)
}

func revision(s api.Service) string { return strconv.FormatUint(uint64(s.Revision), 10) }

func visibility(s api.Service) string {
	if s.Public {
		return "public"
	}
	return "private"
}

func shown(d *api.Duration) string {
	if d == nil {
		return ""
	}
	return d.String()
}

func describeService(cmd *cobra.Command, s *session, args []string) error {
	var service api.Service
	if err := s.client.call(cmd.Context(), http.MethodGet, []string{"services", args[0]}, nil, nil, &service); err != nil {
		return err
	}
	return s.showService(service)
}

func (s *session) showService(service api.Service) error {
	return s.show(service, func() error {
		if err := s.details([][2]string{
			{"Name", service.Name}, {"Type", typeOf(service)}, {"Revision", revision(service)},
			{"Access", visibility(service)}, {"Endpoint", service.EndpointID}, {"Documentation", service.Documentation},
			{"Idempotency retention", shown(service.IdempotencyRetention)}, {"Workflow retention", shown(service.WorkflowRetention)},
			{"Journal retention", shown(service.JournalRetention)}, {"Inactivity timeout", shown(service.InactivityTimeout)},
			{"Abort timeout", shown(service.AbortTimeout)},
		}); err != nil {
			return err
		}
		if err := s.say(""); err != nil {
			return err
		}
		if ofToday(service) {
			return s.handlers(service)
		}
		rows := make([][]string, len(service.Methods))
		for i, m := range service.Methods {
			rows[i] = []string{m.Name, m.InputType, m.OutputType}
			if m.KeyFieldNumber != 0 {
				rows[i] = append(rows[i], strconv.Itoa(int(m.KeyFieldNumber)))
			}
		}
		return s.table([]string{"METHOD", "INPUT", "OUTPUT", "KEY FIELD"}, rows)
	})
}

func patchCommand(run running) *cobra.Command {
	c := &cobra.Command{
		Use: "patch NAME", Short: "Put settings over what the endpoint says of a service and its handlers", Args: cobra.ExactArgs(1),
		Example: "  restate services patch Greeter --public=false\n" +
			"  restate services patch Greeter --journal-retention 2d --inactivity-timeout 5m",
	}
	public := c.Flags().Bool("public", true, "whether requests from outside may call the service")
	var request api.ModifyRequest
	for _, f := range []struct {
		name, usage string
		to          **api.Duration
	}{
		{"idempotency-retention", "how long the result of an invocation with an idempotency key is kept", &request.IdempotencyRetention},
		{"workflow-completion-retention", "how long the run of a workflow is kept", &request.WorkflowRetention},
		{"journal-retention", "how long the journal is kept", &request.JournalRetention},
		{"inactivity-timeout", "how long an attempt may go without a message before it is asked to suspend", &request.InactivityTimeout},
		{"abort-timeout", "how long it then has", &request.AbortTimeout},
	} {
		c.Flags().Func(f.name, f.usage, func(text string) error {
			*f.to = new(api.Duration)
			return (*f.to).UnmarshalText([]byte(text))
		})
	}
	c.RunE = run(func(cmd *cobra.Command, s *session, args []string) error {
		if cmd.Flags().Changed("public") {
			request.Public = public
		}
		if request == (api.ModifyRequest{}) {
			return errors.New("nothing is to be changed: --public and the other flags say what")
		}
		var service api.Service
		if err := s.client.call(cmd.Context(), http.MethodPatch, []string{"services", args[0]}, nil, request, &service); err != nil {
			return err
		}
		return s.showService(service)
	})
	return c
}
