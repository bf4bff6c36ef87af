package invoker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/schema"

	"github.com/restate-go/restate/services/partition-worker/internal/invoker/protocol"
)

// exchange is the request and response of one attempt.
type exchange struct {
	task    *task
	codec   protocol.Codec
	attempt protocol.Attempt
	// commands is how many commands the attempt began with.
	commands uint32
	// known is how many entries of the journal the endpoint has been given.
	known  atomic.Uint32
	extent Extent
	body   *body
	watch  *watchdog
	// began is when the endpoint got the journal; heard says that it has sent something since.
	began time.Time
	heard atomic.Bool
	// abort cuts the exchange off; the error is then what it failed with.
	abort context.CancelCauseFunc
	// pin is what the first effect pins the invocation to, nil when it is pinned already.
	pin *logv1.PinnedEndpoint
}

// exchange makes one attempt. given says that the endpoint was given the journal; nil means that the run is over.
func (t *task) exchange(ctx context.Context) (given bool, err error) {
	t.mu.Lock()
	journal := t.given
	t.given, t.connecting = nil, true
	t.mu.Unlock()
	set := t.settings()
	account := &account{memory: t.v.memory, service: t.invocation.Target.GetService()}
	body := newBody(account.claim(errcode.JournalTooLarge))
	defer body.discard()
	err = t.exchangeWith(ctx, journal, set, account, body)
	return body.begun(), err
}

