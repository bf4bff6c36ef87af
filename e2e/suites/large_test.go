package suites

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/e2e/process"
)

// TestAnswersOverTheLimit has a handler answer with more than the runtime takes, which leaves Node with a connection on
// which it refuses all further requests. Other calls get through, also many at a time with large answers.
func TestAnswersOverTheLimit(t *testing.T) {
	eachModeOfHandlers(t, func(t *testing.T, s setting) {
		const tooLarge, large = "9000000", 3000000
		for range 3 {
			id := s.sendTo(t, "Large/give", tooLarge)
			s.awaitState(t, id, "backing-off")
			require.Equal(t, http.StatusOK, s.operate(id, "kill"))
		}
		answer, err := s.Call("Large/take", `"small"`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Equal(t, "5", answer.Body)
		var calls []<-chan process.Answer
		for range 8 {
			calls = append(calls, s.later(t, "Large/give", "3000000"))
		}
		for _, call := range calls {
			answer := <-call
			require.Equal(t, http.StatusOK, answer.Status)
			require.Equal(t, large, strings.Count(answer.Body, "x"))
		}
	})
}
