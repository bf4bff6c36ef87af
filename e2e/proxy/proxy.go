// Package proxy is an HTTP/2 forward proxy that balances requests over the replicas of a service, as those do that stand
// beside the runtime in production.
package proxy

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// dialTimeout is how long a replica may take to accept a connection.
const dialTimeout = 5 * time.Second

// Proxy forwards each request by its authority, host:port, to the next of the replicas at that name, over HTTP/2 without
// TLS. One that cannot be reached is answered for with 503, and nothing is tried again: that is up to who asks.
type Proxy struct {
	transport *http.Transport
	dialer    *net.Dialer

	mu       sync.Mutex
	replicas map[string][]string
	asked    map[string]map[string]int
}

// New returns a proxy that knows the addresses of the replicas at each name.
func New(replicas map[string][]string) *Proxy {
	p := &Proxy{replicas: replicas, asked: map[string]map[string]int{}, dialer: &net.Dialer{Timeout: dialTimeout}}
	p.transport = &http.Transport{DialContext: p.dialer.DialContext, DisableCompression: true, Protocols: &http.Protocols{}}
	p.transport.Protocols.SetUnencryptedHTTP2(true)
	return p
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		p.connect(w, r)
		return
	}
	p.forward(w, r)
}

// forward lets both bodies flow at the same time. (httputil.ReverseProxy does not: it holds the end of an answer back until
// the request has ended, which handlers that answer first never see.)
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", p.next(r.Host)
	response, err := p.transport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer response.Body.Close() //nolint:errcheck // it is read to its end, or broken
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	if err := copyAsItComes(w, response.Body); err != nil {
		panic(http.ErrAbortHandler) //nolint:forbidigo // this is how net/http is told to reset the stream
	}
}

func copyAsItComes(w http.ResponseWriter, body io.Reader) error {
	controller, buffer := http.NewResponseController(w), make([]byte, 32<<10)
	for {
		if err := controller.Flush(); err != nil {
			return err
		}
		n, err := body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// next chooses a replica. A name that is not known is looked up, as any name, and found not to exist.
func (p *Proxy) next(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := 0
	for _, n := range p.asked[name] {
		total += n
	}
	chosen := name
	if all := p.replicas[name]; len(all) > 0 {
		chosen = all[total%len(all)]
	}
	if p.asked[name] == nil {
		p.asked[name] = map[string]int{}
	}
	p.asked[name][chosen]++
	return chosen
}

// Asked returns how many requests for the name, or connections to it, each replica has been given.
func (p *Proxy) Asked(name string) map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.asked[name])
}

// connect opens a tunnel to a replica.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	far, err := p.dialer.DialContext(r.Context(), "tcp", p.next(r.Host))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer far.Close() //nolint:errcheck // both sides are done with it
	w.WriteHeader(http.StatusOK)
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close() //nolint:errcheck // as above
	var upwards sync.WaitGroup
	upwards.Go(func() {
		_, _ = io.Copy(far, buffered) // it ends when either side has closed
		_ = far.Close()
	})
	_, _ = io.Copy(near, far)
	_ = near.Close()
	upwards.Wait()
}