// exchangeWith makes one attempt with the journal, which is read if it is nil, and a body that is empty yet.
func (t *task) exchangeWith(ctx context.Context, journal *Journal, set settings, account *account, body *body) error {
	bounds := t.v.cfg.bounds(set, body.cover)
	if journal == nil {
		var err error
		if journal, err = t.v.deps.Source.Load(ctx, t.invocation, bounds); err != nil {
			return err
		}
	}
	to, err := t.endpoint(journal.Pin)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.runsOn = to.ID
	t.mu.Unlock()
	x, err := t.newExchange(journal, to, set, body)
	if err != nil {
		return err
	}
	x.extent.Begin(bounds, len(journal.Entries), journal.Size)
	ctx, x.abort = context.WithCancelCause(ctx)
	defer x.abort(nil)
	x.watch = newWatchdog(set.inactivity, set.abort, x.body.end, func() { x.abort(errAbortTimeout) })
	defer x.watch.stop()
	if err := t.connect(x, uint32(len(journal.Entries))); err != nil { //nolint:gosec // indexes are 32 bits
		return err
	}
	if to.ProtocolMode == schema.ModeRequestResponse || set.inactivity == 0 {
		x.body.end()
		x.watch.ended()
	}
	// Once the response has begun, net/http learns of the end of the context only when it reads the request.
	unwatch := context.AfterFunc(ctx, body.discard)
	defer unwatch()
	err = x.run(ctx, to, account)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// endpoint returns where the invocation runs: where it began, or else where the service is served now.
func (t *task) endpoint(pin *logv1.PinnedEndpoint) (*schema.Endpoint, error) {
	snapshot := t.v.deps.Schema()
	id := pin.GetEndpointId()
	if pin == nil {
		service, ok := snapshot.Service(t.invocation.Target.GetService())
		if !ok {
			return nil, errcode.New(errcode.EndpointUnknown, "the service %s is not registered", t.invocation.Target.GetService())
		}
		id = service.EndpointID
	}
	to, ok := snapshot.Endpoint(id)
	if !ok {
		return nil, errcode.New(errcode.EndpointUnknown, "the endpoint %s, on which the invocation began, is not registered", id)
	}
	return to, nil
}

func (t *task) newExchange(journal *Journal, to *schema.Endpoint, set settings, body *body) (*exchange, error) {
	codec, err := codecFor(journal.Pin, to)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	fruitless := t.fruitless
	t.mu.Unlock()
	first, attempt, err := codec.Begin(nil, protocol.Start{
		ID: t.invocation.ID, Target: t.invocation.Target,
		IdempotencyKey: t.invocation.IdempotencyKey, RandomSeed: t.invocation.RandomSeed,
		Entries: journal.Entries, CommandCount: journal.CommandCount,
		State: journal.State, PartialState: journal.PartialState || set.lazy,
		RetryCount: fruitless, SinceLastEntry: t.sinceLastEntry(journal),
	})
	if err != nil {
		return nil, err
	}
	if err := body.begin(first); err != nil {
		return nil, err
	}
	x := &exchange{
		task: t, codec: codec, attempt: attempt, commands: journal.CommandCount, body: body, began: time.Now(),
	}
	x.known.Store(uint32(len(journal.Entries))) //nolint:gosec // indexes are 32 bits
	if journal.Pin == nil {
		x.pin = pinTo(to, codec)
	}
	return x, nil
}

// sinceLastEntry is how long ago something was stored of the invocation.
func (t *task) sinceLastEntry(journal *Journal) time.Duration {
	at := t.invocation.CreatedAt
	if n := len(journal.Entries); n > 0 {
		at = journal.Entries[n-1].GetAppendedAt()
	}
	return max(t.v.deps.Now().Sub(time.UnixMilli(int64(at))), 0) //nolint:gosec // milliseconds since the epoch
}

// connect makes the exchange take deliveries. What the journal it started from has already is left out.
func (t *task) connect(x *exchange, known uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending.overflown {
		return errBacklog
	}
	for _, d := range t.pending.deliveries {
		if d.notification == nil && d.index < x.commands || d.notification != nil && d.index < known {
			continue
		}
		x.send(d)
	}
	t.open, t.connecting, t.pending = x, false, backlog{}
	return nil
}

// send puts a delivery on its way. The task's lock is held, which keeps deliveries in order.
func (x *exchange) send(d delivery) {
	if d.notification != nil {
		x.extent.arrived(d.notification)
	}
	if err := x.body.append(func(dst []byte) ([]byte, error) {
		if d.notification == nil {
			return x.attempt.AppendAck(dst, d.index)
		}
		x.known.Store(max(x.known.Load(), d.index+1))
		return x.attempt.AppendNotification(dst, d.notification)
	}); err != nil {
		x.abort(err)
		return
	}
	x.watch.touch()
	if d.notification != nil && x.mayForget(d.notification) {
		x.body.end()
		x.watch.ended()
	}
}

// replayTime is how long a handler may take, for all that is known here, to get through what the journal has.
const replayTime = 2 * time.Second

// mayForget says that the endpoint may pass over the result because its handler is not there yet. It is then asked to
// suspend at once if it waits for anything, and not only after the time of inactivity. After a crash this is usual: while
// invocations begin again, their timers are due and the results of their calls arrive.
func (x *exchange) mayForget(n *journalv1.Notification) bool {
	return x.codec.Forgetful() && n.GetCompletionId() < x.commands && !x.heard.Load() && time.Since(x.began) < replayTime
}

// run sends the request and reads the response to its end.
func (x *exchange) run(ctx context.Context, to *schema.Endpoint, account *account) error {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	request, err := x.request(ctx, to)
	if err != nil {
		return err
	}
	if to.IsFunction() {
		x.body.keep()
	}
	response, err := x.task.v.deps.Transport(to).RoundTrip(request)
	if err != nil {
		return errcode.Wrap(errcode.Of(err, errcode.NetworkFailed), fmt.Errorf("call %s: %w", request.URL, errcode.Reason(err)))
	}
	defer response.Body.Close() //nolint:errcheck // nothing is lost: what was read counts
	if err := x.check(response, request.URL); err != nil {
		return err
	}
	received := &metered{Reader: cleanEnd{response.Body}, claim: account.claim(errcode.MessageTooLarge)}
	defer received.forget()
	decoder := x.attempt.NewDecoder(received, uint32(x.task.v.cfg.MessageSizeLimit)) //nolint:gosec // a record of the log is far smaller
	err = x.read(ctx, decoder, received)
	var failed *protocol.ServiceError
	if err == nil || errors.As(err, &failed) {
		received.forget()
		x.part(response.Body, cut)
	}
	return err
}

const (
	// partingTime is how long an endpoint that has said its last word may take to end the response.
	partingTime = time.Second
	// partingBytes bounds what it may send meanwhile.
	partingBytes = 64 << 10
)

// part ends the request and reads the response to its end, as both sides of a stream do that went well. An endpoint whose
// stream is cut off instead takes that for a failure, and warns of it.
func (x *exchange) part(rest io.Reader, cut func()) {
	x.watch.stop()
	x.body.end()
	timeout := time.AfterFunc(partingTime, cut)
	defer timeout.Stop()
	_, _ = io.CopyN(io.Discard, rest, partingBytes) // whatever it is, it comes after the end
}

// maxKeyHeader is the longest key that is told in a header, in bytes. Endpoints read the key from the start of the stream;
// the header is for what is in between, and a long one has the request refused.
const maxKeyHeader = 2 << 10

func (x *exchange) request(ctx context.Context, to *schema.Endpoint) (*http.Request, error) {
	target := x.task.invocation.Target
	path := "/invoke/" + target.GetService() + "/" + target.GetHandler()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URI, x.body)
	if err != nil {
		return nil, errcode.Wrap(errcode.NetworkFailed, fmt.Errorf("the URI of the endpoint %s: %w", to.ID, err))
	}
	request.URL.Path = strings.TrimRight(request.URL.Path, "/") + path
	request.Header.Set("Content-Type", x.codec.ContentType())
	request.Header.Set("Accept", x.codec.ContentType())
	request.Header["User-Agent"] = nil
	request.Header.Set("X-Restate-Invocation-Id", x.task.invocation.ID.String())
	x.task.traceHeaders(ctx, request.Header)
	var key *string
	if target.GetKind() != journalv1.ServiceKind_SERVICE_KIND_UNKEYED {
		key = new(string(target.GetKey()))
		if escaped := url.PathEscape(*key); len(escaped) <= maxKeyHeader {
			request.Header.Set("X-Restate-Service-Key", escaped)
		}
	}
	if err := x.task.v.deps.Signer.Sign(request.Header, path, key); err != nil {
		return nil, errcode.Wrap(errcode.InvocationFailed, err)
	}
	for name, value := range to.AdditionalHeaders {
		if strings.EqualFold(name, "host") {
			request.Host = value
			continue
		}
		request.Header.Add(name, value)
	}
	return request, nil
}

