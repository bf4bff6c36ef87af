package schema

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const testManifest = `{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[
	{"name":"G","ty":"SERVICE","handlers":[{"name":"Info"}]},
	{"name":"T","ty":"SERVICE","handlers":[{"name":"greet","idempotencyRetention":1000,"journalRetention":0}]},
	{"name":"F7S","ty":"SERVICE","handlers":[{"name":"echo"}]},
	{"name":"Ctr","ty":"VIRTUAL_OBJECT","handlers":[{"name":"add","ty":"EXCLUSIVE"},{"name":"get","ty":"SHARED"}]},
	{"name":"Wf","ty":"WORKFLOW","handlers":[{"name":"run","ty":"WORKFLOW","workflowCompletionRetention":5000},{"name":"peek","ty":"SHARED"}]},
	{"name":"F7W","ty":"WORKFLOW","handlers":[{"name":"run","ty":"WORKFLOW"}]}
]}`

func loadManifest(t *testing.T, text string) map[string]*Service {
	t.Helper()
	manifest, err := ParseManifest([]byte(text))
	require.NoError(t, err)
	discovered, err := manifest.Load()
	require.NoError(t, err)
	services := map[string]*Service{}
	for _, service := range discovered.Services {
		services[service.Name] = service
	}
	return services
}

// Ids as restate-server 1.7.12 gives them.
func TestIDsThatFollowFromTheCall(t *testing.T) {
	services := loadManifest(t, testManifest)
	for id, c := range map[string]struct {
		service string
		call    Call
	}{
		"inv_12kpUQONmeFb2WqsVOkAjH4phS34cOyIC8": {"Wf", Call{Method: "run", Key: new("w1")}},
		"inv_13WvOUs2fV5m5WGmpDF8rqqrmWueosykyE": {"Wf", Call{Method: "run", Key: new("ww")}},
		"inv_1krvTIEr9qJt0yqVWG30xEeQ3KWRDiz9LQ": {"G", Call{Method: "Info", IdempotencyKey: new("my-ik")}},
		"inv_1l3TH98NuBz51cFhOBjPwda4fLDpvIZQDJ": {"T", Call{Method: "greet", IdempotencyKey: new("idem-1")}},
		"inv_1htFLWzS8DLm15S8yhVPUQND2icbCWfLca": {"F7S", Call{Method: "echo", IdempotencyKey: new("ik1")}},
		"inv_15XrKI6E8WY64fprUAq44ZOgyhfLKuqCEt": {"F7S", Call{Method: "echo", IdempotencyKey: new("ik1"), Scope: new("sc1")}},
		"inv_15XrKI6E8WY65lVGRfTLQUf9JC3ppJbOTB": {"F7W", Call{Method: "run", Key: new("wk"), Scope: new("sc1")}},
		"inv_1foAirY4KKzi2OnTG95s7Rj5ZSscTyZJTT": {"Ctr", Call{Method: "add", Key: new("k1"), IdempotencyKey: new("idem-2")}},
	} {
		resolved, err := services[c.service].Resolve(c.call)
		require.NoError(t, err)
		require.Equal(t, id, resolved.ID.String())
	}
}

func TestRetentionOfResults(t *testing.T) {
	services := loadManifest(t, testManifest)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		service         string
		call            Call
		result, journal time.Duration
	}{
		"plain":               {"G", Call{Method: "Info"}, day, day},
		"idempotent":          {"T", Call{Method: "greet", IdempotencyKey: new("k")}, time.Second, 0},
		"nothing is kept":     {"T", Call{Method: "greet"}, 0, 0},
		"run of a workflow":   {"Wf", Call{Method: "run", Key: new("k")}, 5 * time.Second, day},
		"other of a workflow": {"Wf", Call{Method: "peek", Key: new("k")}, day, day},
	} {
		t.Run(name, func(t *testing.T) {
			resolved, err := services[c.service].Resolve(c.call)
			require.NoError(t, err)
			require.Equal(t, c.result, resolved.CompletionRetention)
			require.Equal(t, c.journal, resolved.JournalRetention)
		})
	}
}

func TestCallsThatCannotBeResolved(t *testing.T) {
	services := loadManifest(t, testManifest)
	for name, c := range map[string]struct {
		service string
		call    Call
		err     error
	}{
		"unknown handler":     {"G", Call{Method: "nothing"}, ErrUnknownMethod},
		"key of a service":    {"G", Call{Method: "Info", Key: new("")}, ErrKey},
		"object without key":  {"Ctr", Call{Method: "add"}, ErrKey},
		"idempotent workflow": {"Wf", Call{Method: "run", Key: new("k"), IdempotencyKey: new("k")}, ErrIdempotencyKey},
		"long key":            {"Ctr", Call{Method: "add", Key: new(strings.Repeat("k", MaxKeyLength+1))}, ErrKey},
		"long idempotency":    {"G", Call{Method: "Info", IdempotencyKey: new(strings.Repeat("k", MaxKeyLength+1))}, ErrIdempotencyKey},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := services[c.service].Resolve(c.call)
			require.ErrorIs(t, err, c.err)
		})
	}
	_, err := services["Ctr"].Resolve(Call{Method: "get", Key: new(strings.Repeat("k", MaxKeyLength))})
	require.NoError(t, err)
	resolved, err := services["Ctr"].Resolve(Call{Method: "get", Key: new("")})
	require.NoError(t, err)
	require.True(t, resolved.Target.GetShared())
}
