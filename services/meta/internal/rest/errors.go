package rest

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/restate-go/restate/pkg/errcode"

	"github.com/restate-go/restate/services/meta/internal/api"
)

// statusOf maps a code to the status of the answer.
func statusOf(code errcode.Code) int {
	switch code {
	case errcode.BadService, errcode.BadKey, errcode.RepeatedAnnotation, errcode.BadEventField, errcode.BadRequest:
		return http.StatusBadRequest
	case errcode.NotAllowed:
		return http.StatusForbidden
	case errcode.NotFound:
		return http.StatusNotFound
	case errcode.EndpointExists, errcode.EndpointInUse, errcode.Incompatible:
		return http.StatusConflict
	case errcode.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// statusError is an error whose status does not follow from its code.
type statusError struct {
	status int
	err    *errcode.Error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// advisedError is an error with advice that fits it better than what its code advises.
type advisedError struct {
	advice string
	err    error
}

func (e *advisedError) Error() string { return e.err.Error() }
func (e *advisedError) Unwrap() error { return e.err }

// advise gives an error advice of its own.
func advise(err error, advice string) error { return &advisedError{advice, err} }

// fail answers with the error.
func (a *API) fail(c *gin.Context, err error) {
	var coded *errcode.Error
	if !errors.As(err, &coded) {
		coded = errcode.Wrap(errcode.Unexpected, err)
	}
	status := statusOf(coded.Code)
	var other *statusError
	if errors.As(err, &other) {
		status = other.status
	}
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	a.Log.Log(c.Request.Context(), level, "a request failed",
		"method", c.Request.Method, "path", c.Request.URL.Path, "status", status, "error", err)
	message, advice := coded.Error(), coded.Code.Advice()
	if unknown := unknownMember(c); unknown != nil && status < http.StatusInternalServerError {
		message += "; of the body was passed over: " + strings.TrimPrefix(unknown.Error(), "json: ")
	}
	var advised *advisedError
	if errors.As(err, &advised) {
		advice = advised.advice
	}
	answer(c, status, coded.Code, message+"\n"+advice)
}

func failWith(c *gin.Context, status int, err *errcode.Error) {
	answer(c, status, err.Code, err.Error()+"\n"+err.Code.Advice())
}

func answer(c *gin.Context, status int, code errcode.Code, message string) {
	c.AbortWithStatusJSON(status, api.Failure{Message: message, RestateCode: string(code)})
}
