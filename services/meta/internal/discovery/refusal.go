package discovery

import (
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	// maxSays bounds what is shown of the body of a refusal, in bytes.
	maxSays = 200
	// saysWithin is how long its beginning is waited for. Some gateways keep the stream open after the header.
	saysWithin = 200 * time.Millisecond
)

// beginning returns how the body of a refusal begins, if that is text: what has come of it in a short time. The body is
// closed then.
func beginning(response *http.Response) string {
	if !isText(response.Header.Get("Content-Type")) {
		return ""
	}
	timer := time.AfterFunc(saysWithin, func() { _ = response.Body.Close() })
	defer timer.Stop()
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxSays)) // what has come is shown, and the status says enough
	return strings.TrimSpace(strings.ToValidUTF8(string(text), ""))
}

func isText(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return strings.HasPrefix(mediaType, "text/") || mediaType == "application/json" || strings.HasSuffix(mediaType, "+json") ||
		mediaType == "application/xml" || strings.HasSuffix(mediaType, "+xml")
}
