package lambda

import (
	"io"
	"net/http"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/fairshare"
)

const (
	// maxMemory bounds, in bytes, what all events and answers of a client take together; none of the functions gets all of it.
	// More are refused, not kept waiting: those that wait would take as much.
	maxMemory = 256 << 20
	// maxAnswer is the largest answer of AWS that is read, in bytes. Lambda lets functions answer with some 6 MiB.
	maxAnswer = 8 << 20
	// copies is how often a request or an answer is in memory, in its different forms.
	copies = 3
)

// share is what an invocation of the function has taken of the memory.
type share struct {
	of       *fairshare.Pool
	function string
	taken    int
}

// take takes memory for so many bytes more of a request or an answer. The error is an *errcode.Error with MemoryExhausted.
func (s *share) take(n int) error {
	weight := copies * n
	if !s.of.Take(s.function, weight) {
		return errcode.New(errcode.MemoryExhausted,
			"the requests and answers of the function take all the memory that they may, of %d MiB for all functions", maxMemory>>20)
	}
	s.taken += weight
	return nil
}

// keep gives back what is more than n bytes: nothing else of the request is in memory any more.
func (s *share) keep(n int) {
	if more := s.taken - n; more > 0 {
		s.of.Release(s.function, more)
		s.taken = n
	}
}

func (s *share) release() { s.keep(0) }

// held is the body of a response, which gives its memory back when it is closed.
type held struct {
	io.ReadCloser
	share *share
}

func (h *held) Close() error {
	h.share.release()
	return h.ReadCloser.Close()
}

// bounded limits the answers of AWS. The share is nil for those with credentials, which several invocations may wait for.
type bounded struct {
	http.RoundTripper
	share *share
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	taken := b.share
	if taken == nil {
		taken = &share{of: fairshare.NewPool(2 * copies * maxAnswer)} // of which one gets more than half
	}
	if r.Body != nil && r.Body != http.NoBody {
		// The SDK closes the body when the response begins. Its WriteTo then fails where Read says that this is the end, and
		// net/http, which may look whether more follows, would give up the connection with the response.
		r = r.WithContext(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	response, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{ReadCloser: response.Body, share: taken}
	return response, nil
}

// boundedBody is the body of an answer of AWS.
type boundedBody struct {
	io.ReadCloser
	share *share
	size  int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.size += n; b.size > maxAnswer {
		return n, errcode.New(errcode.ProtocolViolated, "the answer of AWS Lambda is larger than %d bytes", maxAnswer)
	}
	if taken := b.share.take(n); taken != nil {
		return n, taken
	}
	return n, err
}
