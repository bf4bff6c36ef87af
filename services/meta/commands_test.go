package meta_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	workerv1 "github.com/restate-go/restate/proto/gen/restate/worker/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"

	"github.com/restate-go/restate/services/meta/cli"
)

// run runs a command against the meta of the test, and returns what it prints.
func (r *running) run(args ...string) (string, error) {
	return run(append(args, "--meta", r.url)...)
}

func run(args ...string) (string, error) {
	root := &cobra.Command{Use: "restate", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(cli.NewCommands(func() (string, error) { return "", nil })...)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

// TestLinesOfAValueStayInItsColumn: a failure is shown whole where there is room.
func TestLinesOfAValueStayInItsColumn(t *testing.T) {
	r := start(t)
	id := newID(t, keyspace.HashText("k"))
	v := view(id, "Counter", storagev1.Invocation_STATE_INVOKED)
	v.Invocation.Target.Key, v.LastFailure = []byte("k"), "refused\n  at a\n"
	r.work("one", v)
	printed, err := r.run("invocations", "describe", id.String())
	require.NoError(t, err)
	require.Contains(t, printed, "\nKey:             k\n")
	require.Contains(t, printed, "\nLast failure:    refused\n                   at a\n")
}

// A script of commands with what they print. URI and ID stand for the endpoint's.
func TestCommands(t *testing.T) {
	r := start(t)
	uri := sdk(t, routerServices)
	id := idOf(uri)
	killed := newID(t, 1)
	retried := view(killed, "my.pkg.Svc", storagev1.Invocation_STATE_INVOKED)
	retried.Attempts, retried.LastFailure, retried.LastFailureCode, retried.NextAttemptAt = 4, "refused", "RT0010", 1700000001000
	numberedID := newID(t, 2)
	numbered := view(numberedID, "another.Svc", storagev1.Invocation_STATE_SUSPENDED)
	numbered.Invocation.Target.Key = []byte{0x08, 0x96, 0x01}
	needing := viewOf(newID(t, 3), "gone.Svc", id, 0, storagev1.Invocation_STATE_SUSPENDED)
	r.work("one", retried, numbered, needing)
	r.obey()
	expand := strings.NewReplacer("URI", uri, "EID", id, "IID", killed.String(), "NID", numberedID.String())
	for _, step := range []struct{ command, prints, fails string }{
		{command: "endpoints list", prints: "URI PROTOCOL SERVICES ID\n"},
		{command: "endpoints register URI --header x-api-key:k", prints: "Registered: URI\nID: EID\n\nSERVICE REVISION\nmy.pkg.Svc 1\n"},
		{command: "endpoints register URI", fails: "META0004"},
		{command: "endpoints add URI --force --header x-api-key:k", prints: "Registered: URI\nID: EID\n\nSERVICE REVISION\nmy.pkg.Svc 2\n"},
		{command: "endpoints register URI --header nonsense", fails: "'name: value'"},
		{command: "endpoints register", fails: "accepts 1 arg"},
		{command: "endpoints list", prints: "URI PROTOCOL SERVICES ID\nURI/ RequestResponse 1 EID\n"},
		{command: "endpoint describe EID", prints: "ID: EID\nURI: URI/\nProtocol: RequestResponse\nHeader: x-api-key: k\n\nSERVICE REVISION\nmy.pkg.Svc 2\n"},
		{command: "endpoint describe URI", prints: "ID: EID\nURI: URI/\nProtocol: RequestResponse\nHeader: x-api-key: k\n\nSERVICE REVISION\nmy.pkg.Svc 2\n"},
		{command: "endpoint describe http://other", fails: "http://other"},
		{command: "endpoint describe other", fails: "META0404"},
		{command: "services list", prints: "NAME TYPE REVISION ACCESS HANDLERS ENDPOINT\nmy.pkg.Svc Unkeyed 2 public 2 EID\n"},
		{command: "services patch my.pkg.Svc", fails: "public"},
		{command: "services patch my.pkg.Svc --abort-timeout soon", fails: "soon"},
		{
			command: "services patch my.pkg.Svc --public=false",
			prints: "Name: my.pkg.Svc\nType: Unkeyed\nRevision: 2\nAccess: private\nEndpoint: EID\n\n" +
				"METHOD INPUT OUTPUT KEY FIELD\na RpcRequest RpcResponse\ndo-it RpcRequest RpcResponse\n",
		},
		{command: "svc describe nobody/../x", fails: "META0404"},
		{
			command: "invocations list --service my.pkg.Svc",
			prints:  "ID TARGET STATUS CREATED LAST FAILURE\nIID my.pkg.Svc/k/Do backing-off 2023-11-14T22:13:20.000Z [RT0010] refused\n",
		},
		{command: "invocations list --service other --endpoint e", prints: "ID TARGET STATUS CREATED LAST FAILURE\n"},
		{
			command: "inv describe IID",
			prints: "ID: IID\nTarget: my.pkg.Svc/Do\nKey: k\nStatus: backing-off\nCreated: 2023-11-14T22:13:20.000Z\n" +
				"Modified: 2023-11-14T22:13:20.500Z\nEndpoint: e\nJournal length: 3\nAttempts: 4\nLast failure: [RT0010] refused\n" +
				"Next attempt: 2023-11-14T22:13:21.000Z\n",
		},
		{
			command: "inv describe NID",
			prints: "ID: NID\nTarget: another.Svc/Do\nKey (base64): CJYB\nStatus: suspended\nCreated: 2023-11-14T22:13:20.000Z\n" +
				"Modified: 2023-11-14T22:13:20.500Z\nEndpoint: e\nJournal length: 3\n",
		},
		{command: "invocations kill IID nonsense IID", prints: "Killed IID\nKilled IID\n", fails: `kill nonsense: [META0400]`},
		{command: "endpoints remove URI", fails: "META0409"},
		{command: "endpoints rm URI --force", prints: "Removed the endpoint URI\n"},
		{command: "services list", prints: "NAME TYPE REVISION ACCESS HANDLERS ENDPOINT\n"},
	} {
		t.Run(step.command, func(t *testing.T) {
			printed, err := r.run(strings.Fields(expand.Replace(step.command))...)
			if step.fails != "" {
				require.ErrorContains(t, err, step.fails)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, expandLines(step.prints, expand), squeezed(printed))
		})
	}
}

// A row has one line, whatever the key and the failure are.
func TestInvocationsAreListedInRows(t *testing.T) {
	r := start(t)
	const line = " running 2023-11-14T22:13:20.000Z"
	want := map[string]string{}
	var views []*workerv1.InvocationView
	for row, c := range map[string]struct{ key, failure string }{
		"Counter/user-42/Do" + line:                                                 {"user-42", ""},
		"Counter/" + strings.Repeat("ü", 39) + "…/Do" + line:                        {strings.Repeat("ü", 41), ""},
		"Counter/" + strings.Repeat("ü", 40) + "/Do" + line:                         {strings.Repeat("ü", 40), ""},
		`Counter/"a\tb\nc"/Do` + line:                                               {"a\tb\nc", ""},
		"Counter/k/Do" + line + " TypeError: x is not a function…":                  {"k", "TypeError: x is not a\tfunction\r\n  at a\n  at b\n"},
		"Counter/l/Do" + line + " one line":                                         {"l", "one line\n"},
		"Counter/m/Do" + line + " " + strings.Repeat("f", 99) + "…":                 {"m", strings.Repeat("f", 101)},
		"Counter/" + strings.Repeat("n", 39) + "…/Do" + line + " [RT0010] refused…": {strings.Repeat("n", 1000), "refused\nagain"},
	} {
		v := view(newID(t, keyspace.HashText(c.key)), "Counter", storagev1.Invocation_STATE_INVOKED)
		v.Invocation.Target.Key, v.LastFailure = []byte(c.key), c.failure
		if strings.HasPrefix(c.failure, "refused") {
			v.LastFailureCode = "RT0010"
		}
		want[ids.InvocationID(v.GetInvocationId()).String()] = row
		views = append(views, v)
	}
	r.work("one", views...)
	printed, err := r.run("invocations", "list")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(squeezed(printed)), "\n")[1:]
	require.Len(t, lines, len(want), printed)
	for _, line := range lines {
		id, rest, _ := strings.Cut(line, " ")
		require.Equal(t, want[id], rest)
	}
}

// A script about deployments and what may be done to their invocations.
func TestCommandsOfToday(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, manifestOf(t, "typescript"))
	invoked, completed := newID(t, 1), newID(t, 2)
	registered, err := r.run("deployments", "register", uri, "--metadata", "team=a", "--header", "x-api-key: k", "--json")
	require.NoError(t, err)
	var answer struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(registered), &answer))
	r.work("one",
		viewOf(invoked, "Greeter", answer.ID, 7, storagev1.Invocation_STATE_INVOKED), viewOf(completed, "Greeter", answer.ID, 7, storagev1.Invocation_STATE_COMPLETED),
	)
	orders := r.obey()
	const (
		services  = "SERVICE TYPE REVISION HANDLERS\nGreeter Service 1 2\nCounter VirtualObject 1 2\nSignup Workflow 1 2\n"
		replaced  = "SERVICE TYPE REVISION HANDLERS\nGreeter Service 2 2\nCounter VirtualObject 2 2\nSignup Workflow 2 2\n"
		unchanged = "\nNothing "
		force     = " changed. --force replaces what is registered; invocations in flight may break.\n"
	)
	other, _ := manifestEndpoint(t, smallManifest)
	expand := strings.NewReplacer("URI", uri, "NEW", other, "DID", answer.ID, "IID", invoked.String(), "CID", completed.String())
	for _, step := range []struct {
		command, prints, fails string
		signals                bool
	}{
		{command: "deployments register URI", prints: "Registered already: URI\nID: DID\n\n" + services + unchanged + "was" + force},
		{command: "dp add URI --dry-run", prints: "Registered already: URI\nID: DID\n\n" + services + unchanged + "would be" + force},
		{command: "dp add URI --dry-run --force", prints: "Would register: URI\n\n" + replaced},
		{command: "deployments register NEW --dry-run", prints: "Would register: NEW\n\nSERVICE TYPE REVISION HANDLERS\nS VirtualObject 1 2\n"},
		{command: "dp register URI --header nonsense", fails: "'name: value'"},
		{command: "deployments describe other", fails: "META0404"},
		{command: "deployments describe http://other", fails: "http://other"},
		{
			command: "services patch Signup --public=false --workflow-completion-retention 2days --inactivity-timeout PT5M",
			prints: "Name: Signup\nType: Workflow\nRevision: 1\nAccess: private\nEndpoint: DID\nIdempotency retention: 1d\n" +
				"Workflow retention: 2d\nJournal retention: 1d\nInactivity timeout: 5m\nAbort timeout: 10m\n\n" +
				"HANDLER TYPE INPUT OUTPUT\nrun Workflow application/json application/json\nclick Shared application/json application/json\n",
		},
		{command: "services list", prints: "NAME TYPE REVISION ACCESS HANDLERS ENDPOINT\nCounter VirtualObject 1 public 2 DID\nGreeter Service 1 public 2 DID\n" +
			"Signup Workflow 1 private 2 DID\n"},
		{command: "invocations cancel IID", prints: "Canceled IID\n"},
		{command: "invocations cancel IID", signals: true, prints: "Told IID to cancel\n"},
		{command: "invocations pause IID", signals: true, prints: "Paused IID\n"},
		{command: "invocations kill IID CID", prints: "Killed IID\nKilled CID\n"},
		{command: "invocations pause IID", prints: "Paused IID\n"},
		{command: "invocations resume IID --deployment DID", prints: "Resumed IID\n"},
		{command: "invocations resume IID --deployment dp_other", fails: "dp_other"},
		{command: "invocations purge CID", prints: "Purged CID\n"},
		{command: "invocations purge CID --journal", prints: "Purged the journal of CID\n"},
		{command: "invocations cancel nonsense", fails: "cancel nonsense: [META0400]"},
		{command: "deployments remove URI", fails: "is needed by 2 invocations"},
		{command: "deployments rm DID --force", prints: "Removed the deployment DID\n"},
		{command: "deployments list", prints: "URI PROTOCOL SERVICES CREATED ID\n"},
	} {
		t.Run(step.command, func(t *testing.T) {
			orders.set(storagev1.Outcome_OUTCOME_DONE)
			if step.signals {
				orders.set(storagev1.Outcome_OUTCOME_SIGNALLED)
			}
			printed, err := r.run(strings.Fields(expand.Replace(step.command))...)
			if step.fails != "" {
				require.ErrorContains(t, err, step.fails)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, expandLines(step.prints, expand), squeezed(printed))
		})
	}
	before := orders.count()
	restarted, err := r.run("invocations", "restart", completed.String(), "--from", "2", "--deployment", "keep")
	require.NoError(t, err)
	require.Regexp(t, "^Restarted "+completed.String()+" as inv_1[0-9a-zA-Z]{33}\n$", restarted)
	require.Equal(t, uint32(2), orders.last(t, before+1).GetRestartAsNew().GetFrom())
}

