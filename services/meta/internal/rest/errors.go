package rest

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"

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
	failWith(c, status, coded)
}

func failWith(c *gin.Context, status int, err *errcode.Error) {
	c.AbortWithStatusJSON(status, api.Failure{
		Message:     err.Error() + "\n" + err.Code.Advice(),
		RestateCode: string(err.Code),
	})
}

// readJSON decodes the body strictly.
func readJSON(c *gin.Context, into any) error {
	decoder, err := bodyOf(c)
	if err != nil {
		return err
	}
	decoder.DisallowUnknownFields()
	if err := decodeAll(decoder, into); err != nil {
		return readFailure(http.StatusBadRequest, err)
	}
	return nil
}

// readMembers decodes the body and ignores members that this release does not know, as those of today expect who send
// it. What is JSON, but of another type, is unprocessable.
func readMembers(c *gin.Context, into any) error {
	decoder, err := bodyOf(c)
	if err != nil {
		return err
	}
	err = decodeAll(decoder, into)
	var malformed *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &malformed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errTrailing):
		return readFailure(http.StatusBadRequest, err)
	default:
		return readFailure(http.StatusUnprocessableEntity, err)
	}
}

func bodyOf(c *gin.Context) (*json.Decoder, error) {
	given := c.GetHeader("Content-Type")
	if mediaType, _, err := mime.ParseMediaType(given); err != nil || mediaType != "application/json" {
		return nil, &statusError{http.StatusUnsupportedMediaType,
			errcode.New(errcode.BadRequest, "the content type is %q, not application/json", given)}
	}
	return json.NewDecoder(c.Request.Body), nil
}

var errTrailing = errors.New("it goes on after the JSON value")

func decodeAll(decoder *json.Decoder, into any) error {
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}

func readFailure(status int, err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &statusError{http.StatusRequestEntityTooLarge,
			errcode.New(errcode.BadRequest, "the body is larger than %d bytes", tooLarge.Limit)}
	}
	return &statusError{status, errcode.New(errcode.BadRequest, "the body is not what is expected: %w", err)}
}
