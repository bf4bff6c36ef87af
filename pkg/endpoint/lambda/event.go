package lambda

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/restate-go/restate/pkg/errcode"
)

// Zstd is the one compression there is.
const Zstd = "zstd"

const (
	// maxEvent is the largest event that Lambda takes, in bytes.
	maxEvent = 6 << 20
	// maxWindow bounds, in bytes, what is kept in memory of an answer to decompress it.
	maxWindow = 8 << 20

	contentEncoding = "content-encoding"
)

// event is a request as functions get it.
type event struct {
	Path    string            `json:"path"`
	Method  string            `json:"httpMethod"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
	Encoded bool              `json:"isBase64Encoded"`
}

// event returns the request as it is sent. The error is an *errcode.Error with RequestTooLarge where that is too much for
// a function, or MemoryExhausted.
func (f Function) event(r *http.Request, taken *share) ([]byte, error) {
	body, compressed, err := f.read(r, taken)
	if err != nil {
		return nil, err
	}
	headers := make(map[string]string, len(r.Header))
	for name, values := range r.Header {
		if len(values) > 0 {
			headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	if r.Host != "" {
		headers["host"] = r.Host
	}
	if f.Compression == Zstd {
		headers["accept-encoding"] = Zstd
	}
	if compressed {
		headers[contentEncoding] = Zstd
	}
	encoded, err := json.Marshal(event{
		Path: r.URL.Path, Method: r.Method, Headers: headers, Body: body, Encoded: true,
	})
	if err != nil {
		return nil, err
	}
	if len(encoded) > maxEvent {
		return nil, errTooLarge
	}
	return encoded, nil
}

// answer is a response as functions give it.
type answer struct {
	Status  int               `json:"statusCode"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Encoded bool              `json:"isBase64Encoded"`
}

// readAnswer returns the response that the answer stands for. The error is an *errcode.Error with ProtocolViolated.
func readAnswer(r *http.Request, payload []byte) (*http.Response, error) {
	var a answer
	if err := json.Unmarshal(payload, &a); err != nil {
		return nil, errcode.New(errcode.ProtocolViolated, "the answer of the function is not that of a Restate SDK: %w", err)
	}
	if a.Status < 100 || a.Status > 999 {
		return nil, errcode.New(errcode.ProtocolViolated, "the answer of the function is not that of a Restate SDK: it has the statusCode %d", a.Status)
	}
	body := []byte(a.Body)
	if a.Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(a.Body); err != nil {
			return nil, errcode.New(errcode.ProtocolViolated, "the body of the function's answer: %w", err)
		}
	}
	response := &http.Response{
		Status:        strings.TrimRight(strconv.Itoa(a.Status)+" "+http.StatusText(a.Status), " "),
		StatusCode:    a.Status,
		Header:        make(http.Header, len(a.Headers)),
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       r,
	}
	for name, value := range a.Headers {
		response.Header.Set(name, value)
	}
	if response.Header.Get(contentEncoding) != Zstd {
		return response, nil
	}
	// It is decompressed as it is read: the reader has limits.
	decoder, err := zstd.NewReader(response.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("decompress the answer of the function: %w", err)
	}
	response.Header.Del(contentEncoding)
	response.Body, response.ContentLength, response.Uncompressed = decoder.IOReadCloser(), -1, true
	return response, nil
}