func (x *exchange) check(response *http.Response, u *url.URL) error {
	switch {
	case response.StatusCode == http.StatusTooManyRequests,
		response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "":
		busy := errcode.New(errcode.EndpointBusy, "%s answers %s", u, response.Status)
		return busyFor(busy, response.Header.Get("Retry-After"), x.task.settings().retry)
	case response.StatusCode == http.StatusRequestEntityTooLarge:
		return errcode.New(errcode.RequestTooLarge, "%s answers %s", u, response.Status)
	case response.StatusCode == http.StatusUnsupportedMediaType:
		return errcode.New(errcode.VersionRefused, "%s answers %s to %s", u, response.Status, x.codec.ContentType())
	case response.StatusCode == http.StatusBadGateway || response.StatusCode == http.StatusServiceUnavailable ||
		response.StatusCode == http.StatusGatewayTimeout:
		return errcode.New(errcode.NetworkFailed, "%s answers %s", u, response.Status)
	case response.StatusCode != http.StatusOK:
		return errcode.New(errcode.ProtocolViolated, "%s answers %s", u, response.Status)
	case response.Header.Get("Content-Type") != x.codec.ContentType():
		return errcode.New(errcode.ProtocolViolated, "%s answers with the content type %.128q, not %q",
			u, response.Header.Get("Content-Type"), x.codec.ContentType())
	}
	return nil
}

