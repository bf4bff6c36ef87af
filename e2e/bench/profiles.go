package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// profiles are profiles being taken.
type profiles struct {
	taking sync.WaitGroup

	mu  sync.Mutex
	err error
}

// take writes a profile of the processor's time in each process to a file, over the duration that is to come, whole seconds
// of it. The probes are as in server.
func (p *profiles) take(ctx context.Context, probes map[string]string, prefix string, duration time.Duration) {
	seconds := max(1, int(duration.Seconds()))
	for name, address := range probes {
		p.taking.Go(func() {
			err := download(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, seconds), prefix+"."+name+".pprof")
			p.mu.Lock()
			p.err = errors.Join(p.err, err)
			p.mu.Unlock()
		})
	}
}

// wait waits for all profiles.
func (p *profiles) wait() error {
	p.taking.Wait()
	return p.err
}

func download(ctx context.Context, url, path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return request(ctx, http.MethodGet, url, "", file)
}
