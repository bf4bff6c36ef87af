package schema

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
)

// manifest returns what an SDK answered to discovery: typescript 1.17.2 or go 1.2.0.
func manifest(t testing.TB, sdk string) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/manifest-" + sdk + ".json")
	require.NoError(t, err)
	return body
}

// showHandlers renders what a manifest says as lines.
func showHandlers(services []*Service) string {
	var out strings.Builder
	for _, s := range services {
		fmt.Fprintf(&out, "%s %s public=%t %q\n", s.Name, KindName(s.Kind), s.Public, s.Documentation)
		for _, m := range s.Methods {
			o := m.Options
			fmt.Fprintf(&out, "  %s shared=%t private=%t in=%q out=%q", m.Name, m.Shared, m.Private, m.Bytes.Input.ContentType, m.Bytes.Output.ContentType)
			fmt.Fprintf(&out, " kept=%s/%s/%s lazy=%t retry=%s*%g<%s,%d,%s", o.IdempotencyRetention, o.WorkflowRetention, o.JournalRetention,
				o.LazyState, o.Retry.InitialInterval, o.Retry.Factor, o.Retry.MaxInterval, o.Retry.MaxAttempts, o.Retry.Exhausted)
			if o.InactivityTimeout != nil {
				fmt.Fprintf(&out, " inactivity=%s", o.InactivityTimeout)
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func TestManifestsOfSDKs(t *testing.T) {
	const standard = "lazy=false retry=500ms*2<1m0s,70,Pause"
	for sdk, want := range map[string]string{
		"typescript": `Greeter Unkeyed public=true "Greets"
  greet shared=false private=false in="application/json" out="application/json" kept=2h0m0s/24h0m0s/3h0m0s lazy=false retry=100ms*3<10s,10,Kill
  quiet shared=false private=true in="application/json" out="application/json" kept=2h0m0s/24h0m0s/3h0m0s lazy=false retry=100ms*3<10s,10,Kill inactivity=5m0s
Counter Keyed public=true ""
  add shared=false private=false in="application/json" out="application/json" kept=24h0m0s/24h0m0s/24h0m0s lazy=true retry=500ms*2<1m0s,70,Pause
  get shared=true private=false in="application/json" out="application/json" kept=24h0m0s/24h0m0s/24h0m0s lazy=true retry=500ms*2<1m0s,70,Pause
Signup Workflow public=true ""
  run shared=false private=false in="application/json" out="application/json" kept=24h0m0s/24h0m0s/24h0m0s ` + standard + `
  click shared=true private=false in="application/json" out="application/json" kept=24h0m0s/24h0m0s/24h0m0s ` + standard + "\n",
		"go": `Counter Keyed public=true ""
  Add shared=false private=false in="application/json" out="application/json" kept=24h0m0s/24h0m0s/24h0m0s ` + standard + ` inactivity=30s
  Get shared=true private=false in="" out="application/json" kept=24h0m0s/24h0m0s/24h0m0s ` + standard + ` inactivity=30s
Greeter Unkeyed public=false ""
  Greet shared=false private=false in="application/json" out="application/json" kept=24h0m0s/24h0m0s/24h0m0s ` + standard + `
  Ping shared=false private=false in="" out="" kept=24h0m0s/24h0m0s/24h0m0s ` + standard + `
Signup Workflow public=true ""
  Click shared=true private=false in="application/json" out="" kept=24h0m0s/24h0m0s/24h0m0s ` + standard + `
  Run shared=false private=false in="application/json" out="application/json" kept=24h0m0s/24h0m0s/24h0m0s ` + standard + "\n",
	} {
		d, err := ReadManifest(manifest(t, sdk))
		require.NoError(t, err)
		require.Equal(t, ModeBidiStream, d.Mode)
		require.Equal(t, []uint32{5, 7}, []uint32{d.MinProtocolVersion, d.MaxProtocolVersion})
		require.Equal(t, want, showHandlers(d.Services), sdk)
	}
}

// The stored form does not depend on how the manifest is written, and keeps what this release does not know.
func TestManifestIsStoredInOneForm(t *testing.T) {
	one, err := ReadManifest([]byte(`{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":9007199254,"new":{"b":1.50,"a":[ ]},
		"services":[{"ty":"SERVICE","name":"S","handlers":[]}]}`))
	require.Error(t, err)
	require.Nil(t, one)
	one, err = ReadManifest([]byte(`{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":90,"new":{"b":1.50,"a":[ ]},
		"services":[{"ty":"SERVICE","name":"S","handlers":[]}]}`))
	require.NoError(t, err)
	other, err := ReadManifest([]byte(`{"services":[{"name":"S","handlers":[],"ty":"SERVICE"}],"new":{"a":[],"b":1.50},"maxProtocolVersion":90,
		"minProtocolVersion":5,"protocolMode":"BIDI_STREAM"}`))
	require.NoError(t, err)
	require.Equal(t, one.hash, other.hash)
	require.Contains(t, string(one.stored), `"new":{"a":[],"b":1.50}`)
}

func TestReadManifestRefuses(t *testing.T) {
	endpoint := func(rest string) string {
		return `{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,` + rest + `}`
	}
	service := func(rest string) string { return endpoint(`"services":[{"name":"S",` + rest + `}]`) }
	handler := func(ty, rest string) string {
		return service(`"ty":"` + ty + `","handlers":[{"name":"h",` + rest + `}]`)
	}
	for name, c := range map[string]struct {
		body string
		code errcode.Code
		says string
	}{
		"no JSON":             {`protocolMode`, errcode.BadManifest, "decode"},
		"no object":           {`[]`, errcode.BadManifest, "decode"},
		"more after it":       {endpoint(`"services":[]`) + `{}`, errcode.BadManifest, "after top-level value"},
		"no mode":             {`{"minProtocolVersion":5,"maxProtocolVersion":7,"services":[]}`, errcode.BadManifest, "protocolMode"},
		"no versions":         {`{"protocolMode":"BIDI_STREAM","services":[]}`, errcode.BadManifest, "no range"},
		"versions too old":    {`{"protocolMode":"BIDI_STREAM","minProtocolVersion":1,"maxProtocolVersion":3}`, errcode.UnsupportedProtocol, "1 to 3, and the runtime 5 to 7"},
		"versions too new":    {`{"protocolMode":"BIDI_STREAM","minProtocolVersion":50,"maxProtocolVersion":60}`, errcode.UnsupportedProtocol, "50 to 60"},
		"no services":         {endpoint(`"services":[]`), errcode.DiscoveryFailed, "serves no services"},
		"a name that is none": {endpoint(`"services":[{"name":"a/b","ty":"SERVICE"}]`), errcode.BadService, `"a/b"`},
		"a reserved name":     {endpoint(`"services":[{"name":"RestateX","ty":"SERVICE"}]`), errcode.BadService, "reserved"},
		"another reserved":    {endpoint(`"services":[{"name":"openAPI","ty":"SERVICE"}]`), errcode.BadService, "reserved"},
		"no type":             {service(`"handlers":[]`), errcode.BadManifest, "type"},
		"a service twice": {
			endpoint(`"services":[{"name":"S","ty":"SERVICE"},{"name":"S","ty":"SERVICE"}]`), errcode.BadManifest, "twice",
		},
		"a handler twice":             {service(`"ty":"SERVICE","handlers":[{"name":"h"},{"name":"h"}]`), errcode.BadService, "twice"},
		"a handler's name":            {service(`"ty":"SERVICE","handlers":[{"name":"a-b"}]`), errcode.BadService, "a-b"},
		"an exclusive of a service":   {handler("SERVICE", `"ty":"EXCLUSIVE"`), errcode.BadService, "EXCLUSIVE"},
		"a run of an object":          {handler("VIRTUAL_OBJECT", `"ty":"WORKFLOW"`), errcode.BadService, "WORKFLOW"},
		"public in a private one":     {service(`"ty":"SERVICE","ingressPrivate":true,"handlers":[{"name":"h","ingressPrivate":false}]`), errcode.BadService, "the service private"},
		"retention of no workflow":    {handler("SERVICE", `"workflowCompletionRetention":1`), errcode.BadService, "workflowCompletionRetention"},
		"idempotency of a run":        {handler("WORKFLOW", `"ty":"WORKFLOW","idempotencyRetention":1`), errcode.BadService, "idempotencyRetention"},
		"a content type that is none": {handler("SERVICE", `"input":{"contentType":"json"}`), errcode.BadService, `"json"`},
		"a negative time":             {handler("SERVICE", `"inactivityTimeout":-1`), errcode.BadService, "negative"},
		"a retry factor below 1":      {service(`"ty":"SERVICE","retryPolicyExponentiationFactor":0.5,"handlers":[]`), errcode.BadService, "0.5"},
		"a retry factor too large":    {service(`"ty":"SERVICE","retryPolicyExponentiationFactor":1e10,"handlers":[]`), errcode.BadService, "1e+10 is not from 1 to 2147483647"},
		"a pause beyond all numbers":  {service(`"ty":"SERVICE","retryPolicyInitialInterval":18446744073709551615,"handlers":[]`), errcode.BadManifest, "retryPolicyInitialInterval"},
		"an end that is none":         {service(`"ty":"SERVICE","retryPolicyOnMaxAttempts":"STOP","handlers":[]`), errcode.BadService, "STOP"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadManifest([]byte(c.body))
			require.Equal(t, c.code, errcode.Of(err, ""), err)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// Handlers take what their service says, and lead it by what they say themselves.
func TestOptionsOfHandlers(t *testing.T) {
	d, err := ReadManifest([]byte(`{"protocolMode":"REQUEST_RESPONSE","minProtocolVersion":1,"maxProtocolVersion":5,"services":[
		{"name":"W","ty":"WORKFLOW","journalRetention":1000,"abortTimeout":7,"retryPolicyMaxAttempts":0,
			"retryPolicyInitialInterval":9223372036854775807,"retryPolicyMaxInterval":9223372036854775807,"handlers":[
			{"name":"run","ty":"WORKFLOW","workflowCompletionRetention":5000,"journalRetention":0},
			{"name":"get","abortTimeout":8,"enableLazyState":true,"retryPolicyMaxAttempts":3}]}]}`))
	require.NoError(t, err)
	require.Equal(t, ModeRequestResponse, d.Mode)
	run, get := d.Services[0].Methods[0], d.Services[0].Methods[1]
	require.False(t, run.Shared)
	require.True(t, get.Shared, "as of workflows where nothing is said")
	require.Equal(t, 5*time.Second, run.Options.WorkflowRetention)
	require.Zero(t, run.Options.JournalRetention)
	require.Equal(t, time.Second, get.Options.JournalRetention)
	require.Equal(t, 7*time.Millisecond, *run.Options.AbortTimeout)
	require.Equal(t, 8*time.Millisecond, *get.Options.AbortTimeout)
	require.True(t, get.Options.LazyState)
	require.Equal(t, uint32(1), run.Options.Retry.MaxAttempts)
	require.Equal(t, uint32(3), get.Options.Retry.MaxAttempts)
	require.Equal(t, 292*365*24*time.Hour, run.Options.Retry.MaxInterval.Truncate(365*24*time.Hour), "the longest there is")
	require.Positive(t, run.Options.Retry.InitialInterval)
}

// Whatever an endpoint answers is refused, or can be read back as it was.
func FuzzReadManifest(f *testing.F) {
	for _, sdk := range []string{"typescript", "go"} {
		f.Add(manifest(f, sdk))
	}
	f.Add([]byte(`{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":5,"services":[{"name":"S","ty":"SERVICE","handlers":[]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := ReadManifest(body)
		if err != nil {
			require.NotEmpty(t, errcode.Of(err, ""))
			return
		}
		again, err := ReadManifest(d.stored)
		require.NoError(t, err)
		require.Equal(t, d.hash, again.hash)
		require.True(t, json.Valid(d.stored))
		require.Equal(t, showHandlers(d.Services), showHandlers(again.Services))
	})
}
