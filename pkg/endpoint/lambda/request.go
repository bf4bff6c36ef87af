package lambda

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/klauspost/compress/zstd"

	"github.com/restate-go/restate/pkg/errcode"
)

const (
	// maxBody is the longest body that fits into an event, in bytes: four characters stand for three of them.
	maxBody = maxEvent / 4 * 3
	// compressFrom is the size of a body, in bytes, from which on it is compressed.
	compressFrom = 4 << 20
	// window is how far compression looks back, in bytes. It takes a few times as much memory.
	window = 1 << 20
)

var errTooLarge = errcode.New(errcode.RequestTooLarge, "the request makes an event of more than the %d bytes that AWS Lambda takes", maxEvent)

// read reads the body of a request to its end, to that of the request's context, or until it is sure not to fit into an
// event; and compresses it where it is large and the function takes that.
func (f Function) read(r *http.Request, taken *share) (body []byte, compressed bool, err error) {
	if r.Body == nil {
		return []byte{}, false, nil
	}
	stop := context.AfterFunc(r.Context(), func() { _ = r.Body.Close() })
	defer stop()
	plain := &collected{bytes: []byte{}, share: taken}
	if f.Compression != Zstd {
		_, err := io.Copy(plain, r.Body)
		return plain.bytes, false, errors.Join(context.Cause(r.Context()), err)
	}
	_, err = io.CopyN(plain, r.Body, compressFrom)
	if errors.Is(err, io.EOF) {
		return plain.bytes, false, context.Cause(r.Context())
	}
	packed := &collected{share: taken}
	if err == nil {
		err = compress(packed, io.MultiReader(bytes.NewReader(plain.bytes), r.Body))
	}
	return packed.bytes, true, errors.Join(context.Cause(r.Context()), err)
}

func compress(to io.Writer, from io.Reader) error {
	encoder, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return err
	}
	if _, err := io.Copy(encoder, from); err != nil {
		return err // without concurrency there is nothing to be stopped
	}
	return encoder.Close()
}

// collected is what has been written. It takes memory for all of it.
type collected struct {
	bytes []byte
	share *share
}

// Write implements io.Writer.
func (c *collected) Write(p []byte) (int, error) {
	if len(c.bytes)+len(p) > maxBody {
		return 0, errTooLarge
	}
	if err := c.share.take(len(p)); err != nil {
		return 0, err
	}
	c.bytes = append(c.bytes, p...)
	return len(p), nil
}