// maxShown is how many messages that are for show only may follow one another, beside one for each entry of the journal. A
// handler sends one each time that it begins to wait: after a command, or after a result.
const maxShown = 1 << 17

// read proposes what the endpoint sends until it ends the attempt.
func (x *exchange) read(ctx context.Context, decoder protocol.Decoder, received *metered) error {
	// An output is held back until it is known what follows: usually the end, which then is one effect with it.
	var output *protocol.Message
	shown := int64(0)
	for {
		if output == nil {
			received.forget() // what came before is proposed
		}
		message, err := decoder.Next()
		x.heard.Store(true)
		if message.AwaitingOn != nil {
			// It gets the handler no further, and is no reason to let the attempt go on.
			shown++
			if shown > maxShown+x.extent.entries.Load() {
				return fmt.Errorf("%w: %d messages for show without a command", protocol.ErrViolation, shown)
			}
			continue
		}
		shown = 0
		x.watch.touch()
		if output != nil && (err != nil || !message.Ended) {
			if err := x.proposeCommand(ctx, *output); err != nil {
				return err
			}
			output = nil
		}
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("the service ended its answer with neither a result nor a reason: %w", err)
		case err != nil:
			return err
		case message.Ended:
			ended := &logv1.Ended{}
			size := 0
			if output != nil {
				ended.Output, size = output.Command.GetOutput().GetResult(), output.Size
			}
			return x.propose(ctx, size, &logv1.InvokerEffect{Effect: &logv1.InvokerEffect_Ended{Ended: ended}})
		case message.Suspended != nil:
			return x.propose(ctx, message.Size, &logv1.InvokerEffect{
				Effect:       &logv1.InvokerEffect_Suspended{Suspended: message.Suspended},
				KnownEntries: x.known.Load(),
			})
		}
		if message.Size > int(x.task.v.cfg.MessageSizeWarning) {
			x.task.v.deps.Log.Warn("a service sent a large message", "invocation", x.task.invocation.ID.String(),
				"service", x.task.invocation.Target.GetService(), "bytes", message.Size)
		}
		if message.RunCompletion != nil {
			if err := x.extent.room(message.Size); err != nil {
				return err
			}
			if err := x.propose(ctx, message.Size, &logv1.InvokerEffect{
				Effect: &logv1.InvokerEffect_RunCompletion{RunCompletion: message.RunCompletion},
			}); err != nil {
				return err
			}
			continue
		}
		if _, ok := message.Command.GetCommand().(*journalv1.Command_Output); ok {
			output = &message
			continue
		}
		resolver := Resolver{Schema: x.task.v.deps.Schema(), SpanContext: x.task.invocation.SpanContext}
		if err := x.extent.Admit(message.Command, message.Size, resolver); err != nil {
			return err
		}
		if err := x.proposeCommand(ctx, message); err != nil {
			return err
		}
	}
}

func (x *exchange) proposeCommand(ctx context.Context, message protocol.Message) error {
	x.task.progressed()
	size := message.Size
	if message.Command.GetGetStateKeys() != nil {
		size += maxStateKeyBytes // the answer is in memory, too
	}
	return x.propose(ctx, size, &logv1.InvokerEffect{Effect: &logv1.InvokerEffect_AppendCommand{
		AppendCommand: &logv1.AppendCommand{CommandIndex: message.CommandIndex, Command: message.Command},
	}})
}

func (x *exchange) propose(ctx context.Context, size int, effect *logv1.InvokerEffect) error {
	effect.Pin, x.pin = x.pin, nil
	return x.task.propose(ctx, size, effect)
}

// cleanEnd makes a stream that was reset without an error look like one that ended: some servers close so.
type cleanEnd struct{ io.ReadCloser }

func (c cleanEnd) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	var reset http2.StreamError
	switch {
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return n, err
	case errors.As(err, &reset) && reset.Code == http2.ErrCodeNo:
		return n, io.EOF
	default:
		return n, errcode.Wrap(errcode.NetworkFailed, fmt.Errorf("read the answer: %w", err))
	}
}
