package builtin

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	restatev1 "github.com/restate-go/restate/proto/gen/dev/restate"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
)

// FuzzParseOneWay looks for requests that the JSON mapping takes and this parser does not, or takes otherwise: it must
// only be laxer, and keep the argument as it stands.
func FuzzParseOneWay(f *testing.F) {
	for _, seed := range []string{
		`{"service":"s","method":"m","argument":{"a":[1,{"b":null}]}}`, `{"pb":"AA","service":null}`,
		`{"payload":"x"}`, `[]`, `{"service":"\ud800"}`, `{} x`, `{"argument":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		call, err := parseOneWay(&rpc.Message{Data: text, JSON: true})
		if err == nil && call.json != nil {
			require.True(t, json.Valid(call.json))
		}
		var strict restatev1.InvokeRequest
		if protojson.Unmarshal(text, &strict) != nil {
			return
		}
		require.NoError(t, err)
		require.Equal(t, strict.GetService(), call.service)
		require.Equal(t, strict.GetMethod(), call.method)
		require.Equal(t, string(strict.GetPb()), string(call.wire))
		require.Equal(t, strict.GetJson() != nil, call.json != nil)
	})
}

// FuzzParseResolve does the same for awakeables.
func FuzzParseResolve(f *testing.F) {
	for _, seed := range []string{
		`{"id":"x","json_result":{"a":[1,{"b":null}]}}`, `{"jsonResult":null}`, `{"bytesResult":"AA=="}`, `{"id":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		parsed, err := parseResolve(&rpc.Message{Data: text, JSON: true})
		var strict restatev1.ResolveAwakeableRequest
		if protojson.Unmarshal(text, &strict) != nil || strict.GetResult() == nil {
			return
		}
		require.NoError(t, err)
		require.Equal(t, strict.GetId(), parsed.id)
		if _, isJSON := strict.GetResult().(*restatev1.ResolveAwakeableRequest_JsonResult); isJSON {
			require.True(t, json.Valid(parsed.result.GetValue()))
			return
		}
		require.Equal(t, string(strict.GetBytesResult()), string(parsed.result.GetValue()))
	})
}