func TestDeploymentsAreDescribed(t *testing.T) {
	r := start(t)
	uri, _ := manifestEndpoint(t, smallManifest)
	created := r.deploy(map[string]any{"uri": uri, "additional_headers": map[string]string{"x": "y"}, "metadata": map[string]string{"a": "b"}})
	id := created.member(t, "id").(string)
	at := strings.Replace(r.call("GET", "/deployments/"+id, "").member(t, "created_at").(string), "000000Z", "Z", 1)
	printed, err := r.run("deployments", "describe", uri)
	require.NoError(t, err)
	require.Equal(t, "ID: "+id+"\nURI: "+uri+"/\nProtocol: BidiStream over HTTP/2.0\nService protocol: 5 to 6\nSDK: restate-sdk-test/1.0.0\n"+
		"Created: "+at+"\nHeader: x: y\nMetadata: a: b\n\nSERVICE TYPE REVISION HANDLERS\nS VirtualObject 1 2\n", squeezed(printed))
	printed, err = r.run("deployments", "list")
	require.NoError(t, err)
	require.Equal(t, "URI PROTOCOL SERVICES CREATED ID\n"+uri+"/ BidiStream 1 "+at+" "+id+"\n", squeezed(printed))
}

// expandLines leaves the titles of the columns alone.
func expandLines(text string, expand *strings.Replacer) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		title, value, ok := strings.Cut(line, ": ")
		switch {
		case ok:
			lines[i] = title + ": " + expand.Replace(value)
		case line != strings.ToUpper(line):
			lines[i] = expand.Replace(line)
		}
	}
	return strings.Join(lines, "\n")
}

