package rest

import (
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"

	"github.com/restate-go/restate/services/meta/internal/api"
)

const (
	// maxBatch bounds how many invocations one request is about.
	maxBatch = 1000
	// batchAtOnce bounds how many of them are worked on at a time.
	batchAtOnce = 32
)

// batch does something to many invocations, each on its own. The answer says what became of which.
func (a *API) batch(name string, do action) func(*gin.Context) error {
	return func(c *gin.Context) error {
		var request api.BatchRequest
		if err := readMembers(c, &request); err != nil {
			return err
		}
		if len(request.InvocationIDs) > maxBatch {
			return errcode.New(errcode.BadRequest, "the batch has %d invocations, the most is %d", len(request.InvocationIDs), maxBatch)
		}
		parsed := make([]ids.InvocationID, len(request.InvocationIDs))
		for i, text := range request.InvocationIDs {
			var err error
			if parsed[i], err = ids.ParseInvocationID(text); err != nil {
				return &statusError{http.StatusUnprocessableEntity, errcode.Wrap(errcode.BadRequest, err)}
			}
		}
		response := api.BatchResponse{Succeeded: []any{}, Failed: []api.BatchFailure{}}
		var mu sync.Mutex
		var group errgroup.Group
		group.SetLimit(batchAtOnce)
		for _, id := range parsed {
			group.Go(func() error {
				_, result, err := do(c.Request.Context(), id, options{deployment: request.Deployment})
				mu.Lock()
				defer mu.Unlock()
				switch restarted, ok := result.(api.Restarted); {
				case err != nil:
					response.Failed = append(response.Failed, api.BatchFailure{InvocationID: id.String(), Error: err.Error()})
				case ok:
					response.Succeeded = append(response.Succeeded, api.BatchRestarted{Old: id.String(), New: restarted.ID})
				default:
					response.Succeeded = append(response.Succeeded, id.String())
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		a.Log.Info("an operator "+done(name)+" invocations", "invocations", len(response.Succeeded), "failed", len(response.Failed))
		c.JSON(http.StatusOK, response)
		return nil
	}
}
