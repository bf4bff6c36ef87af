package front

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/schema"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	"github.com/restate-go/restate/services/ingress/internal/failure"
	"github.com/restate-go/restate/services/ingress/internal/invocation"
	"github.com/restate-go/restate/services/ingress/internal/rpc"
	"github.com/restate-go/restate/services/ingress/internal/transcode"
)

// procedure serves one method of a registered service.
type procedure struct {
	deps    *Deps
	service *schema.Service
	method  *schema.Method
	types   transcode.Types
	tracing invocation.Tracing
	handler http.Handler

	requests  *prometheus.CounterVec
	succeeded prometheus.Counter
	seconds   prometheus.Observer
}

func (f *Front) newProcedure(service *schema.Service, method *schema.Method, path string) *procedure {
	requests, seconds := f.deps.Meter.Of(service.Name, method.Name)
	p := &procedure{
		deps:     &f.deps,
		service:  service,
		method:   method,
		types:    transcode.Pool{File: service.Descriptor.ParentFile()},
		tracing:  invocation.NewTracing(f.deps.Tracer, "grpc", service.Name, method.Name),
		requests: requests,
		seconds:  seconds,
	}
	p.succeeded = p.requests.WithLabelValues("ok")
	p.handler = rpc.NewHandler(path, p.answer)
	return p
}

func (p *procedure) serve(w http.ResponseWriter, r *http.Request, config Config) {
	began := time.Now()
	code := rpc.Serve(p.handler, w, r, int64(config.MaxBodyBytes), config.BodyTimeout)
	p.seconds.Observe(time.Since(began).Seconds())
	if code == 0 {
		p.succeeded.Inc()
		return
	}
	p.requests.WithLabelValues(code.String()).Inc()
}

// answer implements rpc.Func.
func (p *procedure) answer(ctx context.Context, request *connect.Request[rpc.Message]) (*connect.Response[rpc.Message], error) {
	ctx, span := p.tracing.Start(ctx, request.Header())
	response, err := p.call(ctx, span, request)
	span.End(err)
	return response, err
}

func (p *procedure) call(
	ctx context.Context, span invocation.Span, request *connect.Request[rpc.Message],
) (*connect.Response[rpc.Message], error) {
	payload := request.Msg.Data
	if request.Msg.JSON {
		var err error
		if payload, err = transcode.ToWire(p.method.Input, p.types, payload); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
	}
	invoke, err := invocation.Build(invocation.Request{
		Service:     p.service,
		Method:      p.method,
		Payload:     payload,
		Header:      request.Header(),
		SpanContext: invocation.ContextOf(ctx),
	})
	if err != nil {
		return nil, err
	}
	id := ids.InvocationID(invoke.GetInvocationId())
	span.SetInvocation(id)
	result, err := p.deps.Dispatcher.Call(ctx, invoke)
	if err != nil {
		return nil, err
	}
	if f := result.GetResult().GetFailure(); f != nil {
		failed := failure.Of(f)
		invocation.SetExpiry(failed.Meta(), result.GetExpiresAt())
		return nil, failed
	}
	message, err := p.encode(result.GetResult(), request.Msg.JSON)
	if err != nil {
		p.deps.Log.WarnContext(ctx, "a service answered what is no message of its method",
			"service", p.service.Name, "method", p.method.Name, "invocation", id.String(), "error", err)
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("the answer of the service cannot be read: %w", err))
	}
	response := connect.NewResponse(message)
	invocation.SetExpiry(response.Header(), result.GetExpiresAt())
	return response, nil
}

// encode puts a result into the encoding of the caller.
func (p *procedure) encode(result *journalv1.Result, json bool) (*rpc.Message, error) {
	if !json {
		return &rpc.Message{Data: result.GetValue()}, nil
	}
	var text bytes.Buffer
	if err := transcode.ToJSON(&text, p.method.Output, p.types, result.GetValue()); err != nil {
		return nil, err
	}
	return &rpc.Message{Data: text.Bytes(), JSON: true}, nil
}