// squeezed leaves one blank between columns.
func squeezed(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

func TestCommandsPrintJSON(t *testing.T) {
	r := start(t)
	uri := sdk(t, routerServices)
	for _, c := range []struct{ command, method, path string }{
		{"endpoints register " + uri + " --json", "", ""},
		{"endpoints list --json", "GET", "/endpoints"},
		{"endpoints describe " + idOf(uri) + " --json", "GET", "/endpoints/" + idOf(uri)},
		{"services list --json", "GET", "/services"},
		{"services describe my.pkg.Svc --json", "GET", "/services/my.pkg.Svc"},
	} {
		printed, err := r.run(strings.Fields(c.command)...)
		require.NoError(t, err, c.command)
		require.True(t, json.Valid([]byte(printed)), printed)
		if c.path != "" {
			require.JSONEq(t, r.call(c.method, c.path, "").body, printed, c.command)
		}
	}
	printed, err := r.run("endpoints", "remove", uri, "--force", "--json")
	require.NoError(t, err)
	require.Empty(t, printed)
}

func TestCommandsWithoutMeta(t *testing.T) {
	_, err := run("services", "list", "--meta", "127.0.0.1:1")
	require.ErrorContains(t, err, "--meta says where it is")
	_, err = run("services", "list", "--meta", "http://")
	require.ErrorContains(t, err, "no address")
	_, err = run("services", "list")
	require.ErrorContains(t, err, "pass --meta")
	other := endpointOfHTTP1(t)
	_, err = run("services", "list", "--meta", other)
	require.ErrorContains(t, err, "is it meta?")
	help, err := run("services")
	require.NoError(t, err)
	require.Contains(t, help, "patch")
}

func TestTablesAreAligned(t *testing.T) {
	r := start(t)
	uri := sdk(t, typedServices)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, false)).status)
	printed, err := r.run("services", "describe", "keyedSvc")
	require.NoError(t, err)
	require.Contains(t, printed, "\n\n"+
		"METHOD  INPUT       OUTPUT                 KEY FIELD\n"+
		"inc     RpcRequest  RpcResponse            1\n"+
		"evt     KeyedEvent  google.protobuf.Empty  1\n")
	printed, err = r.run("services", "describe", "seedera.Single")
	require.NoError(t, err)
	require.Contains(t, printed, "\n\n"+
		"METHOD  INPUT                  OUTPUT                KEY FIELD\n"+
		"Bump    google.protobuf.Empty  seedera.CounterValue\n")
}
