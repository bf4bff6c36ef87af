package handlers

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/restate-go/restate/pkg/ids"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
)

// reply is a response; with an error, its headers go with the error.
type reply struct {
	status int
	// id of the invocation that the response belongs to, nil for none.
	id *ids.InvocationID
	// expires is when the result is dropped, milliseconds since the epoch; 0 for none.
	expires uint64
	// contentType is empty for none.
	contentType string
	body        []byte
}

func jsonReply(status int, content any) (reply, error) {
	body, err := json.Marshal(content)
	return reply{status: status, contentType: "application/json", body: body}, err
}

const (
	expiryFormat    = "2006-01-02T15:04:05.000-07:00"
	executionFormat = "2006-01-02T15:04:05.000000000Z"
)

func timeOf(millis uint64) time.Time {
	return time.UnixMilli(int64(millis)).UTC() //nolint:gosec // milliseconds since the epoch fit for 292 million years
}

// resultOf presents the end of an invocation. contentType returns that of an output with this many bytes.
func resultOf(id ids.InvocationID, response *storagev1.IngressResponse, contentType func(size int) (string, error)) (reply, error) {
	out := reply{status: http.StatusOK, id: &id}
	if response.GetRetained() {
		out.expires = response.GetExpiresAt()
	}
	if f := response.GetResult().GetFailure(); f != nil {
		return out, failed(f)
	}
	var err error
	out.body = response.GetResult().GetValue()
	out.contentType, err = contentType(len(out.body))
	return out, err
}

// answer sends the response.
func (x *exchange) answer(out reply, err error) {
	if !x.bodyRead {
		rpc.Discard(x.w, x.r)
	}
	header := x.w.Header()
	if out.id != nil {
		header.Set("X-Restate-Id", out.id.String())
	}
	if out.expires > 0 {
		header.Set("Idempotency-Expires", timeOf(out.expires).Format(expiryFormat))
	}
	meter := x.handlers.deps.Meter
	if err != nil {
		e := errorOf(err)
		meter.Ended(x.service, x.method, strconv.Itoa(e.Status))
		e.write(x.w)
		return
	}
	meter.Ended(x.service, x.method, "ok")
	writeBody(x.w, out.status, out.contentType, out.body)
}

// writeBody sends the body as a whole. Without a content type none is guessed.
func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header["Content-Type"] = nil
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	if status != http.StatusNoContent && status != http.StatusNotModified { // they have no body
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has left learns nothing
}
