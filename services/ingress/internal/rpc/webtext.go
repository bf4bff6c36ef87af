package rpc

import (
	"bufio"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
)

const (
	webType     = "application/grpc-web"
	webTextType = "application/grpc-web-text"
)

// ServeWebText serves a gRPC-Web request whose body is base64 with a handler that knows only the binary form.
func ServeWebText(next http.Handler, w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	r.Header.Set("Content-Type", webType+strings.TrimPrefix(strings.TrimSpace(name), webTextType))
	r = r.WithContext(r.Context()) // see limitBody
	r.Body = &textBody{Closer: r.Body, source: bufio.NewReader(r.Body)}
	text := &textWriter{ResponseWriter: w}
	text.encoder = base64.NewEncoder(base64.StdEncoding, w)
	next.ServeHTTP(text, r)
	text.rename()
	// The client sees a response that was cut short; there is nobody else to tell.
	_ = text.encoder.Close()
}

// textBody decodes base64 that may be a concatenation of padded pieces, as browsers send it when they flush.
type textBody struct {
	io.Closer
	source  *bufio.Reader
	quantum [4]byte
	decoded [3]byte
	ready   []byte
	err     error
}

// Read implements io.Reader. It decodes four characters at a time, so that padding may follow any of them.
func (b *textBody) Read(p []byte) (int, error) {
	var n int
	for n < len(p) {
		if len(b.ready) == 0 && !b.fill() {
			break
		}
		copied := copy(p[n:], b.ready)
		b.ready = b.ready[copied:]
		n += copied
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, b.err
}

func (b *textBody) fill() bool {
	if b.err != nil {
		return false
	}
	if _, b.err = io.ReadFull(b.source, b.quantum[:]); b.err != nil {
		return false
	}
	var n int
	n, b.err = base64.StdEncoding.Decode(b.decoded[:], b.quantum[:])
	b.ready = b.decoded[:n]
	return n > 0
}

// textWriter encodes what is written. It cannot be flushed: base64 has no place to stop within three bytes.
type textWriter struct {
	http.ResponseWriter
	encoder io.WriteCloser
	renamed bool
}

// WriteHeader implements http.ResponseWriter.
func (t *textWriter) WriteHeader(status int) {
	t.rename()
	t.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (t *textWriter) Write(p []byte) (int, error) {
	t.rename()
	return t.encoder.Write(p)
}

func (t *textWriter) rename() {
	if t.renamed {
		return
	}
	t.renamed = true
	if suffix, ok := strings.CutPrefix(t.Header().Get("Content-Type"), webType); ok {
		t.Header().Set("Content-Type", webTextType+suffix)
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (t *textWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }
