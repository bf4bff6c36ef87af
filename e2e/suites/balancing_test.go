package suites

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/process"
	"github.com/restate-go/restate/e2e/proxy"
)

// TestBalancing puts a proxy between the runtime and three replicas of a service that share a name, which only the proxy can
// resolve. Requests are spread, keep the name as their authority, and survive the loss of a replica.
func TestBalancing(t *testing.T) {
	eachGeneration(t, balancing)
}

func balancing(t *testing.T, g generation, mode process.Mode) {
	const name = "shelf.test:9080"
	gate := filepath.Join(t.TempDir(), "gate")
	var replicas []*process.Service
	var addresses []string
	for range 3 {
		replica := g.program(t, "E2E_REQUESTS", "yes", "E2E_GATE", gate)
		replicas, addresses = append(replicas, replica), append(addresses, strings.TrimPrefix(replica.URL, "http://"))
	}
	balancer := proxy.New(map[string][]string{name: addresses})
	// Linux connects to this machine at 0.0.0.0, which is no address of the loopback to who decides about proxies.
	environment := []string{
		"HTTP_PROXY", strings.TrimPrefix(process.Serve(t, balancer), "http://"), "NO_PROXY", "0.0.0.0",
		"RESTATE_WORKER__INVOKER__RETRY_POLICY__MAX_INTERVAL", "200ms",
	}
	s := setting{Runtime: process.Start(t, mode, environment...)}
	g.register(t, s, "http://"+name, "")

	// The first request was the discovery.
	const calls = 30
	var answers []<-chan process.Answer
	for i := range calls {
		answers = append(answers, g.begin(t, s, fmt.Sprint("spread ", i), "Revision"))
	}
	for _, answer := range answers {
		require.Equal(t, "first", g.end(t, answer))
	}
	for _, replica := range replicas {
		require.GreaterOrEqual(t, replica.Count("request", name), calls/3, "requests to one replica, by the name of all")
		for _, e := range replica.Executions() {
			require.Equal(t, name, e.ID, "of all that it got")
		}
	}

	// Every replica works at something when one of them is lost. What it worked at goes on elsewhere.
	answers = nil
	for i := range 3 * len(replicas) {
		answers = append(answers, g.begin(t, s, fmt.Sprint("works ", i), "Work"))
	}
	working := func(replica *process.Service) (n int) {
		for _, e := range replica.Executions() {
			if e.What == "working" {
				n++
			}
		}
		return n
	}
	await.True(t, await.Deadline, func() bool {
		return working(replicas[0]) > 0 && working(replicas[1]) > 0 && working(replicas[2]) > 0
	}, "work for every replica")
	replicas[0].Kill()
	for i := range calls {
		answers = append(answers, g.begin(t, s, fmt.Sprint("after ", i), "Revision"))
	}
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	for _, answer := range answers {
		require.Equal(t, "first", g.end(t, answer))
	}
	s.AwaitIdle(time.Minute)

	direct := process.StartService(t, "server")
	exempt := strings.Replace(direct.URL, "127.0.0.1", "0.0.0.0", 1)
	s.Register(process.Registration{URI: exempt})
	require.JSONEq(t, `{"message": "Hello you"}`, s.MustCall("e2e.Greeter/Hello", `{"name": "you"}`))
	require.Empty(t, balancer.Asked(strings.TrimPrefix(exempt, "http://")), "NO_PROXY has it reached directly")
	refused := s.TryRegister(process.Registration{URI: "http://nobody.test:9080"})
	require.Equal(t, http.StatusInternalServerError, refused.Status)
	require.Contains(t, refused.Body, "through the proxy "+environment[1])
	require.NotEmpty(t, balancer.Asked("nobody.test:9080"), "another name is left to the proxy")
}
