package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"

	"github.com/gin-gonic/gin"

	"github.com/restate-go/restate/pkg/errcode"
)

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
// it; should the request fail, the answer names one. What is JSON, but of another type, is unprocessable.
func readMembers(c *gin.Context, into any) error {
	var read bytes.Buffer
	if length := c.Request.ContentLength; length >= 0 && length <= maxBody {
		c.Request.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(c.Request.Body, &read), c.Request.Body}
	}
	decoder, err := bodyOf(c)
	if err != nil {
		return err
	}
	err = decodeAll(decoder, into)
	if err == nil {
		c.Set(strictKey, func() error { return decodeStrictly(read.Bytes(), reflect.TypeOf(into).Elem()) })
	}
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

// strictKey is where the context of a request has what decodes its body once more, strictly.
const strictKey = "strict"

func decodeStrictly(body []byte, into reflect.Type) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	return decoder.Decode(reflect.New(into).Interface())
}

// unknownMember returns the error that the body of a request would have been if it were decoded strictly.
func unknownMember(c *gin.Context) error {
	decode, ok := c.Value(strictKey).(func() error)
	if !ok {
		return nil
	}
	if err := decode(); !errors.Is(err, io.EOF) { // a body that was too large to be kept is empty here
		return err
	}
	return nil
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
