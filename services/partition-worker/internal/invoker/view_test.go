package invoker

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"
)

// An attempt that has stored nothing runs somewhere all the same, which whoever removes endpoints has to know.
func TestViewSaysWhereAnAttemptRuns(t *testing.T) {
	release := make(chan struct{})
	w := newWorld(t, func(*Config) {}, serve(t, map[string]http.HandlerFunc{"Waits": func(rw http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			answers(rw, r)
		case <-r.Context().Done():
		}
	}}))
	service, ok := w.invoker.deps.Schema().Service("Waits")
	require.True(t, ok)
	id := w.start("Waits")
	await.True(t, await.Deadline, func() bool {
		view, _ := w.invoker.View(id)
		return view.EndpointID == service.EndpointID
	}, "the attempt to run at the endpoint")
	close(release)
	w.awaitEnd(t, id)
	await.True(t, await.Deadline, func() bool {
		view, _ := w.invoker.View(id)
		return view.EndpointID == ""
	}, "no attempt to be under way")
}
