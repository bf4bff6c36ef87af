package rpc

import (
	"context"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
)

// exchange is what the layers around connect know of one request and its response.
type exchange struct {
	http.ResponseWriter
	// body is the request's.
	body *body
	// code is what the call ended with, 0 when it succeeded. Until a handler says so the request could not be read.
	code connect.Code
}

type exchangeKey struct{}

// Serve answers the request with a handler of NewHandler, and returns what the call ended with. The body may have limit
// bytes and has to arrive within the timeout.
func Serve(handler http.Handler, w http.ResponseWriter, r *http.Request, limit int64, timeout time.Duration) connect.Code {
	envelope := int64(0)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		envelope = envelopeBytes
	}
	x := &exchange{ResponseWriter: w, body: limitBody(w, r, limit, envelope, timeout), code: connect.CodeInvalidArgument}
	defer x.body.done()
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	r.Body = x.body
	handler.ServeHTTP(x, r)
	return x.code
}

// exchangeOf returns the exchange that Serve began.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// WriteHeader implements http.ResponseWriter. For three codes the 2023 ingress answers with another status than connect.
func (x *exchange) WriteHeader(status int) {
	const connectCanceled = 499
	switch {
	case status == connectCanceled, status == http.StatusGatewayTimeout:
		status = http.StatusRequestTimeout
	case status == http.StatusBadRequest && x.code == connect.CodeFailedPrecondition:
		status = http.StatusPreconditionFailed
	}
	x.ResponseWriter.WriteHeader(status)
}
