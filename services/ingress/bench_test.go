package ingress_test

import (
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// BenchmarkCall measures a call through broker and log, with the client and a stand-in for the worker in the process.
func BenchmarkCall(b *testing.B) {
	r := startWithServices(b)
	r.worker.reply(wrapperspb.Bool(true))
	for name, options := range map[string][]connect.ClientOption{
		"proto": nil, "json": {connect.WithProtoJSON()}, "grpc": {connect.WithGRPC()},
	} {
		transport := &http.Transport{MaxIdleConnsPerHost: 64}
		client := &http.Client{Transport: transport}
		if name == "grpc" {
			client = h2c(b)
		}
		caller := connect.NewClient[wrapperspb.StringValue, wrapperspb.BoolValue](client, r.url+"/seedera.Greeter/Bool", options...)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, err := caller.CallUnary(b.Context(), connect.NewRequest(wrapperspb.String("yes")))
					require.NoError(b, err)
				}
			})
		})
		transport.CloseIdleConnections()
	}
}
