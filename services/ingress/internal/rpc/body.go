package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"connectrpc.com/connect"
)

// envelopeBytes is what gRPC adds to the one message of a unary request.
const envelopeBytes = 5

// body bounds how long a request body may be and how long it may take to arrive. Without it a body without end would be
// read for ever, for connect reads to the end what it refuses for its size.
type body struct {
	io.ReadCloser
	length  int64 // as declared, -1 when it was not
	left    int64
	limit   int64
	timeout time.Duration
	control *http.ResponseController
	timer   *time.Timer

	ended bool // the whole body was read

	mu      sync.Mutex
	over    bool
	expired bool
}

const (
	// discardTimeout is how long the rest of a body that is not wanted may take to arrive, discardBytes how much it may be.
	discardTimeout = time.Second
	discardBytes   = 256 << 10
)

// limitBody wraps the body of r: more than limit bytes (and an envelope's) fail with resource_exhausted, and all of it has
// to arrive within the timeout. done has to be called once the body is read or no longer wanted.
func limitBody(w http.ResponseWriter, r *http.Request, limit, envelope int64, timeout time.Duration) *body {
	body := &body{
		ReadCloser: r.Body,
		length:     r.ContentLength,
		left:       limit + envelope,
		limit:      limit,
		timeout:    timeout,
		control:    http.NewResponseController(w),
	}
	body.timer = time.AfterFunc(timeout, body.expire)
	return body
}

// readAhead is how much of a body is made room for because it was announced.
const readAhead = 64 << 10

// ReadBody reads the body of a request to its end. More than limit bytes fail with resource_exhausted, and a body that
// takes longer than the timeout with deadline_exceeded.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64, timeout time.Duration) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	limited := limitBody(w, r, limit, 0, timeout)
	defer limited.done()
	var data bytes.Buffer
	if r.ContentLength > 0 {
		data.Grow(int(min(r.ContentLength, readAhead)) + bytes.MinRead)
	}
	if _, err := data.ReadFrom(limited); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	// One byte more than allowed tells a body at the limit from one above it.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	b.ended = b.ended || errors.Is(err, io.EOF)
	switch {
	case b.left < 0:
		return 0, connect.NewError(connect.CodeResourceExhausted,
			TooLarge(b.limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, connect.NewError(connect.CodeDeadlineExceeded,
			fmt.Errorf("the request did not arrive within %s", b.timeout))
	default:
		return n, err
	}
}

// TooLarge says that a request has more bytes than the limit.
func TooLarge(limit int64) error {
	return fmt.Errorf("the request is larger than %d bytes (ingress.max_body_size)", limit)
}

// Close implements io.Closer. It leaves the body to done, which may still need it; the server closes it in the end.
func (b *body) Close() error { return nil }

// done ends the supervision; it may be called again.
func (b *body) done() {
	b.timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
	case !b.ended:
		discard(b.control, b.ReadCloser, b.length)
	case b.expired:
		// It fired at the last moment: a deadline left behind would break the connection while the call waits.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	b.over = true
}

// Discard takes the body of a request that is about to be refused, unless it is long or slow.
func Discard(w http.ResponseWriter, r *http.Request) {
	discard(http.NewResponseController(w), r.Body, r.ContentLength)
}

// discard reads what is left of a body that is known to be short. Over HTTP/2 a response that overtakes the request makes
// the server reset the stream, which some clients take for a failure, curl 7.88 for one. Over HTTP/1.1 the server itself
// reads on, to use the connection again; the deadline holds for that too.
func discard(control *http.ResponseController, body io.Reader, length int64) {
	_ = control.SetReadDeadline(time.Now().Add(discardTimeout))
	if length > 0 && length <= discardBytes {
		_, _ = io.Copy(io.Discard, body) // what remains is the server's to deal with
	}
}

func (b *body) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	b.expired = true
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}
