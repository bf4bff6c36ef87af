package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/restate-go/restate/pkg/errcode"
)

const (
	// durabilitySubject is where the embedded server answers what it promises.
	durabilitySubject = "restate.broker.durability"
	// serverName is that of the embedded server.
	serverName = "restate"

	durabilityTimeout = 5 * time.Second
	durabilityPause   = 500 * time.Millisecond
	// durabilitySays is after how many attempts it is said again that nobody answers.
	durabilitySays = 20
	// embeddedAttempts is how often an embedded server may leave the question unanswered: it listens a moment before it can.
	embeddedAttempts = 20
)

// promise is what a server says of what it has acknowledged.
type promise struct {
	// Synced: it was on the disk before.
	Synced bool `json:"synced"`
}

// errUnknown means that nobody says what the server promises.
var errUnknown = errors.New("the broker does not say whether it syncs each write before it acknowledges it; " +
	"name its monitoring endpoint in broker.monitoring_url")

// tell answers clients what the server promises, as long as the connection is open that it returns.
func (s *Server) tell() (*nats.Conn, error) {
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.Name("durability"), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait))
	if err != nil {
		return nil, fmt.Errorf("reach the broker within the process: %w", err)
	}
	_, err = conn.Subscribe(durabilitySubject, func(question *nats.Msg) {
		answer, err := json.Marshal(promise{Synced: s.synced()})
		if err == nil {
			err = question.Respond(answer)
		}
		if err != nil {
			s.log.Warn("a client was not told what the broker promises", "error", err)
		}
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("tell what the broker promises: %w", err)
	}
	return conn, nil
}

func (s *Server) synced() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	used := s.server.JetStreamConfig()
	return used != nil && used.SyncAlways
}

// CheckDurability asks what the broker promises, until it knows or the context ends. WeakBroker when that is too little, or
// not known. Where the configuration allows such a broker, there is a warning at most. SmallBroker when another server of
// a cluster takes too little.
func (c *Conn) CheckDurability(ctx context.Context, cfg Config, log *slog.Logger) error {
	for attempt := 0; ; attempt++ {
		err := c.checkDurability(ctx, cfg, attempt < embeddedAttempts, log)
		switch {
		case err == nil:
			log.Debug("the broker syncs each write before it acknowledges it", "server", c.NC.ConnectedServerName())
			return nil
		case errcode.Of(err, "") == errcode.SmallBroker:
			return err
		case !cfg.RequireSync:
			log.Warn("what is accepted can be lost with the broker's machine", "reason", err)
			return nil
		case errcode.Of(err, "") != "":
			return err
		case attempt%durabilitySays == 0:
			log.Info("the broker does not say yet how it stores what it is sent; asking again", "reason", err)
		}
		if !c.Pause(ctx, durabilityPause) {
			return fmt.Errorf("ask what the broker promises: %w", err)
		}
	}
}

// checkDurability asks once. A server with our name is taken for one of ours that does not answer yet, if it may be.
func (c *Conn) checkDurability(ctx context.Context, cfg Config, mayBeOurs bool, log *slog.Logger) error {
	ctx, cancel := c.Attached(ctx, durabilityTimeout)
	defer cancel()
	answer, err := c.NC.RequestWithContext(ctx, durabilitySubject, nil)
	if err == nil {
		var said promise
		if err := json.Unmarshal(answer.Data, &said); err != nil {
			return fmt.Errorf("the answer of the broker: %w", err)
		}
		return weak(c.NC.ConnectedServerName(), said.Synced)
	}
	if !errors.Is(err, nats.ErrNoResponders) || mayBeOurs && c.NC.ConnectedServerName() == serverName {
		return err
	}
	if cfg.MonitoringURL == "" {
		return errcode.Wrap(errcode.WeakBroker, errUnknown)
	}
	return checkCluster(ctx, strings.Split(cfg.MonitoringURL, ","), log)
}

// checkCluster asks all servers of a cluster. More than half have to answer, for the others may be down; none may promise too
// little.
func checkCluster(ctx context.Context, urls []string, log *slog.Logger) error {
	failed := make([]error, len(urls))
	var asking sync.WaitGroup
	for i, url := range urls {
		asking.Go(func() { failed[i] = checkMonitored(ctx, strings.TrimSpace(url)) })
	}
	asking.Wait()
	var silent []error
	for _, err := range failed {
		switch {
		case errcode.Of(err, "") != "":
			return err
		case err != nil:
			silent = append(silent, err)
		}
	}
	if 2*len(silent) >= len(urls) {
		return errors.Join(silent...)
	}
	for _, err := range silent {
		log.Warn("a server of the broker does not say what it promises", "error", err)
	}
	return nil
}

// checkMonitored asks the monitoring endpoint of a server that is not ours.
func checkMonitored(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(url, "/")+"/varz", http.NoBody)
	if err != nil {
		return errcode.Wrap(errcode.BadConfiguration, fmt.Errorf("broker.monitoring_url: %w", err))
	}
	// Without the proxies of the environment: they are for service endpoints.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // nothing is written
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", request.URL, response.Status)
	}
	var said server.Varz
	if err := json.NewDecoder(http.MaxBytesReader(nil, response.Body, monitoredLimit)).Decode(&said); err != nil {
		return fmt.Errorf("%s: %w", request.URL, err)
	}
	if said.JetStream.Config == nil {
		return errcode.New(errcode.WeakBroker, "the broker %s has no JetStream", said.Name)
	}
	if err := small(said.Name, int64(said.MaxPayload)); err != nil {
		return err
	}
	return weak(said.Name, said.JetStream.Config.SyncAlways)
}

// monitoredLimit is the largest answer of a monitoring endpoint, in bytes.
const monitoredLimit = 1 << 20

func weak(name string, synced bool) error {
	if synced {
		return nil
	}
	return errcode.New(errcode.WeakBroker, "the broker %s acknowledges writes before they are on its disk", name)
}
